-- What one euro was worth, as it was published. Days stay: orders name theirs.
CREATE TABLE exchange_rates (
    day date NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    per_euro numeric NOT NULL CHECK (per_euro > 0),
    source text NOT NULL,
    fetched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, currency)
);
REVOKE UPDATE ON exchange_rates FROM checkout_app;

-- Of orders with converted prices: from which currency, at what rate, of which day, by whom.
ALTER TABLE orders ADD COLUMN exchange jsonb;
-- What the buyer saw at Stripe, where Stripe itself converted: the books stay in the order's currency.
ALTER TABLE orders ADD COLUMN presentment jsonb;
