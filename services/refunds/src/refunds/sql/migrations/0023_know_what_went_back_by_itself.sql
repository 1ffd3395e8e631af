-- What store credit paid went back by itself, as checkout told: all of it, and for good.
ALTER TABLE orders ADD COLUMN credit_released boolean NOT NULL DEFAULT false;

-- The second guard knows it, too.
CREATE OR REPLACE FUNCTION check_refunds_within_payment() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = refunds, pg_temp
AS $$
BEGIN
    IF NEW.payment_intent IS NOT NULL
       AND (SELECT coalesce(sum(amount_minor), 0) FROM refunds
             WHERE payment_intent = NEW.payment_intent AND state NOT IN ('failed', 'canceled', 'rejected'))
         + (SELECT coalesce(sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END), 0)
              FROM disputes AS d
              JOIN payments AS p ON p.payment_intent = d.payment_intent
             WHERE d.payment_intent = NEW.payment_intent
               AND (d.state = 'lost'
                    OR d.state IN ('open', 'under_review') AND NEW.requester NOT LIKE 'system:%'))
           > (SELECT captured_minor FROM payments WHERE payment_intent = NEW.payment_intent)
    THEN
        RAISE EXCEPTION 'refunds of % would exceed what was captured and is not disputed', NEW.payment_intent
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_payment';
    END IF;
    IF NEW.payment_intent IS NULL
       AND (SELECT coalesce(sum(r.amount_minor), 0) FROM refunds AS r
             WHERE r.order_id = NEW.order_id AND r.payment_intent IS NULL
               AND r.state NOT IN ('failed', 'canceled', 'rejected'))
           > (SELECT CASE WHEN credit_released THEN 0 ELSE coalesce((bill ->> 'store_credit_minor')::bigint, 0) END
                FROM orders WHERE order_id = NEW.order_id)
    THEN
        RAISE EXCEPTION 'refunds of order % would exceed what store credit paid', NEW.order_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'refunds_within_payment';
    END IF;
    RETURN NULL;
END
$$;
