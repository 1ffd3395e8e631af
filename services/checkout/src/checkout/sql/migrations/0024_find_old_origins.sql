-- transaction: none
-- Orders are placed all the time: the index is built beside them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS order_origins_by_age ON order_origins (placed_at);
