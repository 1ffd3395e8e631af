-- The one form that all spellings of a name have, as `refunds.decide.identity` says it.
CREATE FUNCTION identity_of(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT translate(
        regexp_replace(
            lower(normalize(name, NFKC)),
            '[\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]',
            '', 'g'),
        U&'\0430\0432\0435\0456\0458\043a\043c\043d\043e\0440\0441\0442\0443\0445\0455\04bb\04cf\0501\051b'
        '\051d\03b1\03b2\03b5\03b6\03b7\03b9\03ba\03bc\03bd\03bf\03c1\03c4\03c5\03c7\0131',
        'abeijkmhopctyxshldqwabezhikmvoptyxi')
$$;

-- The mailbox that an address delivers to: without its tag.
CREATE FUNCTION mailbox_of(email text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = refunds, pg_temp
AS $$ SELECT regexp_replace(identity_of(email), '\+.*@', '@') $$;

-- What was decided before stays as it was decided.
ALTER TABLE requests
    DROP CONSTRAINT second_person,
    ADD CONSTRAINT second_person CHECK (
        decided_by IS NULL OR (identity_of(decided_by) <> identity_of(requester)
            AND (decided_by_email IS NULL OR mailbox_of(decided_by_email) IS DISTINCT FROM mailbox_of(requester_email)))
    ) NOT VALID;
ALTER TABLE refunds
    DROP CONSTRAINT four_eyes,
    ADD CONSTRAINT four_eyes CHECK (
        state IN ('requested', 'awaiting_approval', 'rejected', 'canceled')
        OR (approver IS NOT NULL AND identity_of(approver) <> identity_of(requester))
    ) NOT VALID;

-- Whoever took a step: a person by his subject, or a policy; empty where Stripe or a sweep did.
ALTER TABLE refund_transitions ADD COLUMN actor text;
