-- name: keep_partitions
SELECT payments.keep_partitions('webhook_ingest'), payments.keep_partitions('checkout');

-- name: fill_events
-- Events $1 to $2 - 1, whose body is about $3; all in the partitions of yesterday and today, where indexes are deepest.
INSERT INTO webhook_ingest.stripe_events (day, event_id, type, object_id, livemode, api_version, state, raw)
SELECT current_date - n % 2, 'evt_old' || md5(n::text), 'checkout.session.completed', 'cs_test_old' || md5(n::text),
       false, '2026-08-26.dahlia', 'processed', $3::bytea || sha512(n::text::bytea)
  FROM generate_series($1::int, $2::int - 1) AS n;

-- name: fill_said
INSERT INTO webhook_ingest.outbox (day, message_id, type, routing_key, partition_key, correlation_id, body, published_at)
SELECT current_date - n % 2, md5('event' || n)::uuid, 'stripe.checkout.session.completed',
       'stripe.checkout.session.completed.b00', 'ord_' || md5('order' || n), 'ord_' || md5('order' || n),
       $3::bytea || sha512(n::text::bytea), now()
  FROM generate_series($1::int, $2::int - 1) AS n;

-- name: fill_heard
INSERT INTO checkout.inbox (day, message_id, handler, type)
SELECT current_date - n % 2, md5('event' || n)::uuid, 'checkout', 'stripe.checkout.session.completed'
  FROM generate_series($1::int, $2::int - 1) AS n;

-- name: fill_orders
WITH old AS (
    SELECT n, md5('order' || n)::uuid AS id, 'cs_test_old' || md5(n::text) AS session, 'pi_old' || md5(n::text) AS intent
      FROM generate_series($1::int, $2::int - 1) AS n
), placed AS (
    INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, customer_subject,
                                 token_hash, stripe_request, stripe_session_id, stripe_session_url,
                                 stripe_payment_intent, expires_at, lease_until, paid_at, version)
    SELECT id, 'paid', 'usd', 5400, 5400,
           '[{"sku": "bench-mug", "name": "Mug", "quantity": 2, "unit_amount_minor": 2700}]',
           'ada' || n || '@example.com', 'customer-' || n % 10000, sha256(id::text::bytea),
           jsonb_build_object('mode', 'payment', 'client_reference_id', 'ord_' || md5('order' || n),
                              'success_url', 'https://shop.example/success', 'cancel_url', 'https://shop.example/cart'),
           session, 'https://pay.example/' || session, intent, now(), now(), now(), 2
      FROM old
), facts AS (
    INSERT INTO checkout.order_facts (order_id, key, kind, data)
    SELECT id, fact || ':' || session, fact,
           jsonb_build_object('session_id', session, 'status', 'complete', 'payment_status', 'paid',
                              'payment_intent', intent, 'currency', 'usd', 'subtotal_minor', 5400, 'total_minor', 5400)
      FROM old, unnest(ARRAY['SessionSeen', 'IntentSucceeded']) AS fact
), said AS (
    INSERT INTO checkout.order_announcements (order_id, key, message_id)
    SELECT id, 'paid:' || intent, md5('paid' || n)::uuid FROM old
), moved AS (
    INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
    SELECT id, step.before, step.after FROM old, (VALUES (NULL, 'pending'), ('pending', 'paid')) AS step (before, after)
), attempts AS (
    INSERT INTO checkout.payment_attempts (id, order_id, open) SELECT session, id, false FROM old
), keys AS (
    INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, state, locked_until, resource_id,
                                           response_status, response_body)
    SELECT 'customer-' || n % 10000, 'checkout-session', 'old-key-' || n, sha256(n::text::bytea), 'finished', now(), id,
           201, convert_to('{"checkout_url": "https://pay.example/' || session || '"}', 'UTF8')
      FROM old
)
INSERT INTO checkout.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date - n % 2, md5('paid' || n)::uuid, 'order.paid.v1', 'order.paid.v1.b00', 'ord_' || md5('order' || n),
       decode(repeat(md5(n::text), 32), 'hex'), now()
  FROM old;

-- name: fill_catalog
WITH made AS (
    INSERT INTO checkout.products (sku, name) SELECT 'old-' || n, 'Thing ' || n FROM generate_series(1, $1::int) AS n
    RETURNING sku
), coupons AS (
    INSERT INTO checkout.coupons (code, percent_basis_points)
    SELECT 'OLD' || n, 1000 FROM generate_series(1, $1::int) AS n
)
INSERT INTO checkout.prices (sku, currency, unit_amount_minor) SELECT sku, 'usd', 2700 FROM made;

-- name: taken
-- How fast the orders of a run were paid: those after the first commit, over the time from the first to the last.
SELECT count(*) FILTER (WHERE at > first) AS after_first, extract(epoch FROM max(at) - min(at))::float8 AS seconds
  FROM (
    SELECT t.at, min(t.at) OVER () AS first
      FROM pg_temp.marks($1, $2) AS m
      JOIN checkout.order_transitions AS t ON t.order_id = m.order_id AND t.to_state = 'paid'
  ) AS seen;

-- name: sizes
SELECT (SELECT count(*) FROM webhook_ingest.stripe_events) AS events, (SELECT count(*) FROM checkout.orders) AS orders,
       (SELECT count(*) FROM webhook_ingest.outbox) AS said, (SELECT count(*) FROM checkout.inbox) AS heard,
       pg_size_pretty(pg_database_size(current_database())) AS size;
