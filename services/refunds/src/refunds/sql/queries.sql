-- name: business_now
SELECT business_now();

-- name: ensure_order
-- ON CONFLICT ends the race of the first two facts of one order.
INSERT INTO orders (order_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_order
-- FOR UPDATE ends the race of two facts of one order.
SELECT order_id, customer, paid, shortfall, bill, account FROM orders WHERE order_id = $1 FOR UPDATE;

-- name: load_order
SELECT order_id, customer, paid, shortfall, bill, account FROM orders WHERE order_id = $1;

-- name: save_order
UPDATE orders
   SET customer = coalesce($2, customer), paid = $3, shortfall = $4, bill = coalesce(bill, $5),
       account = coalesce(account, $6)
 WHERE order_id = $1;

-- name: record_payment
-- ON CONFLICT: two messages may speak of one capture, and one of them may know that it settles the bill.
INSERT INTO payments (payment_intent, order_id, currency, captured_minor, settles) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (payment_intent) DO UPDATE SET settles = true WHERE excluded.settles AND NOT payments.settles;

-- name: list_payments
SELECT payment_intent, order_id, currency, captured_minor, settles
  FROM payments
 WHERE order_id = $1
 ORDER BY payment_intent;

-- name: lock_payment
-- FOR UPDATE is the lock under which refundable is computed: of two refunds at once, the second sees the first.
SELECT payment_intent, order_id, currency, captured_minor, settles
  FROM payments
 WHERE payment_intent = $1
   FOR UPDATE;

-- name: load_payment
SELECT payment_intent, order_id, currency, captured_minor, settles FROM payments WHERE payment_intent = $1;

-- name: told_minor
SELECT coalesce(sum(amount_minor), 0)::bigint
  FROM refunds
 WHERE payment_intent = $1 AND stripe_refund_id IS NOT NULL AND state NOT IN ('failed', 'canceled');

-- name: list_active_of
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination
  FROM refunds
 WHERE payment_intent = $1 AND state NOT IN ('failed', 'canceled', 'rejected')
 ORDER BY created_at, id
   FOR UPDATE;

-- name: find_refund
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination
  FROM refunds
 WHERE stripe_refund_id = $1;

-- name: keep_heard
-- An older snapshot may come after a newer one: what has ended stays ended.
INSERT INTO heard (stripe_refund_id, payment_intent, amount_minor, currency, status, failure_reason, refund_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (stripe_refund_id) DO UPDATE
   SET status = excluded.status, failure_reason = excluded.failure_reason
 WHERE heard.status NOT IN ('failed', 'canceled')
   AND NOT (heard.status = 'succeeded' AND excluded.status IN ('pending', 'requires_action'));

-- name: take_heard
DELETE FROM heard
 WHERE payment_intent = $1
RETURNING stripe_refund_id, payment_intent, amount_minor, currency, status, failure_reason, refund_id;

-- name: lock_payments
-- As above, all of an order, in one order everywhere.
SELECT payment_intent, order_id, currency, captured_minor, settles
  FROM payments
 WHERE order_id = $1
 ORDER BY payment_intent
   FOR UPDATE;

-- name: active_refunds_sum
SELECT coalesce(sum(amount_minor), 0)::bigint
  FROM refunds
 WHERE payment_intent = $1 AND state NOT IN ('failed', 'canceled', 'rejected');

-- name: insert_refund
-- ON CONFLICT: the id is made of intent and reason, so each cause pays once.
INSERT INTO refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver,
                     request_id, destination)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: load_refund
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination
  FROM refunds
 WHERE id = $1;

-- name: lock_refund
-- FOR UPDATE ends the race of an answer with a sweep.
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination
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

-- -- requests ---------------------------------------------------------------------------------------------------------

-- name: insert_request
-- ON CONFLICT: the system asks once for each cause, and so does Stripe's dashboard for each refund of its own.
INSERT INTO requests (id, order_id, currency, amount_minor, goods_minor, tax_minor, shipping_minor, fee_minor, lines,
                      destination, reason, note, origin, requester, requester_email, needs, score, decided_by,
                      rules_version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: load_request
SELECT id, order_id, currency, amount_minor, goods_minor, tax_minor, shipping_minor, fee_minor, lines, destination,
       reason, note, origin, requester, requester_email, needs, score, decided_by, decided_by_email, decision_note,
       rules_version, version, created_at
  FROM requests
 WHERE id = $1;

-- name: decide_request
-- Its order is locked.
UPDATE requests
   SET decided_by = $2, decided_by_email = $3, decision_note = $4, version = $5
 WHERE id = $1;

-- name: refunds_of_requests
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination
  FROM refunds
 WHERE request_id = ANY($1::uuid[])
 ORDER BY request_id, created_at, id;

-- name: approve_refunds
UPDATE refunds SET approver = $2 WHERE request_id = $1;

-- name: active_by_tender
-- What is spent of each tender of an order; exact only under its lock.
SELECT payment_intent, sum(amount_minor)::bigint AS spent_minor
  FROM refunds
 WHERE order_id = $1 AND state NOT IN ('failed', 'canceled', 'rejected')
 GROUP BY payment_intent;

-- name: active_requests
-- What requests of an order give back, and how much of each is active.
SELECT q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       sum(r.amount_minor)::bigint AS active_minor
  FROM requests AS q
  JOIN refunds AS r ON r.request_id = q.id
 WHERE q.order_id = $1 AND r.state NOT IN ('failed', 'canceled', 'rejected')
 GROUP BY q.id
 ORDER BY q.id;

-- name: standing
-- What is active of what went before, in the currency $3: by the requester $1 within $4, and for the buyer with the
-- address $2 within $5.
SELECT (SELECT coalesce(sum(r.amount_minor), 0)::bigint
          FROM requests AS q
          JOIN refunds AS r ON r.request_id = q.id AND r.state NOT IN ('failed', 'canceled', 'rejected')
         WHERE q.requester = $1 AND q.currency = $3 AND q.created_at > business_now() - $4::interval) AS operator_minor,
       (SELECT coalesce(sum(r.amount_minor), 0)::bigint
          FROM orders AS o
          JOIN requests AS q ON q.order_id = o.order_id
          JOIN refunds AS r ON r.request_id = q.id AND r.state NOT IN ('failed', 'canceled', 'rejected')
         WHERE lower(o.customer ->> 'email') = lower($2) AND q.currency = $3 AND q.origin = 'person'
           AND q.created_at > business_now() - $5::interval) AS customer_minor;

-- name: list_requests
-- The newest first, after the request $1. $2 origin; NULL is any.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score, q.decided_by,
       q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
 ORDER BY q.id DESC
 LIMIT $3;

-- name: list_requests_of_order
-- As above, of the order $4; $5 state of a part, $6 requester.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score, q.decided_by,
       q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
   AND q.order_id = $4 AND ($6::text IS NULL OR q.requester = $6)
   AND ($5::text IS NULL OR EXISTS (SELECT FROM refunds AS r WHERE r.request_id = q.id AND r.state = $5))
 ORDER BY q.id DESC
 LIMIT $3;

-- name: list_requests_of_state
-- As above, of which a part is in the state $4; $5 requester.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score, q.decided_by,
       q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM refunds AS r
  JOIN requests AS q ON q.id = r.request_id
 WHERE r.request_id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND r.state = $4
   AND q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
   AND ($2::text IS NULL OR q.origin = $2) AND ($5::text IS NULL OR q.requester = $5)
   AND NOT EXISTS (SELECT FROM refunds AS o WHERE o.request_id = r.request_id AND o.state = r.state AND o.id < r.id)
 ORDER BY r.request_id DESC
 LIMIT $3;

-- name: list_requests_of_requester
-- As above, of the requester $4.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score, q.decided_by,
       q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
   AND q.requester = $4
 ORDER BY q.id DESC
 LIMIT $3;

-- name: history
SELECT t.refund_id, t.from_state, t.to_state, t.cause, t.at
  FROM refund_transitions AS t
  JOIN refunds AS r ON r.id = t.refund_id
 WHERE r.request_id = $1
 ORDER BY t.id;

-- -- rules ------------------------------------------------------------------------------------------------------------

-- name: load_rules
SELECT version, rules FROM rules ORDER BY version DESC LIMIT 1;

-- name: insert_rules
-- ON CONFLICT: of two changes at once the second finds the version taken.
INSERT INTO rules (version, rules, before, actor, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
RETURNING version;

-- name: list_rules
SELECT version, rules, before, actor, reason, at FROM rules ORDER BY version DESC LIMIT $1;
