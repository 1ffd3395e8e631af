-- name: ways
-- The largest group, and then every seventh.
SELECT service, type, fingerprint, messages
  FROM (SELECT service, type, fingerprint, count(*) AS messages,
               row_number() OVER (ORDER BY count(*) DESC, fingerprint) AS place
          FROM operations.dead_letters
         WHERE status IN ('open', 'replaying')
         GROUP BY service, type, fingerprint) AS counted
 WHERE place % 7 = 1
 ORDER BY place;

-- name: places
-- Where pages end that somebody leafs to: each $1-th dead letter of the way $2, or of all, but the very last.
SELECT last_failed_at, id
  FROM (SELECT last_failed_at, id, row_number() OVER (ORDER BY last_failed_at DESC, id DESC) AS place,
               count(*) OVER () AS letters
          FROM operations.dead_letters
         WHERE $2::text IS NULL OR fingerprint = $2) AS leafed
 WHERE place % $1::int = 0 AND place < letters;

-- name: some_letters
-- With the intent of the order that each is about.
SELECT d.id, d.message_id, d.correlation_id,
       (SELECT t.data ->> 'payment_intent' FROM operations.timeline AS t
         WHERE t.order_ref = d.correlation_id AND t.data ? 'payment_intent' LIMIT 1) AS intent
  FROM operations.dead_letters AS d
 ORDER BY d.id
 LIMIT $1;
