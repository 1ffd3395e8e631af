-- NULL: Stripe was not asked for this person's customer. Rows of before keep a time at which nobody may have asked: it
-- only makes the search begin earlier.
ALTER TABLE customers ALTER COLUMN asked_at DROP NOT NULL, ALTER COLUMN asked_at DROP DEFAULT;

-- Keys of requests that nobody repeats any more, and wishes that were fulfilled or given up.
GRANT DELETE ON idempotency_keys, method_additions TO checkout_app;
