-- Replays and bulks become rows, so that a restart goes on where the last process stopped, and the audit becomes
-- something that nobody can change.

-- When the latest failure was kept, by our own clock: a bulk takes nothing that was kept after it was asked for.
ALTER TABLE dead_letters ADD COLUMN kept_at timestamptz;
UPDATE dead_letters SET kept_at = received_at;
ALTER TABLE dead_letters ALTER COLUMN kept_at SET DEFAULT now(), ALTER COLUMN kept_at SET NOT NULL;
ALTER TABLE dead_letters ADD COLUMN settled_at timestamptz; -- when it was resolved or discarded, last
CREATE INDEX dead_letters_groups ON dead_letters (service, type, fingerprint) WHERE status IN ('open', 'replaying');
CREATE INDEX dead_letters_leases ON dead_letters (lease_until) WHERE status = 'replaying';

ALTER TABLE dead_letter_attempts
    ADD COLUMN replay_id uuid,
    ADD COLUMN exception_message text,
    ADD COLUMN body bytea; -- where it is not the dead letter's own: a copy that was edited, or a twin

-- What operators asked for. `cutoff` is when: its items are what was there then.
CREATE TABLE bulks (
    id uuid PRIMARY KEY,
    act text NOT NULL CHECK (act IN ('replay', 'discard')),
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'paused', 'canceled', 'done')),
    state_reason text,
    actor text NOT NULL,
    reason text NOT NULL,
    filter jsonb NOT NULL,
    rate double precision NOT NULL CONSTRAINT bulks_move_on CHECK (rate > 0),
    total int NOT NULL,
    cutoff timestamptz NOT NULL DEFAULT now(),
    judged_from timestamptz NOT NULL DEFAULT now(), -- failures of replays made before do not count for a pause
    finished_at timestamptz
);
CREATE INDEX bulks_open ON bulks (cutoff) WHERE state IN ('running', 'paused');
CREATE INDEX bulks_by_age ON bulks (cutoff);

CREATE TABLE bulk_items (
    bulk_id uuid NOT NULL REFERENCES bulks,
    dead_letter_id uuid NOT NULL REFERENCES dead_letters,
    position int NOT NULL,
    service text NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN
        ('waiting', 'on_the_way', 'resolved', 'failed', 'unknown', 'skipped', 'canceled', 'discarded')),
    note text,
    PRIMARY KEY (bulk_id, dead_letter_id)
);
CREATE INDEX bulk_items_unfinished ON bulk_items (bulk_id, service, position) WHERE state IN ('waiting', 'on_the_way');

-- Each way back of a message. No outcome: nobody has told yet. `unsent` never left; `unknown` was not told of in time.
CREATE TABLE replays (
    id uuid PRIMARY KEY,
    dead_letter_id uuid NOT NULL REFERENCES dead_letters,
    bulk_id uuid REFERENCES bulks,
    service text NOT NULL,
    body bytea, -- of an edited copy
    made_at timestamptz NOT NULL DEFAULT now(),
    tried_at timestamptz,
    sent_at timestamptz, -- confirmed by the broker
    settled_at timestamptz,
    outcome text CHECK (outcome IN ('applied', 'duplicate', 'refused', 'failed', 'unknown', 'unsent')),
    fingerprint text, -- of the new failure
    CONSTRAINT replays_settled CHECK ((outcome IS NULL) = (settled_at IS NULL))
);
CREATE UNIQUE INDEX replays_one_outstanding ON replays (dead_letter_id) WHERE outcome IS NULL;
CREATE INDEX replays_to_send ON replays (made_at) WHERE outcome IS NULL AND sent_at IS NULL;
CREATE INDEX replays_by_bulk ON replays (bulk_id, settled_at) WHERE outcome IS NOT NULL;

-- Until when each service has been given its share of replays; all bulks share it.
CREATE TABLE replay_paces (
    service text PRIMARY KEY,
    given_until timestamptz NOT NULL
);

-- An act upon many (a bulk, an export) is a row of its own beside those of its dead letters.
ALTER TABLE dead_letter_audit
    ALTER COLUMN dead_letter_id DROP NOT NULL,
    ADD COLUMN bulk_id uuid,
    ADD COLUMN detail jsonb;
CREATE INDEX dead_letter_audit_by_letter ON dead_letter_audit (dead_letter_id, id);
CREATE INDEX dead_letter_audit_by_bulk ON dead_letter_audit (bulk_id, id) WHERE bulk_id IS NOT NULL;

-- Privileges keep the service from it; this keeps everybody from it.
CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER dead_letter_audit_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON dead_letter_audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
