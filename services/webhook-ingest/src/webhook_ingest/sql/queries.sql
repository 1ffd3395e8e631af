-- name: store_events
-- Store a batch and, for those that somebody hears and that are new, their messages: one statement, one commit.
-- ON CONFLICT ends the race of one event delivered to two requests or two instances at once.
-- Columns of text come as lines, an empty one for NULL: an array costs the client more than all else that it does for
-- an event. A message's body is its head, the event as it was signed, and the tail: the event crosses once.
WITH given AS (
    SELECT *
      FROM unnest(string_to_array($1, E'\n'), string_to_array($2, E'\n'), string_to_array($3, E'\n', ''),
                  string_to_array($4, E'\n'), string_to_array($5, E'\n', ''), string_to_array($6, E'\n', '')::uuid[],
                  string_to_array($7, E'\n', ''), string_to_array($8, E'\n', ''), string_to_array($9, E'\n', ''),
                  string_to_array($10, E'\n', ''), $11::bytea[])
        AS e (event_id, type, object_id, state, reason, message_id, routing_key, partition_key, correlation_id, head,
              raw)
), fresh AS (
    INSERT INTO stripe_events (day, event_id, type, object_id, livemode, account, api_version, state, reason, raw, source)
    SELECT $12::date, event_id, type, object_id, $13::boolean, $14::text, $15::text, state, reason, raw, $16::text
      FROM given
    ON CONFLICT DO NOTHING
    RETURNING event_id
), said AS (
    INSERT INTO outbox (day, message_id, type, routing_key, partition_key, correlation_id, body)
    SELECT $12::date, message_id, 'stripe.' || type, routing_key, partition_key, correlation_id,
           convert_to(head, 'UTF8') || raw || convert_to($17::text, 'UTF8')
      FROM given
      JOIN fresh USING (event_id)
     WHERE message_id IS NOT NULL
)
SELECT string_agg(event_id, E'\n') FROM fresh;

-- name: count_events
-- Events by state, for tests and the console.
SELECT state, count(*) AS events FROM stripe_events GROUP BY state ORDER BY state;

-- name: sources_of
-- Which of these events are stored, and how they came. The day is part of the key.
SELECT event_id, source
  FROM unnest($1::date[], $2::text[]) AS given (day, event_id)
  JOIN stripe_events USING (day, event_id);

-- name: business_now
SELECT business_now();

-- name: load_looked
SELECT business_now() AS now, looked_until, now() - ended_at AS ended_ago FROM looks WHERE one;

-- name: keep_looked
-- Never back: an instance that has lost the connection with the lock of its round may still be at it beside another.
UPDATE looks SET looked_until = greatest(looked_until, $1) WHERE one;

-- name: end_look
UPDATE looks SET ended_at = now() WHERE one;

-- name: list_events
-- A page of one day, the latest stored first, behind ($5, $6). The day's partition is read as a whole: to keep an index
-- of it would cost every webhook, and only people at the console ask.
SELECT day, event_id, type, object_id, livemode, account, api_version, state, reason, source, received_at
  FROM stripe_events
 WHERE day = $1
   AND ($2::text IS NULL OR type = $2)
   AND ($3::text IS NULL OR state = $3)
   AND ($4::text IS NULL OR object_id = $4 OR event_id = $4)
   AND (received_at, event_id) < ($5::timestamptz, $6::text)
 ORDER BY received_at DESC, event_id DESC
 LIMIT $7;

-- name: show_event
SELECT day, event_id, type, object_id, livemode, account, api_version, state, reason, source, received_at, raw
  FROM stripe_events
 WHERE day = $1 AND event_id = $2;

-- name: deliveries
-- The messages of events of one day, as far as they are kept.
SELECT message_id, correlation_id, published_at, attempts, last_error
  FROM outbox
 WHERE day = $1 AND message_id = ANY ($2::uuid[]);

-- name: list_resends
SELECT actor, reason, at FROM resends WHERE day = $1 AND event_id = $2 ORDER BY id;

-- name: hand_over_again
-- The relay takes it as if it had never been published; one that waits is tried at once. Nothing where it is not kept.
UPDATE outbox
   SET published_at = NULL, available_at = now(), attempts = 0, last_error = NULL
 WHERE day = $1 AND message_id = $2
RETURNING message_id;

-- name: insert_resend
INSERT INTO resends (day, event_id, actor, reason) VALUES ($1, $2, $3, $4);
