-- Each decision of a gate about an order, append-only: which gate, what it came to, and why.
CREATE TABLE order_risks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    key text NOT NULL,
    gate text NOT NULL,
    outcome text NOT NULL,
    reasons jsonb NOT NULL,
    detail jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (order_id, key)
);
REVOKE UPDATE ON order_risks FROM checkout_app;
