-- Attempts to pay with cards, to tell who tries stolen ones. Cards, buyers and addresses are keyed hashes: the same for the
-- same one, and of no use to anybody else. `card` and `address` NULL: not known, or no buyer's own.
CREATE TABLE card_attempts (
    charge text PRIMARY KEY,
    order_id uuid NOT NULL REFERENCES orders,
    declined boolean NOT NULL,
    card text,
    address text,
    email text NOT NULL,
    subject text,
    at timestamptz NOT NULL
);
CREATE INDEX card_attempts_by_order ON card_attempts (order_id);
CREATE INDEX card_attempts_by_card ON card_attempts (card, at) WHERE card IS NOT NULL;
CREATE INDEX card_attempts_by_address ON card_attempts (address, at) WHERE address IS NOT NULL;
CREATE INDEX card_attempts_by_email ON card_attempts (email, at);
CREATE INDEX card_attempts_by_subject ON card_attempts (subject, at) WHERE subject IS NOT NULL;
CREATE INDEX card_attempts_by_time ON card_attempts (at);
GRANT DELETE ON card_attempts TO checkout_app;

-- From where an order was placed, where that is a buyer's own address.
CREATE TABLE order_origins (
    order_id uuid PRIMARY KEY REFERENCES orders,
    address text NOT NULL
);

-- Who may place nothing until when, and the order that gave the reason.
CREATE TABLE velocity_blocks (
    mark text PRIMARY KEY,
    until timestamptz NOT NULL,
    order_id uuid NOT NULL REFERENCES orders,
    rule text NOT NULL
);
CREATE INDEX velocity_blocks_by_end ON velocity_blocks (until);
GRANT DELETE ON velocity_blocks TO checkout_app;
