-- When what of an order is not sent became its buyer's. Its lines say which that is; those from before say that all is.
ALTER TABLE orders ADD COLUMN digital_delivered_at timestamptz;
