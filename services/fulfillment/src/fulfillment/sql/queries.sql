-- name: insert_order
-- ON CONFLICT ends the race of the first two facts of one order.
INSERT INTO orders (order_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_order
-- FOR UPDATE ends the race of two facts of one order, and of a clerk with a refund: the order's row is the lock of
-- its shipments.
SELECT order_id, goods, stock_committed, held_at, unheld_at, refunds
  FROM orders
 WHERE order_id = $1
   FOR UPDATE;

-- name: save_order
UPDATE orders
   SET goods = $2, stock_committed = $3, held_at = $4, unheld_at = $5, refunds = $6, updated_at = now()
 WHERE order_id = $1;

-- name: find_order_of
SELECT order_id FROM shipments WHERE id = $1;

-- name: load_address
SELECT goods -> 'address' AS address FROM orders WHERE order_id = $1;

-- name: list_shipments
SELECT id, order_id, state, lines, carrier, tracking_number, version
  FROM shipments
 WHERE order_id = $1
 ORDER BY created_at, id;

-- name: save_shipment
-- The order's lock guards it. The unique index refuses a second live shipment whatever the code decides.
INSERT INTO shipments (id, order_id, state, lines, carrier, tracking_number, version)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO UPDATE
   SET state = excluded.state,
       lines = excluded.lines,
       carrier = excluded.carrier,
       tracking_number = excluded.tracking_number,
       version = excluded.version,
       updated_at = now();

-- name: insert_transition
INSERT INTO shipment_transitions (shipment_id, from_state, to_state, reason) VALUES ($1, $2, $3, $4);
