-- What is settled may be put out of sight. It is found again by who looks for it, and comes out by itself when it goes
-- back or fails again, whoever writes that down.
ALTER TABLE dead_letters ADD COLUMN archived_at timestamptz;

CREATE FUNCTION leave_archive() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.archived_at := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER dead_letters_leave_archive
    BEFORE UPDATE ON dead_letters
    FOR EACH ROW WHEN (NEW.status IN ('open', 'replaying') AND NEW.archived_at IS NOT NULL)
    EXECUTE FUNCTION leave_archive();
