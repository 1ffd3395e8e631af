-- The method that its buyer saved and an order is to be paid with; NULL: it has a page to pay at. Of such an order
-- stripe_payment_intent is filled as soon as its intent is known, and not only once it was paid.
ALTER TABLE orders ADD COLUMN saved_method text;
