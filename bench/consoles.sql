-- name: fill_messages
-- Messages $1 to $2 - 1, eight to an order; two of them are Stripe's and bear $3 with ids of their own.
INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
SELECT md5('message' || n)::uuid, order_ref, types[1 + stage],
       CASE WHEN stage IN (1, 6) THEN 'payments/webhook-ingest' ELSE 'payments/checkout' END, order_ref,
       CASE WHEN stage > 0 THEN md5('message' || n - 1)::uuid::text END,
       now() - make_interval(secs => $4::float8 * ($2 - n)),
       CASE WHEN stage IN (1, 6)
            THEN jsonb_set($3::jsonb || jsonb_build_object('id', 'evt_1' || left(md5('event' || n), 23)),
                           '{data,object}', $3::jsonb #> '{data,object}' || jsonb_build_object(
                               'id', intent, 'description', order_ref, 'metadata', jsonb_build_object('order_id', order_ref)))
            ELSE jsonb_build_object(
                'order_id', order_ref, 'payment_intent', intent, 'currency', 'usd', 'amount_minor', 5400,
                'lines', jsonb_build_array(jsonb_build_object('sku', 'MUG', 'name', 'Mug', 'quantity', 2)),
                'address', jsonb_build_object('city', 'Lyon', 'country', 'FR', 'line1', n || ' Rue de la Paix'))
       END
  FROM (SELECT n, n % 8 AS stage, 'ord_' || md5('order' || n / 8) AS order_ref,
               'pi_3' || left(md5('intent' || n / 8), 23) AS intent
          FROM generate_series($1::int, $2::int - 1) AS n) AS made,
       (SELECT ARRAY['order.placed.v1', 'stripe.payment_intent.succeeded', 'order.paid.v1', 'stock.committed.v1',
                     'notification.sent.v1', 'shipment.created.v1', 'stripe.refund.updated', 'shipment.shipped.v1']
               AS types) AS known;

-- name: fill_letters
-- Dead letters $1 to $2 - 1, each of one of the ways to fail in $4 (service, type, exception, message, handler, stack):
-- few ways have many, and most have few. Of those from $3 on somebody has seen to it; half of these are archived. Bodies
-- are of $5 and more.
INSERT INTO operations.dead_letters
       (id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
        exception_message, handler, stack, attempts, first_failed_at, last_failed_at, replay_id, lease_until, settled_at,
        archived_at, headers, body)
SELECT md5('letter' || n)::uuid, md5('message' || about)::uuid::text, way ->> 'service', (way ->> 'service') || '.events',
       way ->> 'type', 'ord_' || md5('order' || about / 8), status,
       CASE WHEN n % 5 = 0 THEN 'poison' ELSE 'attempts_exhausted' END,
       sha, way ->> 'exception', (way ->> 'message') || ' ' || md5(n::text), way ->> 'handler', way ->> 'stack',
       4, failed_at - interval '40 s', failed_at,
       CASE WHEN status = 'replaying' THEN md5('replay' || n)::uuid END,
       CASE WHEN status = 'replaying' THEN now() + interval '1 day' END,
       CASE WHEN n >= $3 THEN failed_at + interval '1 h' END,
       CASE WHEN n >= $3 AND n % 2 = 0 THEN failed_at + interval '2 h' END,
       jsonb_build_object('pay-fault-reason', 'attempts_exhausted', 'pay-fault-stack', way ->> 'stack',
                          'pay-fault-exception-type', way ->> 'exception', 'pay-fault-fingerprint', sha,
                          'pay-fault-handler', way ->> 'handler', 'pay-fault-failed-at', failed_at,
                          'traceparent', '00-' || md5('trace' || n) || '-' || left(md5('span' || n), 16) || '-01'),
       convert_to(repeat(sha512(n::text::bytea)::text, n % 12), 'UTF8') || $5::bytea
  FROM (SELECT n, (n::bigint * 7919 % $3)::int AS about, way, encode(sha256((way ->> 'stack')::bytea), 'hex') AS sha,
               now() - make_interval(secs => 5.0 * ($2 - n)) AS failed_at,
               CASE WHEN n < $3 THEN CASE n % 100 WHEN 0 THEN 'replaying' ELSE 'open' END
                    ELSE CASE n % 3 WHEN 0 THEN 'discarded' ELSE 'resolved' END END AS status
          FROM generate_series($1::int, $2::int - 1) AS n,
               LATERAL (SELECT $4::jsonb -> floor(jsonb_array_length($4::jsonb)
                                                  * power((n::bigint * 6151 % 9973) / 9973.0, 3))::int AS way) AS drawn
       ) AS made;

-- name: fill_attempts
INSERT INTO operations.dead_letter_attempts (dead_letter_id, failed_at, reason, exception_type, exception_message)
SELECT id, last_failed_at, reason, exception_type, exception_message FROM operations.dead_letters;

-- name: fill_audit
INSERT INTO operations.dead_letter_audit (dead_letter_id, action, actor, reason)
SELECT id, 'discard', 'olga', 'It is worth nothing.' FROM operations.dead_letters WHERE status = 'discarded';

-- name: sign_in
INSERT INTO operations.sessions (token_hash, subject, name, roles, ends_at, access_sealed, access_ends_at)
VALUES ($1, $2, $2, $3, now() + interval '8 h', $4, now() + interval '50 min');

-- name: sizes
SELECT (SELECT count(*) FROM operations.dead_letters) AS letters,
       (SELECT count(*) FROM operations.dead_letters WHERE status IN ('open', 'replaying')) AS unsettled,
       (SELECT count(*) FROM (SELECT DISTINCT service, type, fingerprint FROM operations.dead_letters
                               WHERE status IN ('open', 'replaying')) AS way) AS ways,
       (SELECT avg(length(body)) FROM operations.dead_letters)::int AS body_bytes,
       (SELECT count(DISTINCT order_ref) FROM operations.timeline) AS orders,
       (SELECT count(*) FROM operations.timeline) AS messages,
       pg_size_pretty(pg_total_relation_size('operations.dead_letters')) AS letters_size,
       pg_size_pretty(pg_total_relation_size('operations.timeline')) AS messages_size;
