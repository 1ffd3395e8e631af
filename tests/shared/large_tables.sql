-- Rows of a shop that has been open for a while: n orders with all that follows from each. What the constraints need
-- and no more; every id is a hash of its number.

-- name: webhook_ingest
WITH events AS (
    INSERT INTO stripe_events (day, event_id, type, state, raw)
    SELECT current_date, 'evt_' || md5(n::text), 'checkout.session.completed', 'processed', '\x7b7d'
      FROM generate_series(1, $1::int) AS n
), resent AS (
    INSERT INTO resends (day, event_id, actor, reason)
    SELECT current_date, 'evt_' || md5(n::text), 'olga', 'again' FROM generate_series(1, $1::int) AS n
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, md5(n::text)::uuid, 'said', 'said', 'key', '\x7b7d', now() FROM generate_series(1, $1::int) AS n;

-- name: checkout
WITH articles AS (
    INSERT INTO products (sku, name) SELECT 'sku' || n, 'Thing' FROM generate_series(1, $1::int) AS n RETURNING sku
), priced AS (
    INSERT INTO prices (sku, currency, unit_amount_minor) SELECT sku, 'usd', 100 FROM articles
), made AS (
    INSERT INTO orders (id, state, currency, subtotal_minor, total_minor, lines, email, customer_subject, token_hash,
                        stripe_request, stripe_session_id, stripe_payment_intent, expires_at, lease_until, paid_at)
    SELECT md5(n::text)::uuid, 'paid', 'usd', 100, 100, '[]', 'a' || n % 1000 || '@b.example', 'customer-' || n % 1000, '\x00', '{}',
           'cs_' || n, 'pi_' || n, now(), now(), now()
      FROM generate_series(1, $1::int) AS n
    RETURNING id, stripe_session_id, email, customer_subject
), facts AS (
    INSERT INTO order_facts (order_id, key, kind, data) SELECT id, 'one', 'SessionSeen', '{}' FROM made
), said AS (
    INSERT INTO order_announcements (order_id, key, message_id) SELECT id, 'paid', id FROM made
), moved AS (
    INSERT INTO order_transitions (order_id, to_state) SELECT id, 'paid' FROM made
), attempts AS (
    INSERT INTO payment_attempts (id, order_id, open) SELECT stripe_session_id, id, false FROM made
), coupon AS (
    INSERT INTO coupons (code, percent_basis_points) VALUES ('OLD', 1000) RETURNING code
), used AS (
    INSERT INTO coupon_redemptions (order_id, code, state, email, customer_subject)
    SELECT id, code, 'redeemed', email, customer_subject FROM made, coupon
), customers AS (
    INSERT INTO customers (id, subject, livemode, email, stripe_customer_id)
    SELECT id, 'customer-' || id, true, email, 'cus_' || id FROM made
), methods AS (
    INSERT INTO payment_methods (id, stripe_customer_id, type, exp_month, exp_year, added_at)
    SELECT 'pm_' || id, 'cus_' || id, 'card', n % 12 + 1, 2026 + n % 7, now()
      FROM (SELECT id, row_number() OVER ()::int AS n FROM made) AS numbered
), additions AS (
    INSERT INTO method_additions (id, stripe_request) SELECT id, '{}' FROM made
), keys AS (
    INSERT INTO idempotency_keys (principal, route, key, fingerprint, state, locked_until, response_status,
                                  response_body)
    SELECT 'someone', 'place', id::text, '\x00', 'finished', now(), 201, '\x7b7d' FROM made
), counted AS (
    INSERT INTO request_counts (name, subject, taken, ends_at) SELECT 'address', id::text, 1, now() FROM made
), risks AS (
    INSERT INTO order_risks (order_id, key, gate, outcome, reasons, detail)
    SELECT id, 'one', 'radar', 'normal', '[]', '{}' FROM made
), tried AS (
    INSERT INTO card_attempts (charge, order_id, declined, card, address, email, subject, at)
    SELECT 'ch_' || id, id, false, 'card ' || email, 'from ' || email, email, customer_subject, now() FROM made
     UNION ALL
    SELECT 'setatt_' || id, NULL, false, 'card ' || email, NULL, NULL, coalesce(customer_subject, email), now() FROM made
), origins AS (
    INSERT INTO order_origins (order_id, address) SELECT id, 'from ' || email FROM made
), blocked AS (
    INSERT INTO velocity_blocks (mark, until, order_id, rule) SELECT 'mark ' || id, now(), id, 'rule' FROM made
), granted AS (
    INSERT INTO store_credit_grants (id, customer_subject, currency, amount_minor, expires_at, source, reference,
                                     granted_by, created_at, spent_minor)
    SELECT id, customer_subject, 'usd', 100, now() + interval '1 year', 'admin', id::text, 'by ' || email, now(), 100 FROM made
), credit AS (
    INSERT INTO store_credit_uses (order_id, grant_id, amount_minor, state) SELECT id, id, 100, 'spent' FROM made
), entered AS (
    INSERT INTO store_credit_entries (id, customer_subject, grant_id, kind, amount_minor, at)
    SELECT id, customer_subject, id, 'granted', 100, now() FROM made
), turned AS (
    INSERT INTO switch_turns (switch, state, actor) SELECT 'checkouts', 'open', 'someone' FROM made
), lost AS (
    INSERT INTO lost_payments (payment_intent, order_id, amount_minor, currency, actor, reason)
    SELECT 'pi_lost_' || id, id, 100, 'usd', 'someone', 'restored' FROM made
), heard AS (
    INSERT INTO inbox (day, message_id, handler, type) SELECT current_date, id, 'checkout', 'heard' FROM made
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, id, 'said', 'said', 'key', '\x7b7d', now() FROM made;

-- name: inventory
WITH articles AS (
    INSERT INTO stock (sku, total, available) SELECT 'sku' || n, 1000, 1000 FROM generate_series(1, $1::int) AS n
), made AS (
    INSERT INTO reservations (order_id, state, standing)
    SELECT md5(n::text)::uuid, 'committed', 'paid' FROM generate_series(1, $1::int) AS n
    RETURNING order_id
), lines AS (
    INSERT INTO reservation_lines (order_id, sku, quantity) SELECT order_id, 'mug', 1 FROM made
), moved AS (
    INSERT INTO reservation_transitions (order_id, to_state, reason) SELECT order_id, 'committed', 'paid' FROM made
), back AS (
    INSERT INTO restocks (shipment_id, order_id, reason) SELECT order_id, order_id, 'returned' FROM made
), heard AS (
    INSERT INTO inbox (day, message_id, handler, type) SELECT current_date, order_id, 'inventory', 'heard' FROM made
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, order_id, 'said', 'said', 'key', '\x7b7d', now() FROM made;

-- name: fulfillment
WITH made AS (
    INSERT INTO orders (order_id, goods) SELECT md5(n::text)::uuid, '{}' FROM generate_series(1, $1::int) AS n
    RETURNING order_id
), parcels AS (
    INSERT INTO shipments (id, order_id, state, lines, version)
    SELECT order_id, order_id, 'created', '[{}]', 1 FROM made
), moved AS (
    INSERT INTO shipment_transitions (shipment_id, to_state, reason) SELECT order_id, 'created', 'paid' FROM made
), heard AS (
    INSERT INTO inbox (day, message_id, handler, type) SELECT current_date, order_id, 'fulfillment', 'heard' FROM made
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, order_id, 'said', 'said', 'key', '\x7b7d', now() FROM made;

-- name: refunds
WITH made AS (
    INSERT INTO orders (order_id, paid, customer, account, paid_at)
    SELECT md5(n::text)::uuid, true, jsonb_build_object('email', n || '@example.com'), 'account ' || n,
           now() - n * interval '20 minutes'
      FROM generate_series(1, $1::int) AS n
    RETURNING order_id
), paid AS (
    INSERT INTO payments (payment_intent, order_id, currency, captured_minor)
    SELECT 'pi_' || order_id, order_id, 'usd', 100 FROM made
), requested AS (
    INSERT INTO requests (id, order_id, currency, amount_minor, reason, origin, requester, requester_email)
    SELECT order_id, order_id, 'usd', 100, 'goodwill',
           CASE WHEN n % 100 = 0 THEN 'stripe' WHEN n % 100 < 10 THEN 'system' ELSE 'person' END, order_id::text,
           order_id || '@shop.example'
      FROM (SELECT order_id, row_number() OVER () AS n FROM made) AS numbered
), refunded AS (
    INSERT INTO refunds (id, request_id, order_id, payment_intent, amount_minor, currency, reason, state, requester,
                         approver, stripe_refund_id, asked_at)
    SELECT order_id, order_id, order_id, 'pi_' || order_id, 100, 'usd', 'requested', 'succeeded', 'one', 'another',
           're_' || order_id, NULL
      FROM made
), keyed AS (
    INSERT INTO idempotency_keys (principal, route, key, fingerprint, locked_until)
    SELECT order_id::text, '/', 'key', '', now() FROM made
), told AS (
    INSERT INTO heard (stripe_refund_id, payment_intent, amount_minor, currency, status)
    SELECT 're_' || order_id, 'pi_x' || order_id, 100, 'usd', 'pending' FROM made
), owed AS (
    INSERT INTO debts (order_id, tender, reason) SELECT order_id, 'pi_' || order_id, 'shortfall' FROM made
), charged AS (
    INSERT INTO charges (payment_intent, method_type, card, charged_at)
    SELECT 'pi_' || order_id, 'card', 'card ' || order_id, now() FROM made
), delivered AS (
    INSERT INTO exhibits (order_id, kind, ref, at, body) SELECT order_id, 'delivered', order_id::text, now(), '{}' FROM made
), turned AS (
    INSERT INTO switch_turns (switch, state, actor) SELECT 'refunds', 'open', 'someone' FROM made
), tallied AS (
    INSERT INTO tallies (kind, name, day, orders, refunded, requests)
    SELECT CASE n % 3 WHEN 0 THEN 'shop' WHEN 1 THEN 'product' ELSE 'operator' END,
           CASE n % 3 WHEN 0 THEN '' ELSE (n % 100)::text END, current_date - n, 1, 1, 1
      FROM generate_series(1, $1::int) AS n
), moved AS (
    INSERT INTO refund_transitions (refund_id, to_state, cause) SELECT order_id, 'requested', 'one' FROM made
), disputed AS (
    INSERT INTO disputes (id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason,
                          asked_at, opened_at, closed_at)
    SELECT 'du_' || order_id, 'ch_' || order_id, 'pi_' || order_id, order_id, 100, 'usd', 'won', 'won', 'general',
           now(), now(), now()
      FROM made
    RETURNING id, payment_intent
), decided AS (
    INSERT INTO dispute_transitions (dispute_id, to_state, cause) SELECT id, 'won', 'one' FROM disputed
), warned AS (
    INSERT INTO warnings (id, charge, payment_intent, fraud_type, actionable)
    SELECT 'issfr_' || id, 'ch', payment_intent, 'misc', true FROM disputed
), proved AS (
    INSERT INTO exhibits (order_id, kind, ref, at, body) SELECT order_id, 'placed', 'order', now(), '{}' FROM made
), submitted AS (
    INSERT INTO submissions (id, dispute_id, final, inquiry, state, pack, evidence, actor, reason, settled_at)
    SELECT gen_random_uuid(), id, true, false, 'taken', '{}', '{}', 'one', 'why', now() FROM disputed
), heard AS (
    INSERT INTO inbox (day, message_id, handler, type) SELECT current_date, order_id, 'refunds', 'heard' FROM made
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, order_id, 'said', 'said', 'key', '\x7b7d', now() FROM made;

-- name: notifications
WITH made AS (
    INSERT INTO orders (order_id, settled, family, address)
    SELECT md5(n::text)::uuid, true, md5(n::text)::uuid, 'a' || n % 1000 || '@b.example'
      FROM generate_series(1, $1::int) AS n
    RETURNING order_id
), written AS (
    INSERT INTO mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
    SELECT order_id, 'order_confirmation', order_id::text, order_id, 'a' || order_id || '@b.example', order_id::text,
           'thanks', 'html', 'plain', 'sent'
      FROM made
), held AS (
    INSERT INTO holds (id, until) SELECT order_id, now() FROM made RETURNING id
), turned AS (
    INSERT INTO switch_turns (switch, state, actor) SELECT 'mails', 'open', 'someone' FROM made
), before AS (
    INSERT INTO taken (message_id, hold_id) SELECT id::text, id FROM held
), heard AS (
    INSERT INTO inbox (day, message_id, handler, type)
    SELECT current_date, order_id, 'notifications', 'heard' FROM made
)
INSERT INTO outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, order_id, 'said', 'said', 'key', '\x7b7d', now() FROM made;

-- name: operations
WITH made AS (
    INSERT INTO timeline (message_id, order_ref, type, source, subject, time, data)
    SELECT md5(n::text)::uuid, 'ord_' || n / 10, 'said', 'payments/checkout', 'order', now(), '{}'
      FROM generate_series(1, $1::int) AS n
    RETURNING message_id
), came AS (
    INSERT INTO sessions (token_hash, subject, name, roles, ends_at)
    SELECT sha256(message_id::text::bytea), 'olga', 'Olga', '{operator}', now() FROM made
), restored AS (
    INSERT INTO restores (act, actor, reason, counts) SELECT 'begin', 'olga', 'lost', '{}' FROM made
), kept AS (
    INSERT INTO base_backups (taken_at) SELECT now() - n * interval '1 day' FROM generate_series(1, $1::int) AS n
), acted AS (
    INSERT INTO dead_letter_audit (dead_letter_id, action, actor, reason, service)
    SELECT CASE WHEN n % 4 = 0 THEN md5('letter' || n)::uuid END, 'replay', 'person' || n % 50, 'mended',
           CASE WHEN n % 4 = 1 THEN 'refunds' END
      FROM generate_series(1, $1::int) AS n
    RETURNING id
), ended AS (
    INSERT INTO audit_outcomes (audit_id, outcome) SELECT id, 'done' FROM acted
), failed AS ( -- as wide as they are, and few of them still to be seen to
    INSERT INTO dead_letters (id, message_id, service, queue, type, correlation_id, status, reason, fingerprint,
                              last_failed_at, archived_at, headers, body)
    SELECT md5('letter' || n)::uuid, md5(n::text)::uuid::text, 'service' || n % 5, 'events', 'type' || n % 50,
           'ord_' || n / 10, CASE n % 50 WHEN 0 THEN 'open' WHEN 1 THEN 'discarded' ELSE 'resolved' END, 'poison',
           'way' || n % 200, now() - n * interval '1 s', CASE WHEN n % 100 = 2 THEN now() END, '{}',
           convert_to(repeat('x', 1600), 'UTF8')
      FROM generate_series(1, $1::int) AS n
)
INSERT INTO inbox (day, message_id, handler, type)
SELECT current_date, message_id, 'operations', 'heard' FROM made;
