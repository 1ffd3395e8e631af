-- A person's own token for the other services, sealed with a key that follows from the session's token, which is not
-- kept here: who reads this table, or a copy of it, is nobody else by that.
ALTER TABLE sessions
    ADD COLUMN access_sealed bytea,
    ADD COLUMN access_ends_at timestamptz,
    ADD CONSTRAINT access_ends CHECK ((access_sealed IS NULL) = (access_ends_at IS NULL));
