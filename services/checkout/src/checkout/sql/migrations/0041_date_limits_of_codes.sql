-- Since when a promotion code may be used so often, likewise. One table at a time: whoever places an order waits for one.
ALTER TABLE promotion_codes ADD COLUMN limited_at timestamptz NOT NULL DEFAULT now();
CREATE TRIGGER date_limit
    BEFORE UPDATE OF max_redemptions ON promotion_codes
    FOR EACH ROW WHEN (NEW.max_redemptions IS DISTINCT FROM OLD.max_redemptions) EXECUTE FUNCTION date_limit();
