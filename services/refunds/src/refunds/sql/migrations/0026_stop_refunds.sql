-- Whether money goes back: the newest turn of the switch says it. The history only grows, to say who, when, why.
CREATE TABLE switch_turns (
    id bigint GENERATED ALWAYS AS IDENTITY,
    switch text NOT NULL CHECK (switch IN ('refunds')),
    state text NOT NULL CHECK (state IN ('open', 'stopped')),
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (switch, id),
    CONSTRAINT stopped_for_a_reason CHECK (state <> 'stopped' OR reason <> '')
);
REVOKE UPDATE ON switch_turns FROM refunds_app;

-- Refunds whose turn came while the switch stood stopped: Stripe is asked for them once it is open.
CREATE TABLE put_off (
    refund_id uuid PRIMARY KEY REFERENCES refunds,
    since timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON put_off FROM refunds_app;
GRANT DELETE ON put_off TO refunds_app;
