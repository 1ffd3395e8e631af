-- transaction: none
-- Whole, as that by address is.
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_by_name_and_time ON requests (mailbox_of(requester), created_at);
