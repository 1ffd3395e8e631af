-- One row per (principal, route, key): the answer that a repeated request gets back. `resource_id` is what the first
-- request made; a repeat after a crash goes on with it instead of making a second one.
CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    state text NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'finished')),
    locked_until timestamptz NOT NULL,
    resource_id uuid,
    response_status int,
    response_body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, route, key),
    CONSTRAINT finished_has_response CHECK (state = 'started' OR (response_status IS NOT NULL AND response_body IS NOT NULL))
);
