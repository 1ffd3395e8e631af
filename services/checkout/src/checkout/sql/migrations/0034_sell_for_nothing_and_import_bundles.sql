-- A coupon may take all of an order off.
ALTER TABLE orders DROP CONSTRAINT orders_total_minor_check,
  ADD CONSTRAINT orders_total_minor_check CHECK (total_minor >= 0) NOT VALID;

-- What one of a product of a file consists of, if it is a bundle.
ALTER TABLE catalog_import_rows ADD COLUMN parts jsonb NOT NULL DEFAULT '{}';
