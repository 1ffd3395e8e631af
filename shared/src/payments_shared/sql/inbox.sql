-- Messages that took effect here. `day` comes from the message's own time, never from its arrival: a redelivery
-- tomorrow must meet the row of today. Days without a partition of their own meet in the default one.
CREATE TABLE inbox (
    day date NOT NULL,
    message_id uuid NOT NULL,
    handler text NOT NULL,
    type text NOT NULL,
    outcome text NOT NULL DEFAULT 'applied' CHECK (outcome IN ('applied', 'refused')),
    reason text,
    processed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (day, message_id, handler)
) PARTITION BY RANGE (day);

CREATE TABLE inbox_other_days PARTITION OF inbox DEFAULT;
