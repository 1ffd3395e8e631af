-- What was said of the order's disputes, the newest word about each: [{"dispute_id", "payment_intent", "version",
-- "outcome"}].
ALTER TABLE orders ADD COLUMN disputes jsonb NOT NULL DEFAULT '[]';
