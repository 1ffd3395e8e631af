-- What proves an order to a bank, as it was heard. `ref` is what of its kind it speaks of; `at` is when it happened by its
-- owner's clock, `kept_at` when it was heard.
CREATE TABLE exhibits (
    order_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN (
        'placed', 'paid', 'prepared', 'shipped', 'delivered', 'canceled', 'returned', 'digital', 'mail', 'charge')),
    ref text NOT NULL,
    at timestamptz NOT NULL,
    body jsonb NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (order_id, kind, ref)
);
CREATE INDEX exhibits_by_age ON exhibits (kept_at);
REVOKE UPDATE ON exhibits FROM refunds_app;
GRANT DELETE ON exhibits TO refunds_app;

-- Evidence that somebody hands in. The row exists before Stripe is asked for anything: `pack` is what he had looked at,
-- `evidence` the texts that are sent. `final`: Stripe sends it on to the bank. `inquiry`: the bank was only asking then.
-- `asked_at`: when the command that is under way was said or last tried; empty when none is. `first_asked_at`: when Stripe
-- was first asked, on the business clock.
CREATE TABLE submissions (
    id uuid PRIMARY KEY,
    dispute_id text NOT NULL REFERENCES disputes,
    final boolean NOT NULL,
    inquiry boolean NOT NULL,
    state text NOT NULL CHECK (state IN ('intended', 'taken', 'refused')),
    pack jsonb NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    actor_email text,
    reason text NOT NULL CHECK (length(reason) BETWEEN 3 AND 500),
    file_id text UNIQUE,
    refusal text,
    stripe_attempt int NOT NULL DEFAULT 0,
    first_asked_at timestamptz,
    asked_at timestamptz DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT business_now(),
    settled_at timestamptz,
    CONSTRAINT settled_when_answered CHECK ((settled_at IS NULL) = (state = 'intended')),
    CONSTRAINT refused_with_its_code CHECK ((refusal IS NOT NULL) = (state = 'refused'))
);
CREATE INDEX submissions_by_dispute ON submissions (dispute_id);
CREATE INDEX submissions_unsettled ON submissions (asked_at) WHERE state = 'intended';
-- The second guard beside the dispute's lock in the code: a bank takes evidence once, and once more where it disputes what
-- it had asked about before; and of one dispute one submission is under way.
CREATE UNIQUE INDEX submissions_once ON submissions (dispute_id, inquiry) WHERE final AND state <> 'refused';
CREATE UNIQUE INDEX submissions_one_by_one ON submissions (dispute_id) WHERE state = 'intended';
