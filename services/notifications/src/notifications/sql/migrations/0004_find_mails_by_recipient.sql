-- transaction: none
-- Mails are written all the time: the index is built beside them.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mails_by_recipient ON mails (lower(recipient), created_at);
