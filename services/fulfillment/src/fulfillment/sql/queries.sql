-- name: ensure_order
-- ON CONFLICT ends the race of the first two facts of one order.
INSERT INTO orders (order_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_order
-- FOR UPDATE ends the race of two facts of one order.
SELECT order_id, lines, address, customer, total_minor, stock_committed, held_at, unheld_at, refunds
  FROM orders
 WHERE order_id = $1
   FOR UPDATE;

-- name: save_order
UPDATE orders
   SET lines = $2, address = $3, customer = $4, total_minor = $5, stock_committed = $6, held_at = $7,
       unheld_at = $8, refunds = $9, updated_at = now()
 WHERE order_id = $1;

-- name: load_shipment_of_order
SELECT id, order_id, state, lines, carrier, tracking_number FROM shipments WHERE order_id = $1;

-- name: lock_shipment
-- FOR UPDATE ends the race of a clerk with a refund.
SELECT id, order_id, state, lines, carrier, tracking_number FROM shipments WHERE id = $1 FOR UPDATE;

-- name: list_shipments
SELECT id, order_id, state, lines, carrier, tracking_number FROM shipments WHERE order_id = $1 ORDER BY created_at;

-- name: insert_shipment
INSERT INTO shipments (id, order_id, state, lines, address) VALUES ($1, $2, 'created', $3, $4);

-- name: update_shipment
UPDATE shipments
   SET state = $2, carrier = coalesce($3, carrier), tracking_number = coalesce($4, tracking_number), updated_at = now()
 WHERE id = $1;

-- name: insert_transition
INSERT INTO shipment_transitions (shipment_id, from_state, to_state, cause) VALUES ($1, $2, $3, $4);
