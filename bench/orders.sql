-- name: know_marks
-- Event n of a run and what it names, in every query of this session. The same hash as in `bench.events`.
CREATE OR REPLACE FUNCTION pg_temp.marks(run text, count int)
RETURNS TABLE (n int, mark text, order_id uuid)
LANGUAGE sql STABLE
AS $$
SELECT n, mark, left(mark, 32)::uuid
  FROM generate_series(0, count - 1) AS n,
       LATERAL encode(sha256(convert_to(run || '/' || n, 'UTF8')), 'hex') AS mark
$$;

-- name: place_orders
-- As checkout leaves an order whose buyer was sent to Stripe's page.
WITH named AS MATERIALIZED (
    SELECT * FROM pg_temp.marks($1, $2)
), placed AS (
    INSERT INTO checkout.orders (id, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
                                 stripe_session_id, stripe_session_url, expires_at, lease_until, session_asked_at)
    SELECT order_id, 'usd', 5400, 5400,
           jsonb_build_array(jsonb_build_object('sku', $3::text, 'name', 'Mug', 'quantity', 2,
                                                'unit_amount_minor', 2700)),
           'ada@example.com', sha256(order_id::text::bytea),
           jsonb_build_object('mode', 'payment', 'client_reference_id', 'ord_' || replace(order_id::text, '-', ''),
                              'customer_email', 'ada@example.com', 'success_url', 'https://shop.example/success',
                              'cancel_url', 'https://shop.example/cart',
                              'line_items', jsonb_build_array(jsonb_build_object('quantity', 2, 'price_data',
                                  jsonb_build_object('currency', 'usd', 'unit_amount', 2700)))),
           'cs_test_' || mark, 'https://pay.example/' || mark, now() + interval '1 hour', now(), now()
      FROM named
    RETURNING id
), moved AS (
    INSERT INTO checkout.order_transitions (order_id, to_state) SELECT id, 'pending' FROM placed
)
INSERT INTO checkout.payment_attempts (id, order_id) SELECT 'cs_test_' || mark, order_id FROM named;

-- name: put_stock
-- What is held for the orders, and as much again on the shelf.
INSERT INTO inventory.stock (sku, total, available, held) VALUES ($1, $2::int * 4, $2::int * 2, $2::int * 2)
ON CONFLICT (sku) DO UPDATE
   SET total = stock.total + excluded.total, available = stock.available + excluded.available,
       held = stock.held + excluded.held;

-- name: hold_stock
WITH held AS (
    INSERT INTO inventory.reservations (order_id, state, standing, expires_at)
    SELECT order_id, 'held', 'open', now() + interval '1 hour' FROM pg_temp.marks($1, $2)
    RETURNING order_id
), lines AS (
    INSERT INTO inventory.reservation_lines (order_id, sku, quantity) SELECT order_id, $3, 2 FROM held
)
INSERT INTO inventory.reservation_transitions (order_id, to_state, reason) SELECT order_id, 'held', 'hold' FROM held;

-- name: count_paid
SELECT count(*)
  FROM pg_temp.marks($1, $2) AS m
  JOIN checkout.orders AS o ON o.id = m.order_id
 WHERE o.state = 'paid';

-- name: paid_after
-- A transition is written once and never changed: the transaction that wrote it is the one that made the order paid.
SELECT count(*) AS paid, percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY delay) AS delays
  FROM (
    SELECT extract(epoch FROM pg_xact_commit_timestamp(t.xmin))::float8 - ($3::float8 + n / $4::float8) AS delay
      FROM pg_temp.marks($1, $2) AS m
      JOIN checkout.order_transitions AS t ON t.order_id = m.order_id AND t.to_state = 'paid'
  ) AS seen;
