-- A coupon may take all of an order off.
ALTER TABLE orders DROP CONSTRAINT orders_total_minor_check,
  ADD CONSTRAINT orders_total_minor_check CHECK (total_minor >= 0) NOT VALID;
