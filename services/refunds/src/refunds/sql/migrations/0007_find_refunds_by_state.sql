-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS refunds_by_state ON refunds (state, request_id);
