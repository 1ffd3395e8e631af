-- Once a session was asked for at Stripe it may exist, whatever was answered: such an order is not ended lightly.
ALTER TABLE orders ADD COLUMN session_asked_at timestamptz;

-- Of those under way nobody knows.
UPDATE orders SET session_asked_at = created_at WHERE state = 'pending' AND stripe_session_id IS NULL;
