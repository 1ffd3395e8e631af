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

-- name: lease_unsettled
-- Refunds that should have moved by now. SKIP LOCKED: another instance or message has those.
UPDATE refunds SET checked_at = now()
 WHERE id IN (
        SELECT id FROM refunds
         WHERE (state IN ('approved', 'submitted') AND updated_at < now() - make_interval(secs => $1)
                AND (checked_at IS NULL OR checked_at < now() - make_interval(secs => $1)))
            OR (state IN ('pending', 'requires_action')
                AND (checked_at IS NULL OR checked_at < business_now() - make_interval(secs => $2)))
         ORDER BY updated_at
         LIMIT 50
           FOR UPDATE SKIP LOCKED)
RETURNING id, order_id, state;
