-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_by_time ON requests (created_at);
