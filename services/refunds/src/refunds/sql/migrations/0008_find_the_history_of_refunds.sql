-- transaction: none
CREATE INDEX CONCURRENTLY IF NOT EXISTS refund_transitions_by_refund ON refund_transitions (refund_id);
