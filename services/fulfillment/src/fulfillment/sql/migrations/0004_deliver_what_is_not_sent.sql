-- What is digital is its buyer's. Nothing undoes that, so it is said once.
ALTER TABLE orders ADD COLUMN digital_delivered boolean NOT NULL DEFAULT false;
