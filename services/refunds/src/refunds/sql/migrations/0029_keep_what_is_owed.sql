-- What the system owes, of which payment or of store credit, and why, whether or not anything was left of it when that was
-- told: another refund may have taken the room, and come to nothing since. Without an amount it is all of it. What the
-- version before owes while it still runs is not kept.
CREATE TABLE debts (
    order_id uuid NOT NULL REFERENCES orders,
    tender text NOT NULL,
    reason text NOT NULL,
    amount_minor bigint CHECK (amount_minor > 0),
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, tender, reason)
);
REVOKE UPDATE ON debts FROM refunds_app;
