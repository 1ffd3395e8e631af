-- Ways to ship. Amounts in minor units by currency; `countries` NULL: any.
CREATE TABLE shipping_options (
    code text PRIMARY KEY CHECK (code ~ '^[A-Za-z0-9_-]{1,40}$'),
    name text NOT NULL,
    amounts jsonb NOT NULL,
    free_above jsonb NOT NULL DEFAULT '{}',
    countries text[] CHECK (cardinality(countries) > 0),
    days_min int CHECK (days_min >= 0),
    days_max int CHECK (days_max >= days_min),
    tax_code text,
    active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What the state takes. `region` and `tax_code` NULL: whatever no other row is for.
CREATE TABLE tax_rates (
    country text NOT NULL CHECK (country ~ '^[A-Z]{2}$'),
    region text CHECK (region ~ '^[A-Z0-9]{1,3}$'),
    tax_code text CHECK (tax_code ~ '^txcd_[0-9]{8}$'),
    name text NOT NULL,
    rate_millionths int NOT NULL CHECK (rate_millionths BETWEEN 0 AND 1000000),
    inclusive boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_rate_for_each UNIQUE NULLS NOT DISTINCT (country, region, tax_code)
);
GRANT DELETE ON tax_rates TO checkout_app;

-- What is not sent: a download, a seat.
ALTER TABLE products ADD COLUMN digital boolean NOT NULL DEFAULT false;

-- Who said what tax is due on an order, and by which rates; and in which way it is shipped.
ALTER TABLE orders ADD COLUMN tax jsonb, ADD COLUMN shipping jsonb;
