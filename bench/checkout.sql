-- name: fill_stock
INSERT INTO inventory.stock (sku, total, available)
SELECT 'old-' || n, 10000000, 10000000 FROM generate_series(1, $1::int) AS n;

-- name: fill_reservations
-- What inventory keeps of orders that were paid long ago.
WITH old AS (
    SELECT n, md5('order' || n)::uuid AS id FROM generate_series($1::int, $2::int - 1) AS n
), reserved AS (
    INSERT INTO inventory.reservations (order_id, state, standing) SELECT id, 'committed', 'paid' FROM old
    RETURNING order_id
), lines AS (
    INSERT INTO inventory.reservation_lines (order_id, sku, quantity)
    SELECT id, 'old-' || (1 + n % $3::int), 2 FROM old
)
INSERT INTO inventory.reservation_transitions (order_id, from_state, to_state, reason)
SELECT order_id, step.before, step.after, 'old'
  FROM reserved, (VALUES (NULL, 'held'), ('held', 'committed')) AS step (before, after);

-- name: count_reserved
SELECT count(*) FROM inventory.reservations;

-- name: count_open
-- Orders whose buyers were sent to pay.
SELECT count(*) FROM checkout.orders WHERE stripe_session_id LIKE 'cs_test_%' AND email LIKE 'guest-' || $1 || '-%';

-- name: sizes
SELECT (SELECT count(*) FROM checkout.orders) AS orders, (SELECT count(*) FROM checkout.products) AS products,
       pg_size_pretty(pg_database_size(current_database())) AS size;
