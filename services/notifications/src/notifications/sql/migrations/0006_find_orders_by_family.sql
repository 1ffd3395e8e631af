-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_family ON orders (family);
