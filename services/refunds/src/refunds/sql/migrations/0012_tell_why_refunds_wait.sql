-- In Stripe's words why a refund is not there yet, and until when its buyer can say where it goes.
ALTER TABLE refunds
    ADD COLUMN pending_reason text,
    ADD COLUMN action_expires_at timestamptz;
ALTER TABLE heard
    ADD COLUMN pending_reason text,
    ADD COLUMN action_expires_at timestamptz;
