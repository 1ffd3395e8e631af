-- A signed-in person's customer at Stripe, and what he saved to pay with. The row comes before the customer: everything
-- that its creation is asked for with is here, so that whoever repeats it asks for the same under the same key.
CREATE TABLE customers (
    id uuid PRIMARY KEY,
    subject text NOT NULL,
    livemode boolean NOT NULL,
    email text,
    stripe_attempt int NOT NULL DEFAULT 0,
    stripe_customer_id text UNIQUE,
    default_method text,
    asked_at timestamptz NOT NULL DEFAULT business_now(),
    CONSTRAINT one_customer_per_person UNIQUE (subject, livemode)
);

-- Stripe's ids, and details that may be shown: no number, no fingerprint. Of what was detached only the id stays, so
-- that no late event brings it back. `asked` and `answered` count the times Stripe was asked what is true of it.
-- `expiry_told` is the month, counted from the year 0, of whose end its owner was told.
CREATE TABLE payment_methods (
    id text PRIMARY KEY,
    stripe_customer_id text,
    detached boolean NOT NULL DEFAULT false,
    type text,
    brand text,
    last4 text,
    exp_month int CHECK (exp_month BETWEEN 1 AND 12),
    exp_year int,
    bank_name text,
    wallet text,
    added_at timestamptz,
    label text CHECK (length(label) BETWEEN 1 AND 60),
    expiry_told int,
    asked int NOT NULL DEFAULT 0,
    answered int NOT NULL DEFAULT 0 CHECK (answered <= asked),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT attached_or_forgotten CHECK (
        CASE WHEN detached
             THEN num_nonnulls(type, brand, last4, exp_month, exp_year, bank_name, wallet, added_at, label) = 0
             ELSE num_nulls(stripe_customer_id, type, added_at) = 0
         END)
);
CREATE INDEX payment_methods_by_customer ON payment_methods (stripe_customer_id) WHERE NOT detached;
CREATE INDEX payment_methods_by_expiry ON payment_methods ((exp_year * 12 + exp_month)) WHERE NOT detached;

-- Wishes to save a method, each with the exact request for Stripe.
CREATE TABLE method_additions (
    id uuid PRIMARY KEY,
    stripe_request jsonb NOT NULL,
    stripe_attempt int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
);
