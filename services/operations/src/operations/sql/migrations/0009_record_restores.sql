-- What people did after restores from a backup, with who and why: `begin` or `mails`. The database's owner writes it.
CREATE TABLE restores (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    act text NOT NULL CHECK (act IN ('begin', 'mails')),
    actor text NOT NULL,
    reason text NOT NULL,
    restored_to timestamptz,
    counts jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE INSERT, UPDATE ON restores FROM operations_app;

CREATE TRIGGER restores_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON restores
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
