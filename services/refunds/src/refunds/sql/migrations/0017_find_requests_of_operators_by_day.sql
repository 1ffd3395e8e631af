-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_by_requester_and_time ON requests (requester, created_at)
    WHERE origin = 'person';
