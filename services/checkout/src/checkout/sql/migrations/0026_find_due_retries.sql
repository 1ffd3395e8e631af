-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_to_retry ON orders (retry_at) WHERE retry_at IS NOT NULL;
