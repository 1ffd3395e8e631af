-- Every Stripe event, once, as the bytes that were signed. The day comes from the event's own `created`, so that an
-- event repeated a day later still meets its first row.
CREATE TABLE stripe_events (
    day date NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    object_id text,
    livemode boolean,
    account text,
    api_version text,
    state text NOT NULL CHECK (state IN ('processed', 'ignored', 'dead')),
    reason text,
    source text NOT NULL DEFAULT 'webhook' CHECK (source IN ('webhook', 'pull')),
    raw bytea NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, event_id),
    CONSTRAINT processed_has_no_reason CHECK (state <> 'processed' OR reason IS NULL),
    CONSTRAINT others_say_why CHECK (state = 'processed' OR reason IS NOT NULL)
) PARTITION BY RANGE (day);

CREATE TABLE stripe_events_other_days PARTITION OF stripe_events DEFAULT;

-- What was stored is evidence: it is never changed.
REVOKE UPDATE ON stripe_events FROM webhook_ingest_app;

-- include: payments_shared/sql/outbox.sql
