-- The second guard sums at commit, and does not see what commits at the same moment. So whoever adds a refund first locks
-- what it takes from: of two at once the later one sums when the earlier one is done. The code has locked it before, and
-- then nothing waits here.
CREATE FUNCTION lock_what_is_refunded() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = refunds, pg_temp
AS $$
BEGIN
    IF NEW.payment_intent IS NULL THEN
        PERFORM FROM orders WHERE order_id = NEW.order_id FOR NO KEY UPDATE;
    ELSE
        PERFORM FROM payments WHERE payment_intent = NEW.payment_intent FOR NO KEY UPDATE;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER lock_what_is_refunded
    BEFORE INSERT ON refunds
    FOR EACH ROW EXECUTE FUNCTION lock_what_is_refunded();
