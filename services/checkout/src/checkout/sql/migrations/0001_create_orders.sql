-- The catalogue, and orders with everything ever learned about them.
CREATE TABLE products (
    sku text PRIMARY KEY CHECK (sku ~ '^[A-Za-z0-9._-]{1,64}$'),
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    image text NOT NULL DEFAULT '',
    active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE prices (
    sku text NOT NULL REFERENCES products,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    unit_amount_minor bigint NOT NULL CHECK (unit_amount_minor > 0),
    PRIMARY KEY (sku, currency)
);
GRANT DELETE ON prices TO checkout_app;

CREATE TABLE coupons (
    code text PRIMARY KEY,
    percent_basis_points int CHECK (percent_basis_points BETWEEN 1 AND 10000),
    amounts_off jsonb,
    minimums jsonb NOT NULL DEFAULT '{}',
    max_redemptions int CHECK (max_redemptions >= 0),
    held int NOT NULL DEFAULT 0 CHECK (held >= 0),
    redeemed int NOT NULL DEFAULT 0 CHECK (redeemed >= 0),
    valid_from timestamptz,
    valid_until timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT either_percent_or_amounts CHECK ((percent_basis_points IS NULL) <> (amounts_off IS NULL)),
    CONSTRAINT coupon_within_limit CHECK (max_redemptions IS NULL OR held + redeemed <= max_redemptions)
);

CREATE TABLE orders (
    id uuid PRIMARY KEY,
    state text NOT NULL DEFAULT 'pending' CHECK (
        state IN ('pending', 'declined', 'expired', 'canceled', 'processing', 'settlement_failed', 'paid')),
    held_reason text,
    held_until timestamptz,
    dishonoured boolean NOT NULL DEFAULT false,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    subtotal_minor bigint NOT NULL CHECK (subtotal_minor >= 0),
    discount_minor bigint NOT NULL DEFAULT 0 CHECK (discount_minor BETWEEN 0 AND subtotal_minor),
    tax_minor bigint NOT NULL DEFAULT 0 CHECK (tax_minor >= 0),
    shipping_minor bigint NOT NULL DEFAULT 0 CHECK (shipping_minor >= 0),
    total_minor bigint NOT NULL CHECK (total_minor > 0),
    coupon text REFERENCES coupons,
    lines jsonb NOT NULL,
    email text NOT NULL,
    customer_subject text,
    locale text NOT NULL DEFAULT 'en-US',
    token_hash bytea NOT NULL,
    stripe_request jsonb NOT NULL,
    stripe_attempt int NOT NULL DEFAULT 0,
    stripe_session_id text UNIQUE,
    stripe_session_url text,
    stripe_payment_intent text,
    shipment_id uuid,
    shipment_status text,
    refunds jsonb NOT NULL DEFAULT '{}',
    expires_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    paid_at timestamptz,
    version int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT total_adds_up CHECK (subtotal_minor - discount_minor + tax_minor + shipping_minor = total_minor)
);
CREATE INDEX orders_unfinished ON orders (lease_until) WHERE state = 'pending' AND stripe_session_id IS NULL;
CREATE INDEX orders_open ON orders (created_at) WHERE state IN ('pending', 'declined', 'processing');
CREATE INDEX orders_by_intent ON orders (stripe_payment_intent);
CREATE INDEX orders_by_customer ON orders (customer_subject, created_at DESC) WHERE customer_subject IS NOT NULL;

-- Everything learned about an order, each fact once. The state is derived from this set, whatever its order.
CREATE TABLE order_facts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    key text NOT NULL,
    kind text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (order_id, key)
);
REVOKE UPDATE ON order_facts FROM checkout_app;

-- What was said about an order, so that it is said once.
CREATE TABLE order_announcements (
    order_id uuid NOT NULL REFERENCES orders,
    key text NOT NULL,
    message_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, key)
);
REVOKE UPDATE ON order_announcements FROM checkout_app;

CREATE TABLE order_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    from_state text,
    to_state text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX order_transitions_by_order ON order_transitions (order_id, id);
REVOKE UPDATE ON order_transitions FROM checkout_app;

CREATE TABLE coupon_redemptions (
    order_id uuid PRIMARY KEY REFERENCES orders,
    code text NOT NULL REFERENCES coupons,
    state text NOT NULL CHECK (state IN ('held', 'redeemed', 'released', 'honoured')),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- At most one way to pay is open per order.
CREATE TABLE payment_attempts (
    id text PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    open boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX one_open_attempt ON payment_attempts (order_id) WHERE open;

-- include: payments_shared/sql/idempotency_keys.sql
-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
