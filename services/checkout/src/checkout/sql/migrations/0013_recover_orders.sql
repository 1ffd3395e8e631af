-- `recovered_from`: the order that ended and whose cart this one takes up again.
-- `payment_problem`: what the buyer is told of the last decline.
ALTER TABLE orders
    ADD COLUMN recovered_from uuid REFERENCES orders,
    ADD COLUMN payment_problem text;
