-- transaction: none
-- What an administrator gave within a day is counted before he gives more.
CREATE INDEX CONCURRENTLY IF NOT EXISTS store_credit_grants_of_administrator
    ON store_credit_grants (granted_by, currency, created_at)
 WHERE source = 'admin';
