-- What Stripe Tax needs to know of a product; NULL: what the account's settings say.
ALTER TABLE products ADD COLUMN tax_code text CHECK (tax_code ~ '^txcd_[0-9]{8}$');

-- A catalogue that arrives in pieces and takes effect as one. The row of an import stays, to say who changed prices;
-- what it brought goes when it has ended.
CREATE TABLE catalog_imports (
    id uuid PRIMARY KEY,
    actor text NOT NULL,
    file text NOT NULL,
    columns text[] NOT NULL,
    refused int NOT NULL DEFAULT 0,
    outcome text CHECK (outcome IN ('imported', 'discarded')),
    created int,
    changed int,
    unchanged int,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CONSTRAINT ended_with_an_outcome CHECK ((outcome IS NULL) = (ended_at IS NULL))
);

CREATE TABLE catalog_import_rows (
    import_id uuid NOT NULL REFERENCES catalog_imports,
    position int NOT NULL,
    sku text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    image text NOT NULL,
    active boolean NOT NULL,
    tax_code text,
    prices jsonb NOT NULL,
    PRIMARY KEY (import_id, position)
);
CREATE UNIQUE INDEX one_row_per_sku ON catalog_import_rows (import_id, sku);
GRANT DELETE ON catalog_import_rows TO checkout_app;
