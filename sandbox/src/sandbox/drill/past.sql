-- name: old
-- Order n and what it names, for the rest of this transaction.
CREATE TEMPORARY TABLE old ON COMMIT DROP AS
SELECT n, md5('past order' || n)::uuid AS id, 'cs_test_past' || md5(n::text) AS session,
       'pi_past' || md5(n::text) AS intent, 'evt_past' || md5(n::text) AS event,
       'ord_' || md5('past order' || n) AS name, md5('past event' || n)::uuid AS event_message,
       md5('past paid' || n)::uuid AS paid_message
  FROM generate_series(1, $1::int) AS n;

-- name: ingested
WITH events AS (
    INSERT INTO webhook_ingest.stripe_events (day, event_id, type, object_id, livemode, api_version, state, raw)
    SELECT current_date, event, 'checkout.session.completed', session, false, '2026-08-26.dahlia', 'processed',
           sha512(event::bytea)
      FROM old
)
INSERT INTO webhook_ingest.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, event_message, 'stripe.checkout.session.completed', 'stripe.checkout.session.completed.b00', name,
       '\x7b7d', now()
  FROM old;

-- name: bought
WITH placed AS (
    INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash,
                                 stripe_request, stripe_session_id, stripe_session_url, stripe_payment_intent,
                                 expires_at, lease_until, paid_at, version)
    SELECT id, 'paid', 'usd', 5400, 5400,
           '[{"sku": "past-mug", "name": "Mug", "quantity": 2, "unit_amount_minor": 2700}]',
           'past' || n || '@example.com', sha256(id::text::bytea),
           jsonb_build_object('mode', 'payment', 'client_reference_id', name,
                              'success_url', 'https://shop.example/success', 'cancel_url', 'https://shop.example/cart'),
           session, 'https://pay.example/' || session, intent, now(), now(), now(), 2
      FROM old
), facts AS (
    INSERT INTO checkout.order_facts (order_id, key, kind, data)
    SELECT id, 'SessionSeen:' || session, 'SessionSeen',
           jsonb_build_object('session_id', session, 'status', 'complete', 'payment_status', 'paid',
                              'payment_intent', intent, 'currency', 'usd', 'subtotal_minor', 5400, 'total_minor', 5400)
      FROM old
), moved AS (
    INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
    SELECT id, step.before, step.after
      FROM old, (VALUES (1, NULL, 'pending'), (2, 'pending', 'paid')) AS step (number, before, after)
     ORDER BY n, step.number
), attempts AS (
    INSERT INTO checkout.payment_attempts (id, order_id, open) SELECT session, id, false FROM old
), announced AS (
    INSERT INTO checkout.order_announcements (order_id, key, message_id) SELECT id, 'paid:' || intent, paid_message FROM old
)
INSERT INTO checkout.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, paid_message, 'order.paid.v1', 'order.paid.v1.b00', name, '\x7b7d', now() FROM old;

-- name: stock
INSERT INTO inventory.stock (sku, total, available, committed)
SELECT 'past-mug', count(*) * 3, count(*), count(*) * 2 FROM old;

-- name: kept
WITH kept AS (
    INSERT INTO inventory.reservations (order_id, state, standing) SELECT id, 'committed', 'paid' FROM old
    RETURNING order_id
), lines AS (
    INSERT INTO inventory.reservation_lines (order_id, sku, quantity) SELECT order_id, 'past-mug', 2 FROM kept
)
INSERT INTO inventory.reservation_transitions (order_id, to_state, reason) SELECT order_id, 'committed', 'paid' FROM kept;

-- name: sent
WITH known AS (
    INSERT INTO fulfillment.orders (order_id, goods, stock_committed) SELECT id, '{}', true FROM old RETURNING order_id
), parcels AS (
    INSERT INTO fulfillment.shipments (id, order_id, state, lines, version)
    SELECT order_id, order_id, 'created', '[{"sku": "past-mug", "quantity": 2}]', 1 FROM known
    RETURNING id
)
INSERT INTO fulfillment.shipment_transitions (shipment_id, to_state, reason) SELECT id, 'created', 'paid' FROM parcels;

-- name: settled
WITH known AS (
    INSERT INTO refunds.orders (order_id, paid, customer, paid_at)
    SELECT id, true, jsonb_build_object('email', 'past' || n || '@example.com'), now() FROM old
)
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor, settles)
SELECT intent, id, 'usd', 5400, true FROM old;

-- name: mailed
WITH known AS (
    INSERT INTO notifications.orders (order_id, settled, family, address)
    SELECT id, true, id, 'past' || n || '@example.com' FROM old
)
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
SELECT id, 'order_confirmation', id::text, id, 'past' || n || '@example.com', '<' || id || '@past.example>', 'Thanks',
       'html', 'plain', 'sent'
  FROM old;

-- name: heard
INSERT INTO :schema.inbox (day, message_id, handler, type) SELECT current_date, :ids, $1, $2 FROM old;

-- name: truth
SELECT o.id, o.stripe_session_id, o.stripe_payment_intent, e.event_id
  FROM checkout.orders AS o
  JOIN webhook_ingest.stripe_events AS e ON e.object_id = o.stripe_session_id
 WHERE o.stripe_session_id LIKE 'cs_test_past%' AND e.event_id LIKE 'evt_past%';
