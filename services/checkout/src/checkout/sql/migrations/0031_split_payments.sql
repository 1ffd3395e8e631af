-- An order that is paid with two saved methods: its parts, each with its intent and how far that has come. `split_open`:
-- there is something left to do for it at Stripe.
ALTER TABLE orders
    ADD COLUMN split jsonb,
    ADD COLUMN split_open boolean NOT NULL DEFAULT false;
