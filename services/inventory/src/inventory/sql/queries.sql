-- name: hold_stock
-- Take all lines of a new order or none, in one statement. $1 order id, $2 deadline, $3 SKUs, $4 quantities.
-- `turn` is shared by all holds and keeps out messages, see take_turn. `hopeless` is a look without locks that
-- spares the losers of a sold-out article the queue for its row. ON CONFLICT ends the race of one order's hold sent
-- twice: the second waits for the first and then claims nothing. FOR UPDATE in the order of SKUs ends the race of two
-- buyers for the last unit, and keeps two carts with the same articles from waiting for each other.
-- Where something was claimed but not taken, the caller must roll back.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock_shared(hashtextextended('inventory:turn', 0))
), wanted AS MATERIALIZED (
    SELECT w.sku, w.quantity FROM turn, unnest($3::text[], $4::int[]) AS w (sku, quantity)
), hopeless AS (
    SELECT FROM wanted AS w LEFT JOIN stock AS s USING (sku) WHERE coalesce(s.available, 0) < w.quantity
), claimed AS (
    INSERT INTO reservations (order_id, state, standing, expires_at)
    SELECT $1, 'held', 'open', $2 WHERE NOT EXISTS (SELECT FROM hopeless)
    ON CONFLICT DO NOTHING
    RETURNING order_id
), locked AS MATERIALIZED (
    SELECT s.sku, s.available
      FROM stock AS s
      JOIN wanted AS w ON w.sku = s.sku
     CROSS JOIN claimed
     ORDER BY s.sku
       FOR UPDATE OF s
), enough AS MATERIALIZED (
    SELECT order_id
      FROM claimed
     WHERE NOT EXISTS (
         SELECT FROM wanted AS w LEFT JOIN locked AS l USING (sku) WHERE coalesce(l.available, 0) < w.quantity
     )
), taken AS (
    UPDATE stock AS s
       SET available = s.available - w.quantity, held = s.held + w.quantity, updated_at = now()
      FROM wanted AS w, enough
     WHERE s.sku = w.sku
), remembered AS (
    INSERT INTO reservation_lines (order_id, sku, quantity)
    SELECT enough.order_id, w.sku, w.quantity FROM enough, wanted AS w
), logged AS (
    INSERT INTO reservation_transitions (order_id, to_state, reason) SELECT order_id, 'held', 'hold' FROM enough
)
SELECT w.sku,
       coalesce(l.available, s.available, 0) AS available,
       EXISTS (SELECT FROM claimed) AS claimed,
       EXISTS (SELECT FROM enough) AS taken
  FROM wanted AS w
  LEFT JOIN stock AS s USING (sku)
  LEFT JOIN locked AS l USING (sku)
 ORDER BY w.sku;

-- name: take_turn
-- Messages are applied many to a transaction, so their locks cannot be taken in the order of SKUs: two such
-- transactions, or one and a hold, could wait for each other for ever. They take turns instead.
SELECT pg_advisory_xact_lock(hashtextextended('inventory:turn', 0));

-- name: load_reservation
SELECT r.order_id,
       r.state,
       r.standing,
       r.expires_at,
       r.version,
       ARRAY(SELECT l.sku FROM reservation_lines AS l WHERE l.order_id = r.order_id ORDER BY l.sku COLLATE "C") AS skus,
       ARRAY(SELECT l.quantity FROM reservation_lines AS l WHERE l.order_id = r.order_id ORDER BY l.sku COLLATE "C")
           AS quantities
  FROM reservations AS r
 WHERE r.order_id = $1;

-- name: lock_stock
-- What is there to be taken. FOR UPDATE ends the race with an administrator who sets a total.
SELECT sku, total, available, held, committed
  FROM stock
 WHERE sku = ANY($1::text[])
 ORDER BY sku
   FOR UPDATE;

-- name: save_step
-- One step of a reservation with all that goes with it. $1 order, $2 state, $3 standing, $4 deadline, $5 version,
-- $6 state before, $7 reason, $8 SKUs, $9 quantities, $10 $11 $12 change per unit of available, held, committed.
-- The version ends the race of two changes of one reservation: the later one saves nothing and must look again.
WITH saved AS (
    INSERT INTO reservations AS r (order_id, state, standing, expires_at, version)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (order_id) DO UPDATE
       SET state = excluded.state,
           standing = excluded.standing,
           expires_at = excluded.expires_at,
           version = excluded.version,
           updated_at = now()
     WHERE r.version = excluded.version - 1
    RETURNING r.order_id
), lines AS MATERIALIZED (
    SELECT saved.order_id, l.sku, l.quantity FROM saved, unnest($8::text[], $9::int[]) AS l (sku, quantity)
), remembered AS (
    INSERT INTO reservation_lines (order_id, sku, quantity)
    SELECT order_id, sku, quantity FROM lines
    ON CONFLICT DO NOTHING -- the lines of an order never change
), logged AS (
    INSERT INTO reservation_transitions (order_id, from_state, to_state, reason)
    SELECT order_id, $6, $2, $7 FROM saved WHERE $6::text IS DISTINCT FROM $2
), moved AS (
    UPDATE stock AS s
       SET available = s.available + l.quantity * $10::int,
           held = s.held + l.quantity * $11::int,
           committed = s.committed + l.quantity * $12::int,
           updated_at = now()
      FROM lines AS l
     WHERE s.sku = l.sku AND ($10, $11, $12) <> (0, 0, 0)
)
SELECT order_id FROM saved;

-- name: move_stock
-- Move units between the three piles. $1 SKUs, $2 quantities, $3 $4 $5 change per unit of available, held, committed.
UPDATE stock AS s
   SET available = s.available + m.quantity * $3::int,
       held = s.held + m.quantity * $4::int,
       committed = s.committed + m.quantity * $5::int,
       updated_at = now()
  FROM unnest($1::text[], $2::int[]) AS m (sku, quantity)
 WHERE s.sku = m.sku
RETURNING s.sku;

-- name: insert_restock
-- ON CONFLICT ends the race of one shipment's return heard twice.
INSERT INTO restocks (shipment_id, order_id, reason) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING shipment_id;

-- name: restock_lines
-- Return the lines that were sold and have not come back yet; others are left out of the result.
UPDATE reservation_lines AS l
   SET restocked = l.restocked + b.quantity
  FROM unnest($2::text[], $3::int[]) AS b (sku, quantity)
 WHERE l.order_id = $1 AND l.sku = b.sku AND l.restocked + b.quantity <= l.quantity
RETURNING l.sku;

-- name: list_overdue
-- Orders whose deadline passed more than $1 seconds ago without a word.
SELECT order_id
  FROM reservations
 WHERE state = 'held' AND expires_at < business_now() - make_interval(secs => $1)
 ORDER BY expires_at
 LIMIT 100;

-- name: list_stock
SELECT sku, total, available, held, committed FROM stock ORDER BY sku;

-- name: put_stock
-- Set the total of a SKU; no row when more than that is promised. $1 SKU, $2 total.
INSERT INTO stock AS s (sku, total, available) VALUES ($1, $2, $2)
ON CONFLICT (sku) DO UPDATE
   SET total = excluded.total,
       available = excluded.total - s.held - s.committed,
       updated_at = now()
 WHERE excluded.total >= s.held + s.committed
RETURNING sku, total, available, held, committed;
