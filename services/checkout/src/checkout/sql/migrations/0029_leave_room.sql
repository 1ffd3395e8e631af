-- An order is updated once before and once after Stripe is asked, a key once: leave room on the page for the next version
-- of each row, so that no index has to learn of it.
ALTER TABLE orders SET (fillfactor = 80);
ALTER TABLE idempotency_keys SET (fillfactor = 80);
