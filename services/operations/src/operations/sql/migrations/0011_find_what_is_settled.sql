-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS dead_letters_settled ON dead_letters (last_failed_at, id)
 WHERE status IN ('resolved', 'discarded') AND archived_at IS NULL;
