-- name: insert_orders
-- ON CONFLICT ends the race of the first two facts of one order; in the order of ids, so that two batches with the same
-- orders cannot wait for each other.
INSERT INTO orders (order_id)
SELECT order_id FROM unnest($1::uuid[]) AS heard (order_id) ORDER BY order_id
ON CONFLICT DO NOTHING;

-- name: lock_orders
-- FOR UPDATE ends the race of two facts of one order, and of a clerk with a refund: the order's row is the lock of
-- its shipments. In the order of ids, as above.
SELECT order_id, goods, stock_committed, held_at, unheld_at, causes, refunds, digital_delivered, disputes
  FROM orders
 WHERE order_id = ANY($1::uuid[])
 ORDER BY order_id
   FOR UPDATE;

-- name: save_orders
UPDATE orders AS o
   SET goods = s.goods::jsonb,
       stock_committed = s.stock_committed,
       held_at = s.held_at,
       unheld_at = s.unheld_at,
       causes = s.causes::jsonb,
       refunds = s.refunds::jsonb,
       digital_delivered = s.digital_delivered,
       disputes = s.disputes::jsonb,
       updated_at = now()
  FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::timestamptz[], $5::timestamptz[], $6::text[],
              $7::text[], $8::boolean[], $9::text[])
       AS s (order_id, goods, stock_committed, held_at, unheld_at, causes, refunds, digital_delivered, disputes)
 WHERE o.order_id = s.order_id;

-- name: find_order_of
SELECT order_id FROM shipments WHERE id = $1;

-- name: load_order
SELECT order_id, goods, stock_committed, held_at, unheld_at, causes, refunds, digital_delivered, disputes
  FROM orders
 WHERE order_id = $1;

-- name: list_shipments
SELECT id, order_id, state, lines, carrier, tracking_number, version
  FROM shipments
 WHERE order_id = ANY($1::uuid[])
 ORDER BY created_at, id;

-- name: save_shipments
-- The orders' locks guard them. The unique index refuses a second live shipment whatever the code decides.
INSERT INTO shipments (id, order_id, state, lines, carrier, tracking_number, version)
SELECT id, order_id, state, lines::jsonb, carrier, tracking_number, version
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[])
       AS s (id, order_id, state, lines, carrier, tracking_number, version)
ON CONFLICT (id) DO UPDATE
   SET state = excluded.state,
       lines = excluded.lines,
       carrier = excluded.carrier,
       tracking_number = excluded.tracking_number,
       version = excluded.version,
       updated_at = now();

-- name: insert_transitions
INSERT INTO shipment_transitions (shipment_id, from_state, to_state, reason)
SELECT shipment_id, from_state, to_state, reason
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
       WITH ORDINALITY AS s (shipment_id, from_state, to_state, reason, position)
 ORDER BY position;
