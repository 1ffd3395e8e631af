-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_paid_at ON orders (paid_at);
