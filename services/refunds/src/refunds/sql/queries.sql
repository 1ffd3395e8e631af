-- name: business_now
SELECT business_now();

-- name: ensure_order
-- ON CONFLICT ends the race of the first two facts of one order.
INSERT INTO orders (order_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_order
-- FOR UPDATE ends the race of two facts of one order.
SELECT order_id, customer, paid, shortfall FROM orders WHERE order_id = $1 FOR UPDATE;

-- name: save_order
UPDATE orders SET customer = coalesce($2, customer), paid = $3, shortfall = $4 WHERE order_id = $1;

-- name: record_payment
-- ON CONFLICT: two messages may speak of one capture.
INSERT INTO payments (payment_intent, order_id, currency, captured_minor) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING;

-- name: list_payments
SELECT payment_intent, order_id, currency, captured_minor FROM payments WHERE order_id = $1 ORDER BY payment_intent;

-- name: lock_payment
-- FOR UPDATE is the lock under which refundable is computed: of two refunds at once, the second sees the first.
SELECT payment_intent, order_id, currency, captured_minor FROM payments WHERE payment_intent = $1 FOR UPDATE;

-- name: active_refunds_sum
SELECT coalesce(sum(amount_minor), 0)::bigint
  FROM refunds
 WHERE payment_intent = $1 AND state NOT IN ('failed', 'canceled', 'rejected');

-- name: insert_refund
-- ON CONFLICT: the id is made of intent and reason, so each cause pays once.
INSERT INTO refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: load_refund
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt
  FROM refunds
 WHERE id = $1;

-- name: lock_refund
-- FOR UPDATE ends the race of an answer with a sweep.
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt
  FROM refunds
 WHERE id = $1
   FOR UPDATE;

-- name: update_refund
UPDATE refunds
   SET state = $2, stripe_refund_id = coalesce($3, stripe_refund_id), failure_reason = coalesce($4, failure_reason),
       updated_at = now()
 WHERE id = $1;

-- name: mark_submitted
UPDATE refunds SET first_submitted_at = coalesce(first_submitted_at, business_now()), updated_at = now() WHERE id = $1;

-- name: bump_stripe_attempt
-- $2 ends the race of two repeats: both saw the same attempt fail, and one of them counts.
UPDATE refunds SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: insert_transition
INSERT INTO refund_transitions (refund_id, from_state, to_state, cause) VALUES ($1, $2, $3, $4);

-- name: lock_unsettled
-- Refunds that should have moved by now. $1: longer than a command ever waits between two attempts; $2: how long Stripe
-- may leave a refund pending, on the business clock.
-- asked_at ends the race of a command in a retry tier with the sweep: a second one would only fail beside it.
-- SKIP LOCKED: another instance or message has those.
SELECT id, order_id, state
  FROM refunds
 WHERE state IN ('approved', 'submitted', 'pending', 'requires_action')
   AND (asked_at IS NULL OR asked_at < now() - make_interval(secs => $1))
   AND (state IN ('approved', 'submitted')
        OR checked_at IS NULL OR checked_at < business_now() - make_interval(secs => $2))
 ORDER BY updated_at
 LIMIT 100
   FOR UPDATE SKIP LOCKED;

-- name: measure_unanswered
-- Refunds that are owed for longer than $1 and that Stripe has said nothing about. asked_at moves with every attempt.
SELECT count(*) AS unanswered, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
  FROM refunds
 WHERE state IN ('approved', 'submitted') AND created_at < now() - make_interval(secs => $1);

-- name: lock_watched
-- Refunds that succeeded and are due to be asked after again. $1 as above. Few at a time, so that they never fill the
-- queue before those that wait for their money.
SELECT id, order_id, state
  FROM refunds
 WHERE state = 'succeeded' AND recheck_at < business_now()
   AND (asked_at IS NULL OR asked_at < now() - make_interval(secs => $1))
 ORDER BY recheck_at
 LIMIT 10
   FOR UPDATE SKIP LOCKED;

-- name: mark_asked
-- A command about the refund is under way. $2: how often a success is asked after; the last fifth of it is chance, which
-- spreads the questions over the day.
UPDATE refunds
   SET asked_at = now(), checked_at = business_now(),
       recheck_at = CASE WHEN business_now() < watched_until
                         THEN business_now() + $2::interval * (0.8 + 0.2 * random()) END
 WHERE id = $1;

-- name: mark_attempt
-- The command about the refund lives: the sweep waits for it, however long Stripe is away.
UPDATE refunds SET asked_at = now() WHERE id = $1;

-- name: mark_answered
-- No command about the refund is under way any more.
UPDATE refunds SET asked_at = NULL WHERE id = $1;

-- name: watch
-- Banks return money weeks later, and nobody tells us: ask again every $3 for a time of $2.
UPDATE refunds
   SET watched_until = business_now() + $2::interval,
       recheck_at = business_now() + $3::interval * (0.8 + 0.2 * random())
 WHERE id = $1;
