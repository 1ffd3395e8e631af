-- Messages to be published, written in the transaction of the change they announce. Rows stay, marked by
-- `published_at`, so that the broker can be rebuilt from them and the audit can compare; whole days are dropped.
CREATE SEQUENCE outbox_seq;

CREATE TABLE outbox (
    day date NOT NULL,
    message_id uuid NOT NULL,
    seq bigint NOT NULL DEFAULT nextval('outbox_seq'),
    shard smallint NOT NULL DEFAULT 0,
    type text NOT NULL,
    routing_key text NOT NULL,
    partition_key text NOT NULL,
    correlation_id text,
    headers jsonb NOT NULL DEFAULT '{}',
    body bytea NOT NULL,
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts int NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    PRIMARY KEY (day, message_id)
) PARTITION BY RANGE (day);

CREATE TABLE outbox_other_days PARTITION OF outbox DEFAULT;

CREATE INDEX outbox_unpublished ON outbox (shard, seq) WHERE published_at IS NULL;
