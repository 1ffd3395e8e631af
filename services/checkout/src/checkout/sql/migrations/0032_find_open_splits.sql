-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_split_open ON orders (lease_until) WHERE split_open;
