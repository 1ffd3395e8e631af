-- Since when a customer may use a coupon so often. That may be limited to less than he has used it; the audit judges a use
-- by the limit under which it was taken. The database dates a limit, also for a release from before: under the row's lock,
-- so later than every use that an older limit let pass.
ALTER TABLE coupons ADD COLUMN limited_at timestamptz NOT NULL DEFAULT now();

CREATE FUNCTION date_limit() RETURNS trigger
LANGUAGE plpgsql SET search_path = checkout, pg_temp
AS $$
BEGIN
    NEW.limited_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER date_limit
    BEFORE UPDATE OF per_customer ON coupons
    FOR EACH ROW WHEN (NEW.per_customer IS DISTINCT FROM OLD.per_customer) EXECUTE FUNCTION date_limit();
