-- transaction: none
-- Orders are written all the time: the index is built beside them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_email ON orders (lower(email), created_at DESC);
