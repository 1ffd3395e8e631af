-- `recovered_from`: the order that ended and whose cart this one takes up again. One of these is open at a time; no
-- order comes back to the two states, so the index never stands in the way of money.
-- `payment_problem`: what the buyer is told of the last decline.
ALTER TABLE orders
    ADD COLUMN recovered_from uuid REFERENCES orders,
    ADD COLUMN payment_problem text;

CREATE UNIQUE INDEX one_open_recovery ON orders (recovered_from)
 WHERE recovered_from IS NOT NULL AND state IN ('pending', 'declined');
CREATE INDEX orders_by_recovery ON orders (recovered_from) WHERE recovered_from IS NOT NULL;
