-- The broker dates its own dead letters to the second, and a message may go back and fail again within one: a failure
-- is told apart by its replay as well. The same failure delivered twice bears the same of both.
ALTER TABLE dead_letter_attempts DROP CONSTRAINT dead_letter_attempts_pkey;
ALTER TABLE dead_letter_attempts ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY;
CREATE UNIQUE INDEX dead_letter_attempts_once ON dead_letter_attempts
    (dead_letter_id, failed_at, coalesce(replay_id, '00000000-0000-0000-0000-000000000000'));
