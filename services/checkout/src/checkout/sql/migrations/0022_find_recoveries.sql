-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_recovery ON orders (recovered_from) WHERE recovered_from IS NOT NULL;
