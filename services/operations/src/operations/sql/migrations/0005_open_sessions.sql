-- People at the console, and what it finds quickly.

-- Only the hash of a session's token is kept: who reads this table cannot sign in with it. Sessions end by the wall
-- clock, as tokens do, and not by the clock of business.
CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32),
    subject text NOT NULL,
    name text NOT NULL,
    roles text[] NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    ends_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_by_end ON sessions (ends_at);
GRANT DELETE ON sessions TO operations_app;

-- Dead letters are few beside the messages of a shop: while these are made they wait at the broker for a moment.
CREATE INDEX dead_letters_by_failure ON dead_letters (last_failed_at, id);
CREATE INDEX dead_letters_by_type ON dead_letters (type, last_failed_at, id);
CREATE INDEX dead_letters_by_fingerprint ON dead_letters (fingerprint, last_failed_at, id);
CREATE INDEX dead_letters_by_message ON dead_letters (message_id);
CREATE INDEX dead_letters_by_order ON dead_letters (correlation_id) WHERE correlation_id IS NOT NULL;

-- Groups are counted from the index alone, and the latest of each is at its end.
CREATE INDEX dead_letters_unsettled ON dead_letters (service, type, fingerprint, last_failed_at)
    INCLUDE (status, first_failed_at) WHERE status IN ('open', 'replaying');
DROP INDEX dead_letters_groups;

-- What people did, without the line for each message of their bulks.
CREATE INDEX dead_letter_audit_acts ON dead_letter_audit (id) WHERE bulk_id IS NULL OR dead_letter_id IS NULL;
CREATE INDEX dead_letter_audit_acts_by_actor ON dead_letter_audit (actor, id)
    WHERE bulk_id IS NULL OR dead_letter_id IS NULL;

-- Every identifier that stands anywhere in a message: ours and Stripe's have a prefix.
CREATE FUNCTION references_in(data jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(array_agg(DISTINCT found #>> '{}'), '{}')
      FROM jsonb_path_query(data, '$.** ? (@.type() == "string" && @ like_regex "^[a-z]{2,12}_[A-Za-z0-9_]{8,250}$")')
           AS found
$$;
