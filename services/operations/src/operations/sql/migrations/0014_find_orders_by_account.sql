-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS timeline_by_account ON timeline (account_in(data)) WHERE account_in(data) IS NOT NULL;
