-- The saved method of an order is charged again after a soft decline: `retry_seconds` after each decline, in turn; none:
-- never. `retry_attempt` is the attempt that is due at `retry_at`, and 0 is the first, which its buyer waited for.
ALTER TABLE orders
    ADD COLUMN retry_seconds int[] NOT NULL DEFAULT '{}',
    ADD COLUMN retry_attempt int NOT NULL DEFAULT 0,
    ADD COLUMN retry_at timestamptz;
