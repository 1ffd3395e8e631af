-- transaction: none
-- One order that takes up another is open at a time. No order comes back to the two states, so the index never stands in
-- the way of money.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS one_open_recovery ON orders (recovered_from)
 WHERE recovered_from IS NOT NULL AND state IN ('pending', 'declined');
