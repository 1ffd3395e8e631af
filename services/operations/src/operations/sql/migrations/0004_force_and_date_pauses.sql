-- A discard may be forced although the last replay of a message may still take effect, and a bulk that stands paused
-- says since when.
ALTER TABLE bulks
    ADD COLUMN force boolean NOT NULL DEFAULT false,
    ADD COLUMN paused_at timestamptz;
UPDATE bulks SET paused_at = now() WHERE state = 'paused';
CREATE INDEX replays_by_letter ON replays (dead_letter_id, made_at);
