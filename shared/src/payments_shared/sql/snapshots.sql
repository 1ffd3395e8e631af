-- The newest snapshot of an aggregate that took effect here, by what it is a snapshot of. Messages overtake each other:
-- one that is older than what is known changes nothing, and its inbox row says so.
CREATE TABLE snapshots (
    subject text NOT NULL,
    kind text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (subject, kind)
);

ALTER TABLE inbox DROP CONSTRAINT inbox_outcome_check;
ALTER TABLE inbox ADD CONSTRAINT inbox_outcome_check CHECK (outcome IN ('applied', 'refused', 'stale'));
