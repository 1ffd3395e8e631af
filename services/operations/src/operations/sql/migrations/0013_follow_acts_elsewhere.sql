-- What people do at other services from the console stands in the trail, too, and orders are found by their customer.

-- `service` keeps the whole record of the act, under `subject`. The trail names both, and how the act ended.
ALTER TABLE dead_letter_audit ADD COLUMN service text, ADD COLUMN subject text;

-- The act is written down before the other service is asked: no outcome means that its answer was lost. Rows of the
-- audit are never deleted, so that none needs a reference.
CREATE TABLE audit_outcomes (
    audit_id bigint PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('done', 'refused', 'unknown')),
    code text, -- of what refused it, or lost the answer
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON audit_outcomes FROM operations_app;
CREATE TRIGGER audit_outcomes_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_outcomes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE INDEX dead_letter_audit_acts_by_action ON dead_letter_audit (action, id)
    WHERE bulk_id IS NULL OR dead_letter_id IS NULL;
CREATE INDEX dead_letter_audit_acts_by_time ON dead_letter_audit (at, id)
    WHERE bulk_id IS NULL OR dead_letter_id IS NULL;

-- Whose order a message is about, as the shop's sign-in calls him.
CREATE FUNCTION account_in(data jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT coalesce(data #>> '{customer,account}', data ->> 'account') $$;
