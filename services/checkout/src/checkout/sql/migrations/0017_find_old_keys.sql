-- transaction: none
-- Keys are written with each request: the index is built beside them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (created_at);
