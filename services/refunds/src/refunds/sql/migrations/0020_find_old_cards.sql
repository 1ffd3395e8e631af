-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS charges_by_age ON charges (charged_at) WHERE card IS NOT NULL;
