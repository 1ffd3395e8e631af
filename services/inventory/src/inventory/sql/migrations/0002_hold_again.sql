-- How often the stock was held anew for another attempt to charge its order, from 0. A word that ends an earlier attempt
-- and is heard late must not take away what a later one holds.
ALTER TABLE reservations ADD COLUMN attempt int NOT NULL DEFAULT 0 CHECK (attempt >= 0);
