-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS submissions_by_age ON submissions (settled_at) WHERE pack ? 'dispute';
