-- Whoever leafs through the dead letters of a service, of a state or of the archive walks those alone, however few they
-- are among all. Dead letters are few beside the messages of a shop: while these are made they wait at the broker for a
-- moment.
CREATE INDEX dead_letters_by_service ON dead_letters (service, last_failed_at, id);
CREATE INDEX dead_letters_by_status ON dead_letters (status, last_failed_at, id);
CREATE INDEX dead_letters_archived ON dead_letters (last_failed_at, id) WHERE archived_at IS NOT NULL;
