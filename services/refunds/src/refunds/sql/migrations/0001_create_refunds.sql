-- Money that was captured, and money on its way back. A refund row exists before Stripe is asked for anything.
CREATE TABLE payments (
    payment_intent text PRIMARY KEY,
    order_id uuid NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    captured_minor bigint NOT NULL CHECK (captured_minor > 0),
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX payments_by_order ON payments (order_id);

-- What is known of an order: whom to write to, and whether all of its money must go back.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    customer jsonb,
    paid boolean NOT NULL DEFAULT false,
    shortfall boolean NOT NULL DEFAULT false
);

CREATE TABLE refunds (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    payment_intent text NOT NULL REFERENCES payments,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    currency text NOT NULL,
    reason text NOT NULL,
    state text NOT NULL CHECK (state IN (
        'requested', 'awaiting_approval', 'approved', 'submitted', 'pending', 'requires_action', 'succeeded',
        'failed', 'canceled', 'rejected')),
    requester text NOT NULL,
    approver text,
    stripe_refund_id text UNIQUE,
    failure_reason text,
    stripe_attempt int NOT NULL DEFAULT 0,
    first_submitted_at timestamptz,
    checked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT four_eyes CHECK (
        state IN ('requested', 'awaiting_approval', 'rejected', 'canceled')
        OR (approver IS NOT NULL AND approver <> requester))
);
CREATE INDEX refunds_by_payment ON refunds (payment_intent);
CREATE INDEX refunds_unsettled ON refunds (updated_at)
    WHERE state IN ('approved', 'submitted', 'pending', 'requires_action');

CREATE TABLE refund_transitions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    refund_id uuid NOT NULL REFERENCES refunds,
    from_state text,
    to_state text NOT NULL,
    cause text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refund_transitions_legal CHECK (
        (coalesce(from_state, 'none'), to_state) IN (
            ('none', 'requested'), ('none', 'approved'),
            ('requested', 'awaiting_approval'), ('requested', 'approved'), ('requested', 'rejected'),
            ('requested', 'canceled'),
            ('awaiting_approval', 'approved'), ('awaiting_approval', 'rejected'), ('awaiting_approval', 'canceled'),
            ('approved', 'submitted'), ('approved', 'pending'), ('approved', 'requires_action'),
            ('approved', 'succeeded'), ('approved', 'failed'), ('approved', 'canceled'),
            ('submitted', 'pending'), ('submitted', 'requires_action'), ('submitted', 'succeeded'),
            ('submitted', 'failed'), ('submitted', 'canceled'),
            ('pending', 'requires_action'), ('pending', 'succeeded'), ('pending', 'failed'), ('pending', 'canceled'),
            ('requires_action', 'succeeded'), ('requires_action', 'failed'), ('requires_action', 'canceled'),
            ('succeeded', 'failed'), ('succeeded', 'canceled')
        )
    )
);
REVOKE UPDATE ON refund_transitions FROM refunds_app;

-- The second guard beside the row lock in the code: at commit, what is on its way back is never above what was taken.
CREATE FUNCTION check_refunds_within_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = refunds, pg_temp
AS $$
BEGIN
    IF (SELECT coalesce(sum(amount_minor), 0) FROM refunds
         WHERE payment_intent = NEW.payment_intent AND state NOT IN ('failed', 'canceled', 'rejected'))
       > (SELECT captured_minor FROM payments WHERE payment_intent = NEW.payment_intent)
    THEN
        RAISE EXCEPTION 'refunds of % would exceed what was captured', NEW.payment_intent
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_payment';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER refunds_within_payment
    AFTER INSERT OR UPDATE OF state, amount_minor ON refunds
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION check_refunds_within_payment();

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
