-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_by_account ON orders (account) WHERE account IS NOT NULL;
