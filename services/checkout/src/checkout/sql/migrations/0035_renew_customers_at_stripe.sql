-- Stripe's customer keeps the address with which he was made; ours is renewed by his newest token. `email_version` counts
-- the renewals, `told_version` is the one that Stripe was told: a sweep tells it. Of renewals before this nothing is known,
-- so such a customer is told of at the next one.
ALTER TABLE customers
    ADD COLUMN email_version int NOT NULL DEFAULT 0,
    ADD COLUMN told_version int NOT NULL DEFAULT 0;
