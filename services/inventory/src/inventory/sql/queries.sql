-- name: hold_stock
-- Take all lines of a new order or none, in one statement. $1 order id, $2 deadline, $3 SKUs, $4 quantities.
-- `hopeless` is a look without locks that spares the losers of a sold-out article the queue for its row. ON CONFLICT
-- ends the race of one order's hold sent twice: the second waits for the first and then claims nothing. FOR UPDATE in
-- the order of SKUs ends the race of two buyers for the last unit, and keeps two carts with the same articles, or a cart
-- and a batch of messages, from waiting for each other: first the reservation, then the stock.
-- Where something was claimed but not taken, the caller must roll back.
-- LIMIT leaves nothing out; it tells the planner that there are few. Where it takes them for ten, a plan that is kept
-- seems dearer than one made for the cart at hand, and it makes one for each: 290 us in a shop with many articles.
WITH wanted AS MATERIALIZED (
    SELECT w.sku, w.quantity FROM unnest($3::text[], $4::int[]) AS w (sku, quantity) LIMIT cardinality($3)
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

-- name: load_reservation
SELECT order_id, state, standing, expires_at, version, attempt FROM reservations WHERE order_id = $1;

-- name: claim_reservations
-- Make a reservation of every order that has none, for lock_reservations to lock: it is told by its version 0, nobody
-- else sees it, and the same transaction saves a real one. ON CONFLICT ends the race with the order's hold: one waits
-- for the other. In the order of ids, so that two batches with the same orders cannot wait for each other.
INSERT INTO reservations (order_id, state, standing, version)
SELECT order_id, 'closed', 'ended', 0 FROM unnest($1::uuid[]) AS heard (order_id) ORDER BY order_id
ON CONFLICT DO NOTHING;

-- name: lock_reservations
-- FOR UPDATE ends the race of two words about one order. In the order of ids, as above.
SELECT order_id, state, standing, expires_at, version, attempt
  FROM reservations
 WHERE order_id = ANY($1::uuid[])
 ORDER BY order_id
   FOR UPDATE;

-- name: load_lines
-- A statement of its own: the one that waits for a lock sees other tables as they were before.
SELECT order_id, sku, quantity, restocked
  FROM reservation_lines
 WHERE order_id = ANY($1::uuid[])
 ORDER BY order_id, sku COLLATE "C";

-- name: save_reservations
UPDATE reservations AS r
   SET state = s.state, standing = s.standing, expires_at = s.expires_at, version = s.version, attempt = s.attempt,
       updated_at = now()
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::int[], $6::int[])
       AS s (order_id, state, standing, expires_at, version, attempt)
 WHERE r.order_id = s.order_id;

-- name: insert_lines
INSERT INTO reservation_lines (order_id, sku, quantity)
SELECT order_id, sku, quantity FROM unnest($1::uuid[], $2::text[], $3::int[]) AS l (order_id, sku, quantity);

-- name: insert_transitions
INSERT INTO reservation_transitions (order_id, from_state, to_state, reason)
SELECT order_id, from_state, to_state, reason
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
       WITH ORDINALITY AS s (order_id, from_state, to_state, reason, position)
 ORDER BY position;

-- name: lock_stock
-- What is there. FOR UPDATE in the order of SKUs ends the race with holds and with an administrator who sets a total.
SELECT sku, total, available, held, committed
  FROM stock
 WHERE sku = ANY($1::text[])
 ORDER BY sku
   FOR UPDATE;

-- name: move_stock
-- Move units between the three piles of stock that is locked. $1 SKUs, $2 $3 $4 change of available, held, committed.
UPDATE stock AS s
   SET available = s.available + m.available,
       held = s.held + m.held,
       committed = s.committed + m.committed,
       updated_at = now()
  FROM unnest($1::text[], $2::int[], $3::int[], $4::int[]) AS m (sku, available, held, committed)
 WHERE s.sku = m.sku;

-- name: list_returned
-- The reservation's lock guards them.
SELECT shipment_id FROM restocks WHERE shipment_id = ANY($1::uuid[]);

-- name: insert_restocks
INSERT INTO restocks (shipment_id, order_id, reason)
SELECT shipment_id, order_id, reason FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS r (shipment_id, order_id, reason);

-- name: save_restocked
UPDATE reservation_lines AS l
   SET restocked = s.restocked
  FROM unnest($1::uuid[], $2::text[], $3::int[]) AS s (order_id, sku, restocked)
 WHERE l.order_id = s.order_id AND l.sku = s.sku;

-- name: list_overdue
-- Orders whose deadline passed more than $1 seconds ago without a word.
SELECT order_id
  FROM reservations
 WHERE state = 'held' AND expires_at < business_now() - make_interval(secs => $1)
 ORDER BY expires_at
 LIMIT 100;

-- name: is_overdue
SELECT state = 'held' AND expires_at < business_now() - make_interval(secs => $2) FROM reservations WHERE order_id = $1;

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
