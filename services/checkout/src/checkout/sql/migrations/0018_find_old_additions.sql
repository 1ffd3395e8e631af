-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS method_additions_by_age ON method_additions (created_at);
