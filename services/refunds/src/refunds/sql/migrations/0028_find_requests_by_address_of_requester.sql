-- transaction: none
-- Whole: the planner believes no statistics of an index of some rows, and would read all refunds for those of a day.
CREATE INDEX CONCURRENTLY IF NOT EXISTS requests_by_address_and_time
    ON requests (mailbox_of(requester_email), created_at);
