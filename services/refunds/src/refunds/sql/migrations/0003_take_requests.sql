-- What was bought, as `order.paid` told it. `account` is the subject of whoever was signed in.
ALTER TABLE orders
    ADD COLUMN bill jsonb,
    ADD COLUMN account text;

-- `settles`: the capture paid the order's bill; what does not is surplus.
ALTER TABLE payments ADD COLUMN settles boolean NOT NULL DEFAULT false;

-- What people, the system or Stripe's dashboard asked to give back. One request is paid back by a refund for each tender
-- of its order. The shares are those of the order's bill; of surplus money there are none.
CREATE TABLE requests (
    id uuid PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    goods_minor bigint NOT NULL DEFAULT 0 CHECK (goods_minor >= 0),
    tax_minor bigint NOT NULL DEFAULT 0 CHECK (tax_minor >= 0),
    shipping_minor bigint NOT NULL DEFAULT 0 CHECK (shipping_minor >= 0),
    fee_minor bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0),
    lines jsonb NOT NULL DEFAULT '[]',
    destination text NOT NULL DEFAULT 'original' CHECK (destination IN ('original', 'store_credit')),
    reason text NOT NULL,
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    origin text NOT NULL CHECK (origin IN ('person', 'system', 'stripe')),
    requester text NOT NULL,
    requester_email text,
    needs text[] NOT NULL DEFAULT '{}',
    score int NOT NULL DEFAULT 0,
    decided_by text,
    decided_by_email text,
    decision_note text NOT NULL DEFAULT '' CHECK (length(decision_note) <= 1000),
    rules_version int NOT NULL DEFAULT 0,
    version int NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT business_now(),
    CONSTRAINT shares_sum CHECK (
        goods_minor + tax_minor + shipping_minor IN (0, amount_minor)),
    CONSTRAINT second_person CHECK (
        decided_by IS NULL OR (lower(decided_by) <> lower(requester)
            AND (decided_by_email IS NULL OR lower(decided_by_email) IS DISTINCT FROM lower(requester_email))))
);
CREATE INDEX requests_by_order ON requests (order_id);
CREATE INDEX requests_by_requester ON requests (requester, id);

INSERT INTO orders (order_id) SELECT DISTINCT order_id FROM refunds ON CONFLICT DO NOTHING;
INSERT INTO requests (id, order_id, currency, amount_minor, reason, origin, requester, decided_by, created_at)
SELECT id, order_id, currency, amount_minor, reason, 'system', requester, approver, created_at FROM refunds;

-- Without `payment_intent` it gives back what store credit paid. What goes to store credit is never asked of Stripe.
ALTER TABLE refunds
    ADD COLUMN request_id uuid REFERENCES requests,
    ADD COLUMN destination text NOT NULL DEFAULT 'original' CHECK (destination IN ('original', 'store_credit')),
    ADD CONSTRAINT credit_stays_credit CHECK (payment_intent IS NOT NULL OR destination = 'store_credit'),
    ALTER COLUMN payment_intent DROP NOT NULL;
UPDATE refunds SET request_id = id;
ALTER TABLE refunds ALTER COLUMN request_id SET NOT NULL;

-- A release from before, which runs beside this one for a while, makes refunds without requests.
CREATE FUNCTION request_of_refund() RETURNS trigger
LANGUAGE plpgsql SET search_path = refunds, payments, pg_temp
AS $$
BEGIN
    INSERT INTO requests (id, order_id, currency, amount_minor, reason, origin, requester, decided_by)
    VALUES (NEW.id, NEW.order_id, NEW.currency, NEW.amount_minor, NEW.reason, 'system', NEW.requester, NEW.approver)
    ON CONFLICT DO NOTHING;
    NEW.request_id := NEW.id;
    RETURN NEW;
END
$$;
CREATE TRIGGER request_of_refund
    BEFORE INSERT ON refunds
    FOR EACH ROW WHEN (NEW.request_id IS NULL) EXECUTE FUNCTION request_of_refund();

-- Refunds that Stripe told of before their payment was known; those of payments that are none of ours stay.
CREATE TABLE heard (
    stripe_refund_id text PRIMARY KEY,
    payment_intent text,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    status text NOT NULL,
    failure_reason text,
    refund_id text,
    heard_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX heard_by_payment ON heard (payment_intent);
GRANT DELETE ON heard TO refunds_app;

-- What Stripe's dashboard made is a fact, even where it leaves no room for what we had promised; that is canceled.
DROP TRIGGER refunds_within_payment ON refunds;
CREATE CONSTRAINT TRIGGER refunds_within_payment
    AFTER INSERT ON refunds
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.requester <> 'stripe:dashboard') EXECUTE FUNCTION check_refunds_within_payment();

-- The second guard, also of what store credit paid.
CREATE OR REPLACE FUNCTION check_refunds_within_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = refunds, pg_temp
AS $$
BEGIN
    IF NEW.payment_intent IS NOT NULL
       AND (SELECT coalesce(sum(amount_minor), 0) FROM refunds
             WHERE payment_intent = NEW.payment_intent AND state NOT IN ('failed', 'canceled', 'rejected'))
           > (SELECT captured_minor FROM payments WHERE payment_intent = NEW.payment_intent)
    THEN
        RAISE EXCEPTION 'refunds of % would exceed what was captured', NEW.payment_intent
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_payment';
    END IF;
    IF NEW.payment_intent IS NULL
       AND (SELECT coalesce(sum(r.amount_minor), 0) FROM refunds AS r
             WHERE r.order_id = NEW.order_id AND r.payment_intent IS NULL
               AND r.state NOT IN ('failed', 'canceled', 'rejected'))
           > (SELECT coalesce((bill ->> 'store_credit_minor')::bigint, 0) FROM orders WHERE order_id = NEW.order_id)
    THEN
        RAISE EXCEPTION 'refunds of order % would exceed what store credit paid', NEW.order_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_payment';
    END IF;
    RETURN NULL;
END
$$;

-- Versions of the rules, never changed: the newest binds.
CREATE TABLE rules (
    version int PRIMARY KEY CHECK (version > 0),
    rules jsonb NOT NULL,
    before jsonb,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT business_now()
);
REVOKE UPDATE, DELETE ON rules FROM refunds_app;

-- include: payments_shared/sql/idempotency_keys.sql
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
GRANT DELETE ON idempotency_keys TO refunds_app;
ALTER TABLE idempotency_keys SET (fillfactor = 80);
