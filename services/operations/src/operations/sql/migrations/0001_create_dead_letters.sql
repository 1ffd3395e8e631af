-- Every dead letter of every service as it was, what was done about it, and the timeline of every order.
CREATE TABLE dead_letters (
    id uuid PRIMARY KEY,
    message_id text NOT NULL,
    service text NOT NULL,
    queue text NOT NULL,
    type text NOT NULL,
    correlation_id text,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'replaying', 'resolved', 'discarded')),
    reason text NOT NULL,
    fingerprint text NOT NULL,
    exception_type text,
    exception_message text,
    handler text,
    stack text,
    attempts int NOT NULL DEFAULT 1,
    failures int NOT NULL DEFAULT 1,
    first_failed_at timestamptz,
    last_failed_at timestamptz NOT NULL,
    replay_id uuid,
    lease_until timestamptz,
    headers jsonb NOT NULL,
    body bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_open ON dead_letters (service, type) WHERE status IN ('open', 'replaying');

CREATE TABLE dead_letter_attempts (
    dead_letter_id uuid NOT NULL REFERENCES dead_letters,
    failed_at timestamptz NOT NULL,
    reason text NOT NULL,
    exception_type text,
    PRIMARY KEY (dead_letter_id, failed_at)
);
REVOKE UPDATE ON dead_letter_attempts FROM operations_app;

CREATE TABLE dead_letter_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dead_letter_id uuid NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    replay_id uuid,
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON dead_letter_audit FROM operations_app;

CREATE TABLE timeline (
    message_id uuid PRIMARY KEY,
    order_ref text,
    type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    causation_id text,
    time timestamptz NOT NULL,
    data jsonb NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX timeline_by_order ON timeline (order_ref, time);
REVOKE UPDATE ON timeline FROM operations_app;

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
