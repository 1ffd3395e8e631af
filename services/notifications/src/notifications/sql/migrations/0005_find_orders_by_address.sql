-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_settled_by_address ON orders (address) WHERE settled;
