-- Whether mails go out: the newest turn of the switch says it. The history only grows, to say who, when, why.
CREATE TABLE switch_turns (
    id bigint GENERATED ALWAYS AS IDENTITY,
    switch text NOT NULL CHECK (switch IN ('mails')),
    state text NOT NULL CHECK (state IN ('open', 'stopped')),
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (switch, id),
    CONSTRAINT stopped_for_a_reason CHECK (state <> 'stopped' OR reason <> '')
);
REVOKE UPDATE ON switch_turns FROM notifications_app;
