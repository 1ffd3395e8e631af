-- Whoever bought is not the second person either, as `refunds.decide.identity.is_buyer` says. What a policy decides is
-- decided by nobody. What was decided before stays as it was decided.
CREATE FUNCTION check_second_is_no_buyer() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = refunds, pg_temp
AS $$
DECLARE
    deciding text[] := CASE TG_TABLE_NAME
        WHEN 'requests' THEN names_of(to_jsonb(NEW) ->> 'decided_by', to_jsonb(NEW) ->> 'decided_by_email')
        ELSE names_of(to_jsonb(NEW) ->> 'approver', NULL) END;
BEGIN
    IF EXISTS (SELECT FROM orders
                WHERE order_id = NEW.order_id AND names_of(account, customer ->> 'email') && deciding)
    THEN
        RAISE EXCEPTION 'who bought order % is the second person', NEW.order_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'second_person_is_no_buyer';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER second_person_is_no_buyer
    BEFORE INSERT OR UPDATE OF decided_by, decided_by_email ON requests
    FOR EACH ROW WHEN (NEW.decided_by NOT LIKE 'policy:%') EXECUTE FUNCTION check_second_is_no_buyer();
CREATE TRIGGER second_person_is_no_buyer
    BEFORE INSERT OR UPDATE OF approver ON refunds
    FOR EACH ROW WHEN (NEW.approver NOT LIKE 'policy:%') EXECUTE FUNCTION check_second_is_no_buyer();
