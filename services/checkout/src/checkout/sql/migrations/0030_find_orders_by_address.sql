-- transaction: none
-- A new order asks how many are open of guests at its address.
CREATE INDEX CONCURRENTLY IF NOT EXISTS order_origins_by_address ON order_origins (address, placed_at);
