-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS timeline_by_reference ON timeline USING gin (references_in(data));
