-- What customers were given to pay with. The sums of what orders use of a grant stand beside it, under its lock, so that
-- no two orders use the same. `reference` is unique for each source: what is given twice under it is given once.
CREATE TABLE store_credit_grants (
    id uuid PRIMARY KEY,
    customer_subject text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    expires_at timestamptz,
    source text NOT NULL CHECK (source IN ('admin', 'refund')),
    reference text NOT NULL,
    note text NOT NULL DEFAULT '',
    granted_by text NOT NULL,
    created_at timestamptz NOT NULL,
    reserved_minor bigint NOT NULL DEFAULT 0 CHECK (reserved_minor >= 0),
    spent_minor bigint NOT NULL DEFAULT 0 CHECK (spent_minor >= 0),
    expired_minor bigint NOT NULL DEFAULT 0 CHECK (expired_minor >= 0),
    CONSTRAINT store_credit_within_grant CHECK (reserved_minor + spent_minor + expired_minor <= amount_minor),
    CONSTRAINT store_credit_granted_once UNIQUE (source, reference)
);
CREATE INDEX store_credit_grants_of_customer ON store_credit_grants (customer_subject, expires_at, id);
CREATE INDEX store_credit_grants_to_expire ON store_credit_grants (expires_at)
 WHERE expires_at IS NOT NULL AND reserved_minor + spent_minor + expired_minor < amount_minor;

-- What orders use of them.
CREATE TABLE store_credit_uses (
    order_id uuid NOT NULL REFERENCES orders,
    grant_id uuid NOT NULL REFERENCES store_credit_grants,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    state text NOT NULL CHECK (state IN ('reserved', 'spent', 'released')),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, grant_id)
);
CREATE INDEX store_credit_uses_of_grant ON store_credit_uses (grant_id);

-- Statements: everything that ever happened to a grant, by the business clock.
CREATE TABLE store_credit_entries (
    id uuid PRIMARY KEY,
    customer_subject text NOT NULL,
    grant_id uuid NOT NULL REFERENCES store_credit_grants,
    order_id uuid REFERENCES orders,
    kind text NOT NULL CHECK (kind IN ('granted', 'reserved', 'spent', 'released', 'expired')),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    at timestamptz NOT NULL,
    CONSTRAINT orders_use_credit CHECK ((order_id IS NULL) = (kind IN ('granted', 'expired')))
);
CREATE INDEX store_credit_entries_of_customer ON store_credit_entries (customer_subject, id DESC);
CREATE INDEX store_credit_entries_of_grant ON store_credit_entries (grant_id);
REVOKE UPDATE ON store_credit_entries FROM checkout_app;

-- How much of its total an order is paid with, and what has become of that; what is left is asked of Stripe. NOT VALID:
-- orders from before use none, and need not be looked at.
ALTER TABLE orders ADD COLUMN store_credit_minor bigint NOT NULL DEFAULT 0, ADD COLUMN store_credit_state text;
ALTER TABLE orders
  ADD CONSTRAINT store_credit_within_total CHECK (store_credit_minor BETWEEN 0 AND total_minor) NOT VALID,
  ADD CONSTRAINT store_credit_has_state CHECK (
      (store_credit_minor = 0 AND store_credit_state IS NULL)
      OR (store_credit_minor > 0 AND coalesce(store_credit_state IN ('reserved', 'spent', 'released'), false))) NOT VALID;
