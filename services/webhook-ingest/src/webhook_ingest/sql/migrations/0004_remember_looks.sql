-- How far Stripe's list of events was looked through, whether it counts them as delivered or not: all that was created
-- before `looked_until`, of business time. All instances share it, and a restart, a long absence or a restored backup
-- goes on from there without a gap. `ended_at`, of real time, is when a look last came to its end.
CREATE TABLE looks (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    looked_until timestamptz NOT NULL,
    ended_at timestamptz
);

-- The first look begins where events began to come here. What an account did before that is not of this shop's orders.
INSERT INTO looks (looked_until)
SELECT coalesce(min(day)::timestamp AT TIME ZONE 'UTC', now()) FROM stripe_events;
