-- The trace in which an order was placed, where spans are recorded: what is heard of it later is linked with that.
ALTER TABLE orders ADD COLUMN traceparent text;
