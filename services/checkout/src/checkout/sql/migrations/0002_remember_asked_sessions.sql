-- Once a session was asked for at Stripe it may exist, whatever was answered: such an order is not ended lightly.
ALTER TABLE orders ADD COLUMN session_asked_at timestamptz;
