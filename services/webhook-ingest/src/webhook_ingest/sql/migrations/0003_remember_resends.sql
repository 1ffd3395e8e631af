-- Who handed the message of an event to the broker again, and why. Consumers know it by its id and do nothing twice.
CREATE TABLE resends (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    day date NOT NULL,
    event_id text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX resends_by_event ON resends (day, event_id, id);
REVOKE UPDATE ON resends FROM webhook_ingest_app;
