-- What is known of an order, and the one shipment that may come of it.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    lines jsonb,
    address jsonb,
    customer jsonb,
    total_minor bigint,
    stock_committed boolean NOT NULL DEFAULT false,
    held_at timestamptz,
    unheld_at timestamptz,
    refunds jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shipments (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    state text NOT NULL CHECK (state IN ('created', 'shipped', 'delivered', 'canceled', 'returned')),
    lines jsonb NOT NULL,
    address jsonb,
    carrier text,
    tracking_number text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_shipment_per_order UNIQUE (order_id)
);

CREATE TABLE shipment_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shipment_id uuid NOT NULL,
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON shipment_transitions FROM fulfillment_app;

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
