-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS refunds_by_order ON refunds (order_id);
