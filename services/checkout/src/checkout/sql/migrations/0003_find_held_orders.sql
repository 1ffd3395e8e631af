-- The sweep that ends lapsed holds looked through every order there ever was, every few seconds, for the few on hold.
CREATE INDEX orders_held ON orders (held_until) WHERE held_reason IS NOT NULL;
