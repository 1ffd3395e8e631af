-- Payments of orders that are not here, as of those placed after the moment to which a backup was restored: who had each
-- given back, and why. What Stripe says of one afterwards is heard and changes nothing.
CREATE TABLE lost_payments (
    payment_intent text PRIMARY KEY,
    order_id uuid NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    actor text NOT NULL CHECK (actor <> ''),
    reason text NOT NULL CHECK (reason <> ''),
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX lost_payments_by_order ON lost_payments (order_id);
REVOKE UPDATE ON lost_payments FROM checkout_app;
