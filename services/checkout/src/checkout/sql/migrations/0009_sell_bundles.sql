-- A bundle is sold under a price of its own and leaves the shelves in parts. No bundle is part of another.
CREATE TABLE bundle_parts (
    sku text NOT NULL REFERENCES products,
    part text NOT NULL REFERENCES products,
    quantity int NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    PRIMARY KEY (sku, part),
    CONSTRAINT no_part_of_itself CHECK (sku <> part)
);
CREATE INDEX bundle_parts_by_part ON bundle_parts (part);
GRANT DELETE ON bundle_parts TO checkout_app;
