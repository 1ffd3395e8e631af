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
