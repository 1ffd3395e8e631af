-- Cards can be tried where they are saved, too: for no order, by whoever is signed in. `charge` is then the attempt's id at
-- Stripe, or that of the payment method which was attached. NOT VALID: what is there is of an order.
ALTER TABLE card_attempts
    ALTER COLUMN order_id DROP NOT NULL,
    ALTER COLUMN email DROP NOT NULL,
    ADD CONSTRAINT attempts_are_somebodys CHECK (
        order_id IS NOT NULL AND email IS NOT NULL OR order_id IS NULL AND subject IS NOT NULL) NOT VALID;
