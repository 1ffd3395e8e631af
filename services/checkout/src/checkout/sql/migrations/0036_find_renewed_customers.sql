-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS customers_renewed ON customers (id) WHERE told_version < email_version;
