-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_by_origin ON requests (origin, id);
