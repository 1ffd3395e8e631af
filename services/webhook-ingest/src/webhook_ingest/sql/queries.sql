-- name: store_events
-- Store a batch and, for those that somebody hears and that are new, their messages: one statement, one commit.
-- ON CONFLICT ends the race of one event delivered to two requests or two instances at once.
WITH given AS (
    SELECT *
      FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::text[], $7::text[],
                  $8::text[], $9::text[], $10::bytea[])
        AS e (day, event_id, type, object_id, livemode, account, api_version, state, reason, raw)
), fresh AS (
    INSERT INTO stripe_events (day, event_id, type, object_id, livemode, account, api_version, state, reason, raw, source)
    SELECT day, event_id, type, object_id, livemode, account, api_version, state, reason, raw, $18
      FROM given
    ON CONFLICT DO NOTHING
    RETURNING event_id
), said AS (
    INSERT INTO outbox (day, message_id, type, routing_key, partition_key, correlation_id, body)
    SELECT m.day, m.message_id, m.type, m.routing_key, m.partition_key, m.correlation_id, m.body
      FROM unnest($11::text[], $12::date[], $13::uuid[], $14::text[], $15::text[], $16::text[], $17::text[],
                  $19::bytea[])
        AS m (event_id, day, message_id, type, routing_key, partition_key, correlation_id, body)
      JOIN fresh ON fresh.event_id = m.event_id
)
SELECT event_id FROM fresh;

-- name: count_events
-- Events by state, for tests and the console.
SELECT state, count(*) AS events FROM stripe_events GROUP BY state ORDER BY state;
