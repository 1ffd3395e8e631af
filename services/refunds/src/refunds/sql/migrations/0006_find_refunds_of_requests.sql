-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS refunds_by_request ON refunds (request_id);
