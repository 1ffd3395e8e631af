-- From where an order was placed is kept no longer than what was tried there. No other name: the release before joins the
-- table with one that has a column `at`.
ALTER TABLE order_origins ADD COLUMN placed_at timestamptz NOT NULL DEFAULT now();
GRANT DELETE ON order_origins TO checkout_app;
