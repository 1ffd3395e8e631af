-- name: business_now
SELECT business_now();

-- name: ensure_order
-- ON CONFLICT ends the race of the first two facts of one order.
INSERT INTO orders (order_id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: lock_order
-- FOR UPDATE ends the race of two facts of one order.
SELECT order_id, customer, paid, shortfall, bill, account, credit_released FROM orders WHERE order_id = $1 FOR UPDATE;

-- name: ensure_orders
-- ON CONFLICT: facts of one order come in any order. Sorted, so that two batches cannot wait for each other.
INSERT INTO orders (order_id) SELECT id FROM unnest($1::uuid[]) AS wanted (id) ORDER BY id ON CONFLICT DO NOTHING;

-- name: lock_orders
SELECT order_id FROM orders WHERE order_id = ANY($1::uuid[]) ORDER BY order_id FOR UPDATE;

-- name: load_order
SELECT order_id, customer, paid, shortfall, bill, account, credit_released FROM orders WHERE order_id = $1;

-- name: save_order
UPDATE orders
   SET customer = coalesce($2, customer), paid = $3, shortfall = $4, bill = coalesce(bill, $5),
       account = coalesce(account, $6), credit_released = credit_released OR $7
 WHERE order_id = $1;

-- name: record_payment
-- ON CONFLICT: two messages may speak of one capture, and one of them may know that it settles the bill.
INSERT INTO payments (payment_intent, order_id, currency, captured_minor, settles) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (payment_intent) DO UPDATE SET settles = true
 WHERE excluded.settles AND NOT payments.settles AND payments.order_id = excluded.order_id;

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
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE payment_intent = $1 AND state NOT IN ('failed', 'canceled', 'rejected')
 ORDER BY created_at, id
   FOR UPDATE;

-- name: list_active_credit
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE order_id = $1 AND payment_intent IS NULL AND state NOT IN ('failed', 'canceled', 'rejected')
 ORDER BY created_at, id
   FOR UPDATE;

-- name: list_displaced
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds AS r
 WHERE payment_intent = $1 AND state = 'canceled'
   AND EXISTS (SELECT FROM refund_transitions AS t
                WHERE t.refund_id = r.id AND t.to_state = 'canceled' AND t.cause = $2)
 ORDER BY created_at, id;

-- name: keep_debt
-- ON CONFLICT: a cause is told more than once; how much it is was told first.
INSERT INTO debts (order_id, tender, reason, amount_minor) VALUES ($1, $2, $3, $4)
ON CONFLICT (order_id, tender, reason) DO NOTHING;

-- name: list_debts
SELECT reason, amount_minor FROM debts WHERE order_id = $1 AND tender = $2 ORDER BY reason;

-- name: list_attempts
-- All refunds of a payment, or of store credit where $2 is null. Whatever displaces one says so at the beginning of its
-- cause.
SELECT id, requester, amount_minor, state,
       EXISTS (SELECT FROM refund_transitions AS t
                WHERE t.refund_id = r.id AND t.to_state = 'canceled' AND t.cause LIKE 'displaced%') AS displaced
  FROM refunds AS r
 WHERE order_id = $1 AND payment_intent IS NOT DISTINCT FROM $2
 ORDER BY created_at, id;

-- name: find_refund
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE stripe_refund_id = $1;

-- name: claim_payment
-- Ends the race of what is told of a payment with the first that makes it known, which has no row to lock yet. Claimed
-- before anything is locked.
SELECT pg_advisory_xact_lock(hashtextextended('payment:' || $1, 0));

-- name: keep_heard
-- An older snapshot may come after a newer one: what has ended stays ended.
INSERT INTO heard (stripe_refund_id, payment_intent, amount_minor, currency, status, failure_reason, refund_id,
                   pending_reason, action_expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (stripe_refund_id) DO UPDATE
   SET status = excluded.status, failure_reason = excluded.failure_reason, pending_reason = excluded.pending_reason,
       action_expires_at = excluded.action_expires_at
 WHERE heard.status NOT IN ('failed', 'canceled')
   AND NOT (heard.status = 'succeeded' AND excluded.status IN ('pending', 'requires_action'));

-- name: take_heard
DELETE FROM heard
 WHERE payment_intent = $1
RETURNING stripe_refund_id, payment_intent, amount_minor, currency, status, failure_reason, refund_id, pending_reason,
          action_expires_at;

-- name: active_refunds_sum
SELECT coalesce(sum(amount_minor), 0)::bigint
  FROM refunds
 WHERE payment_intent = $1 AND state NOT IN ('failed', 'canceled', 'rejected');

-- name: load_refund
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE id = $1;

-- name: lock_refund
-- FOR UPDATE ends the race of an answer with a sweep.
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE id = $1
   FOR UPDATE;

-- name: update_refund
-- One write, with its history: a row that a transaction writes twice has its foreign keys looked up by the second. $7 is
-- the state before, $10 whether a command about the refund ends with this. What nobody is to ask Stripe for any more
-- waits for no switch.
WITH over AS (
     DELETE FROM put_off WHERE refund_id = $1 AND $2 NOT IN ('approved', 'submitted')
), stepped AS (
     INSERT INTO refund_transitions (refund_id, from_state, to_state, cause, actor)
     SELECT $1, $7, $2, $8, $9 WHERE $7::text <> $2
)
UPDATE refunds
   SET state = $2, stripe_refund_id = coalesce($3, stripe_refund_id), failure_reason = coalesce($4, failure_reason),
       pending_reason = $5, action_expires_at = $6, asked_at = CASE WHEN NOT $10 THEN asked_at END, updated_at = now()
 WHERE id = $1;

-- name: submit_refund
-- One write, as above: under it nobody who has the order's lock is waited for. $2 is the state before.
WITH stepped AS (
     INSERT INTO refund_transitions (refund_id, from_state, to_state, cause)
     SELECT $1::uuid, $2, 'submitted', 'submit' WHERE $2::text <> 'submitted'
)
UPDATE refunds
   SET state = 'submitted', asked_at = now(), first_submitted_at = coalesce(first_submitted_at, business_now()),
       updated_at = now()
 WHERE id = $1;

-- name: bump_stripe_attempt
-- $2 ends the race of two repeats: both saw the same attempt fail, and one of them counts.
UPDATE refunds SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: lock_unsettled
-- Refunds that should have moved by now. $1: longer than a command ever waits between two attempts; $2: how long Stripe
-- may leave a refund pending, on the business clock.
-- asked_at ends the race of a command in a retry tier with the sweep: a second one would only fail beside it.
-- What waits for a dispute to be decided goes on with that, and what was put off with the switch.
-- SKIP LOCKED: another instance or message has those.
SELECT id, order_id, state
  FROM refunds
 WHERE state IN ('approved', 'submitted', 'pending', 'requires_action')
   AND (asked_at IS NULL OR asked_at < now() - make_interval(secs => $1))
   AND (state IN ('approved', 'submitted')
        OR checked_at IS NULL OR checked_at < business_now() - make_interval(secs => $2))
   AND NOT (state = 'approved' AND EXISTS (
        SELECT FROM disputes AS d
         WHERE d.payment_intent = refunds.payment_intent
           AND (d.state IN ('open', 'under_review') OR d.state = 'inquiry' AND refunds.destination = 'store_credit')))
   AND NOT EXISTS (SELECT FROM put_off AS p WHERE p.refund_id = refunds.id)
 ORDER BY updated_at
 LIMIT 100
   FOR UPDATE SKIP LOCKED;

-- name: measure_unanswered
-- Refunds that are owed for longer than $1 and that Stripe has said nothing about. asked_at moves with every attempt.
-- What waits for a dispute, or for the switch, is asked of nobody.
SELECT count(*) AS unanswered, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
  FROM refunds
 WHERE state IN ('approved', 'submitted') AND created_at < now() - make_interval(secs => $1)
   AND NOT (state = 'approved' AND EXISTS (
        SELECT FROM disputes AS d
         WHERE d.payment_intent = refunds.payment_intent
           AND (d.state IN ('open', 'under_review') OR d.state = 'inquiry' AND refunds.destination = 'store_credit')))
   AND NOT EXISTS (SELECT FROM put_off AS p WHERE p.refund_id = refunds.id);

-- name: put_off
-- ON CONFLICT: another command about the refund was put off before.
INSERT INTO put_off (refund_id) VALUES ($1) ON CONFLICT (refund_id) DO NOTHING;

-- name: list_put_off
SELECT refund_id FROM put_off WHERE refund_id = ANY ($1::uuid[]);

-- name: take_put_off
-- $1: so few at a time that no other command waits long behind them. The refund is locked first, as by whoever puts it
-- off, or takes it back: what that has deleted meanwhile is taken up by nobody. SKIP LOCKED: a command has those at this
-- moment, or a person.
WITH locked AS MATERIALIZED (
     SELECT id, order_id
       FROM refunds
      WHERE id = ANY (ARRAY(SELECT refund_id FROM put_off ORDER BY since LIMIT $1))
        FOR UPDATE SKIP LOCKED
), taken AS (
     DELETE FROM put_off WHERE refund_id = ANY (ARRAY(SELECT id FROM locked)) RETURNING refund_id
)
SELECT id, order_id FROM locked JOIN taken ON refund_id = id;

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

-- name: measure_waiting
-- Requests that wait for a second person, each once: all refunds of one wait together.
SELECT count(DISTINCT request_id) AS waiting,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds
  FROM refunds
 WHERE state = 'awaiting_approval';

-- name: lock_order_and_payments
-- FOR UPDATE is the lock under which refundable is computed: of two refunds at once, the second sees the first. The order
-- before its payments, and these by name: in one order everywhere. A statement that waited sees anew only the rows that
-- it waited for, so that sums are read by the next one. The count is there because nobody runs what nobody reads.
WITH locked AS MATERIALIZED (
    SELECT order_id, customer, paid, shortfall, bill, account, credit_released FROM orders WHERE order_id = $1 FOR UPDATE
), captures AS MATERIALIZED (
    SELECT p.payment_intent
      FROM locked
      JOIN payments AS p ON p.order_id = locked.order_id
     ORDER BY p.payment_intent
       FOR UPDATE OF p
)
SELECT locked.order_id, locked.customer, locked.paid, locked.shortfall, locked.bill, locked.account,
       locked.credit_released
  FROM locked
 CROSS JOIN (SELECT count(*) FROM captures) AS held;

-- name: lock_standing
-- $1: whoever asks, $2: his address, where known; each of his names is locked, since he may have several accounts.
-- $3: the mailbox of whoever bought, $4: his account, where known. Of two requests of one of them at once, about whichever
-- orders, the second sees what the first came to. Who asks comes before who bought, his names in their order, and all
-- after the order's lock, so there is no circle.
SELECT pg_advisory_xact_lock(hashtextextended(name, 0))
  FROM (SELECT name
          FROM (SELECT DISTINCT 1 AS place, 'operator:' || his AS name FROM unnest(names_of($1, $2)) AS his
                 UNION ALL
                SELECT 2, 'buyer:' || mailbox_of($3::text)
                 UNION ALL
                SELECT 3, 'account:' || $4::text) AS named
         WHERE name IS NOT NULL
         ORDER BY place, name COLLATE "C") AS wanted;

-- name: read_position
-- What a decision about the order $1 is made of. It begins once the order is locked, and so sees what those before it
-- spent. `standing` is what is active of what went before, in the currency $4: by the requester $2, whose address is $8,
-- under any of his names within $5, and for the buyer with the mailbox of the address $3, or with the account $7, within
-- $6. `others_rules`: the newest that were not made by the requester, under none of his names.
-- IS NOT DISTINCT FROM: an index by origin has all that people ever asked for, and in a young table looks like the better
-- one; each of these would be compared by its names, for as long as the plan is kept. MATERIALIZED: as would the request
-- of every refund there is, where those are thought to be few. The clock is a function of 2 us: it is read before it is
-- compared with all that a clerk asked for.
WITH active AS MATERIALIZED (
    SELECT request_id, payment_intent, amount_minor
      FROM refunds
     WHERE order_id = $1 AND state NOT IN ('failed', 'canceled', 'rejected')
), asked AS MATERIALIZED (
    SELECT id
      FROM requests
     WHERE (mailbox_of(requester) = ANY ((SELECT names_of($2, $8))::text[])
            OR mailbox_of(requester_email) = ANY ((SELECT names_of($2, $8))::text[]))
       AND origin IS NOT DISTINCT FROM 'person' AND currency = $4
       AND created_at > (SELECT business_now()) - $5::interval
)
SELECT business_now() AS now,
       (SELECT coalesce(jsonb_agg(p ORDER BY p.payment_intent), '[]')
          FROM (SELECT payment_intent, currency, captured_minor, settles FROM payments WHERE order_id = $1) AS p
       ) AS payments,
       (SELECT coalesce(jsonb_agg(s), '[]')
          FROM (SELECT payment_intent, sum(amount_minor)::bigint AS spent_minor FROM active GROUP BY payment_intent) AS s
       ) AS spent,
       (SELECT coalesce(jsonb_agg(w), '[]')
          FROM (SELECT p.payment_intent,
                       sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END)::bigint
                           AS withheld_minor
                  FROM payments AS p
                  JOIN disputes AS d ON d.payment_intent = p.payment_intent
                 WHERE p.order_id = $1 AND d.state IN ('open', 'under_review', 'lost')
                 GROUP BY p.payment_intent) AS w
       ) AS withheld,
       (SELECT coalesce(jsonb_agg(g ORDER BY g.id), '[]')
          FROM (SELECT q.id, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
                       sum(a.amount_minor)::bigint AS active_minor
                  FROM active AS a
                  JOIN requests AS q ON q.id = a.request_id
                 GROUP BY q.id) AS g
       ) AS given,
       (SELECT rules || jsonb_build_object('version', version) FROM rules ORDER BY version DESC LIMIT 1) AS rules,
       (SELECT rules || jsonb_build_object('version', version)
          FROM rules
         WHERE NOT names_of(actor, actor_email) && names_of($2, $8)
         ORDER BY version DESC
         LIMIT 1) AS others_rules,
       (SELECT coalesce(sum(r.amount_minor), 0)::bigint
          FROM asked
          JOIN refunds AS r ON r.request_id = asked.id AND r.state NOT IN ('failed', 'canceled', 'rejected')
       ) AS operator_minor,
       (SELECT coalesce(sum(r.amount_minor), 0)::bigint
          FROM (SELECT order_id FROM orders WHERE mailbox_of(customer ->> 'email') = mailbox_of($3)
                 UNION
                SELECT order_id FROM orders WHERE account = $7) AS o
          JOIN requests AS q ON q.order_id = o.order_id
          JOIN refunds AS r ON r.request_id = q.id AND r.state NOT IN ('failed', 'canceled', 'rejected')
         WHERE q.origin IS NOT DISTINCT FROM 'person' AND q.currency = $4
           AND q.created_at > business_now() - $6::interval
       ) AS customer_minor;

-- name: open_request
-- A request with its parts $1 and the beginning $2 of their history, which begins in this order.
-- ON CONFLICT: the system asks once for each cause, and so does Stripe's dashboard for each refund of its own.
WITH opened AS (
    INSERT INTO requests (id, order_id, currency, amount_minor, goods_minor, tax_minor, shipping_minor, fee_minor,
                          lines, destination, reason, note, origin, requester, requester_email, needs, score,
                          score_reasons, decided_by, rules_version)
    VALUES ($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, order_id, currency, reason, requester
), parts AS (
    INSERT INTO refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver,
                         request_id, destination)
    SELECT part.id, opened.order_id, part.payment_intent, part.amount_minor, opened.currency, opened.reason, part.state,
           opened.requester, part.approver, opened.id, part.destination
      FROM opened
     CROSS JOIN jsonb_to_recordset($1::jsonb) AS part (id uuid, payment_intent text, amount_minor bigint, state text,
                                                       approver text, destination text)
), history AS (
    INSERT INTO refund_transitions (refund_id, from_state, to_state, cause, actor)
    SELECT step.refund_id, step.from_state, step.to_state, step.cause, step.actor
      FROM opened
     CROSS JOIN ROWS FROM (
               jsonb_to_recordset($2::jsonb) AS (refund_id uuid, from_state text, to_state text, cause text, actor text)
           ) WITH ORDINALITY AS step (refund_id, from_state, to_state, cause, actor, position)
     ORDER BY step.position
)
SELECT id FROM opened;

-- name: load_request
SELECT id, order_id, currency, amount_minor, goods_minor, tax_minor, shipping_minor, fee_minor, lines, destination,
       reason, note, origin, requester, requester_email, needs, score, score_reasons, decided_by, decided_by_email,
       decision_note, rules_version, version, created_at
  FROM requests
 WHERE id = $1;

-- name: decide_request
-- Its order is locked.
UPDATE requests
   SET decided_by = $2, decided_by_email = $3, decision_note = $4, version = $5
 WHERE id = $1;

-- name: refunds_of_requests
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE request_id = ANY($1::uuid[])
 ORDER BY request_id, created_at, id;

-- name: lock_refunds_of_request
-- FOR UPDATE ends the race of who takes a request back with the sweep that takes up what was put off, and with a command
-- to submit.
SELECT id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id,
       failure_reason, first_submitted_at, stripe_attempt, request_id, destination, pending_reason, action_expires_at
  FROM refunds
 WHERE request_id = $1
 ORDER BY created_at, id
   FOR UPDATE;

-- name: approve_refunds
-- Commands about them are said with it: the sweep, which may have looked while they waited, says none beside those.
UPDATE refunds SET approver = $2, asked_at = now() WHERE request_id = $1;

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

-- name: list_requests
-- The newest first, after the request $1. $2 origin; NULL is any.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score,
       q.score_reasons, q.decided_by, q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
 ORDER BY q.id DESC
 LIMIT $3;

-- name: list_requests_of_origin
-- As above, of one origin: few come from Stripe's dashboard.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score,
       q.score_reasons, q.decided_by, q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND q.origin = $2
 ORDER BY q.id DESC
 LIMIT $3;

-- name: list_requests_of_order
-- As above, of the order $4; $5 state of a part, $6 requester.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score,
       q.score_reasons, q.decided_by, q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
   AND q.order_id = $4 AND ($6::text IS NULL OR q.requester = $6)
   AND ($5::text IS NULL OR EXISTS (SELECT FROM refunds AS r WHERE r.request_id = q.id AND r.state = $5))
 ORDER BY q.id DESC
 LIMIT $3;

-- name: list_requests_of_state
-- As above, of which a part is in the state $4; $5 requester.
SELECT q.id, q.order_id, q.currency, q.amount_minor, q.goods_minor, q.tax_minor, q.shipping_minor, q.fee_minor, q.lines,
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score,
       q.score_reasons, q.decided_by, q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
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
       q.destination, q.reason, q.note, q.origin, q.requester, q.requester_email, q.needs, q.score,
       q.score_reasons, q.decided_by, q.decided_by_email, q.decision_note, q.rules_version, q.version, q.created_at
  FROM requests AS q
 WHERE q.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND ($2::text IS NULL OR q.origin = $2)
   AND q.requester = $4
 ORDER BY q.id DESC
 LIMIT $3;

-- name: history
SELECT t.refund_id, t.from_state, t.to_state, t.cause, t.actor, t.at
  FROM refund_transitions AS t
  JOIN refunds AS r ON r.id = t.refund_id
 WHERE r.request_id = $1
 ORDER BY t.id;

-- -- suspicions -------------------------------------------------------------------------------------------------------

-- name: keep_charge
-- ON CONFLICT: the event may come again, and says the same.
INSERT INTO charges (payment_intent, method_type, card, charged_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: patterns
-- What went before a request about the order $1 of the requester $2. Whoever has bought so often that LIMIT cuts him
-- short is judged by what is left. Nothing is locked.
-- IS NOT DISTINCT FROM: as in `read_position`. The clock is a function of 2 us: where many rows are compared with it, it
-- is read once before.
WITH this AS MATERIALIZED (
    SELECT order_id, account, lower(customer ->> 'email') AS email, bill FROM orders WHERE order_id = $1
), mine AS MATERIALIZED (
    (SELECT o.order_id
       FROM this AS t JOIN orders AS o ON lower(o.customer ->> 'email') = t.email
      WHERE o.paid_at > (SELECT business_now()) - interval '365 days'
      LIMIT 500)
    UNION
    (SELECT o.order_id
       FROM this AS t JOIN orders AS o ON o.account = t.account
      WHERE o.paid_at > (SELECT business_now()) - interval '365 days'
      LIMIT 500)
), asked AS (
    SELECT q.order_id, q.requester, q.created_at
      FROM mine JOIN requests AS q ON q.order_id = mine.order_id
     WHERE q.origin IS NOT DISTINCT FROM 'person' AND q.created_at > business_now() - interval '365 days'
), buyer AS (
    SELECT count(DISTINCT order_id) AS refunded,
           count(*) FILTER (WHERE created_at > (SELECT business_now()) - interval '1 day') AS day,
           count(*) FILTER (WHERE created_at > (SELECT business_now()) - interval '30 days') AS month,
           count(*) FILTER (WHERE created_at > (SELECT business_now()) - interval '90 days') AS quarter,
           count(*) FILTER (WHERE created_at > (SELECT business_now()) - interval '90 days' AND requester = $2) AS by_operator
      FROM asked
), operator AS (
    SELECT count(*) FILTER (WHERE created_at > (SELECT business_now()) - interval '1 day') AS day, count(*) AS month
      FROM requests
     WHERE requester = $2 AND origin IS NOT DISTINCT FROM 'person'
       AND created_at > (SELECT business_now()) - interval '30 days'
), peers AS (
    SELECT count(DISTINCT name) AS peers, coalesce(sum(requests), 0)::bigint AS month
      FROM tallies
     WHERE kind = 'operator' AND name <> $2 AND day > (business_now() AT TIME ZONE 'UTC')::date - 30
), shop AS (
    SELECT coalesce(sum(orders), 0)::bigint AS orders, coalesce(sum(refunded), 0)::bigint AS refunded
      FROM tallies
     WHERE kind = 'shop' AND name = '' AND day > (business_now() AT TIME ZONE 'UTC')::date - 90
), products AS (
    SELECT l.sku, a.orders, a.refunded
      FROM (SELECT DISTINCT line ->> 'sku' AS sku FROM this, jsonb_array_elements(bill -> 'lines') AS line) AS l
     CROSS JOIN LATERAL (
        SELECT sum(orders) AS orders, sum(refunded) AS refunded
          FROM tallies
         WHERE kind = 'product' AND name = l.sku AND day > (business_now() AT TIME ZONE 'UTC')::date - 90) AS a
     WHERE a.orders IS NOT NULL
), paid AS MATERIALIZED (
    SELECT c.payment_intent, c.method_type, c.card, c.charged_at
      FROM payments AS p JOIN charges AS c ON c.payment_intent = p.payment_intent
     WHERE p.order_id = $1
), cards AS (
    SELECT count(DISTINCT coalesce(u.account, u.email)) AS buyers
      FROM paid AS own
     CROSS JOIN LATERAL (
        SELECT o.account, lower(o.customer ->> 'email') AS email
          FROM charges AS c
          JOIN payments AS p ON p.payment_intent = c.payment_intent
          JOIN orders AS o ON o.order_id = p.order_id
         WHERE c.card = own.card AND c.charged_at > (SELECT business_now()) - interval '365 days'
         LIMIT 500) AS u
)
SELECT (SELECT count(*) FROM mine) AS buyer_orders, buyer.refunded AS buyer_refunded, buyer.day AS buyer_day,
       buyer.month AS buyer_month, buyer.quarter AS buyer_quarter, buyer.by_operator,
       operator.day AS operator_day, operator.month AS operator_month, peers.peers, peers.month AS peers_month,
       shop.orders AS shop_orders, shop.refunded AS shop_refunded, cards.buyers AS card_buyers,
       (SELECT min(at) FROM exhibits WHERE order_id = $1 AND kind IN ('delivered', 'digital')) AS delivered_at,
       EXISTS (SELECT FROM payments AS p JOIN warnings AS w ON w.payment_intent = p.payment_intent
                WHERE p.order_id = $1) AS warned,
       (SELECT coalesce(jsonb_object_agg(sku, jsonb_build_object('orders', orders, 'refunded', refunded)), '{}')
          FROM products) AS products,
       (SELECT coalesce(jsonb_agg(to_jsonb(paid)), '[]') FROM paid) AS charges
  FROM buyer, operator, peers, shop, cards;

-- name: last_tally
SELECT day::timestamp AT TIME ZONE 'UTC' FROM tallies WHERE kind = 'shop' AND name = '' ORDER BY day DESC LIMIT 1;

-- name: first_paid
SELECT date_trunc('day', min(paid_at), 'UTC') FROM orders WHERE paid_at > $1;

-- name: tally
-- ON CONFLICT: days that may still change are counted again.
WITH sold AS MATERIALIZED (
    SELECT (paid_at AT TIME ZONE 'UTC')::date AS day, order_id, bill FROM orders WHERE paid_at >= $1 AND paid_at < $2
), asked AS MATERIALIZED (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, order_id, requester, skus
      FROM requests
     WHERE origin = 'person' AND created_at >= $1 AND created_at < $2
), counted AS (
    SELECT 'shop' AS kind, '' AS name, day::date AS day, 0 AS orders, 0 AS refunded, 0 AS requests
      FROM generate_series($1 AT TIME ZONE 'UTC',
                           least($2, business_now()) AT TIME ZONE 'UTC' - interval '1 microsecond',
                           interval '1 day') AS day
     UNION ALL
    SELECT 'shop', '', day, count(*), 0, 0 FROM sold GROUP BY day
     UNION ALL
    SELECT 'shop', '', day, 0, count(DISTINCT order_id), count(*) FROM asked GROUP BY day
     UNION ALL
    SELECT 'product', line ->> 'sku', day, count(DISTINCT order_id), 0, 0
      FROM sold, jsonb_array_elements(bill -> 'lines') AS line
     GROUP BY line ->> 'sku', day
     UNION ALL
    SELECT 'product', sku, day, 0, count(DISTINCT order_id), count(*)
      FROM asked, unnest(skus) AS sku
     WHERE sku IS NOT NULL
     GROUP BY sku, day
     UNION ALL
    SELECT 'operator', requester, day, 0, count(DISTINCT order_id), count(*) FROM asked GROUP BY requester, day
)
INSERT INTO tallies (kind, name, day, orders, refunded, requests)
SELECT kind, name, day, sum(orders), sum(refunded), sum(requests) FROM counted GROUP BY kind, name, day
ON CONFLICT (kind, name, day) DO UPDATE
   SET orders = excluded.orders, refunded = excluded.refunded, requests = excluded.requests;

-- -- the report -------------------------------------------------------------------------------------------------------

-- name: report
-- The $4 largest groups of requests that were made from $1 on and before $2, by $3: operator, customer, product, reason.
-- An order that is asked about twice is one.
WITH asked AS MATERIALIZED (
    SELECT q.id, q.order_id, q.currency, q.score, cardinality(q.needs) > 0 AS second_person,
           'score' = ANY (q.needs) AS suspicious,
           CASE $3::text WHEN 'operator' THEN q.requester WHEN 'customer' THEN coalesce(q.buyer, '')
                         ELSE q.reason END AS name,
           CASE $3 WHEN 'product' THEN q.lines END AS lines, CASE $3 WHEN 'product' THEN q.skus END AS skus,
           bool_or(r.state = 'rejected') AS rejected, bool_or(r.state = 'failed') AS failed,
           coalesce(sum(r.amount_minor) FILTER (WHERE r.state NOT IN ('rejected', 'failed', 'canceled')), 0) AS given
      FROM requests AS q JOIN refunds AS r ON r.request_id = q.id
     WHERE q.created_at >= $1 AND q.created_at < $2
     GROUP BY q.id
), named AS MATERIALIZED (
    SELECT name, id, order_id, currency, score, second_person, suspicious, rejected, failed, given AS amount_minor
      FROM asked
     WHERE $3 <> 'product'
     UNION ALL
    SELECT l.sku, id, order_id, currency, score, second_person, suspicious, rejected, failed,
           sum(CASE WHEN given > 0 THEN (lines -> (l.number - 1)::int ->> 'goods_minor')::bigint
                                      + (lines -> (l.number - 1)::int ->> 'tax_minor')::bigint ELSE 0 END)
      FROM asked, unnest(skus) WITH ORDINALITY AS l (sku, number)
     WHERE $3 = 'product' AND l.sku IS NOT NULL
     GROUP BY l.sku, id, order_id, currency, score, second_person, suspicious, rejected, failed
), grouped AS MATERIALIZED (
    SELECT name, count(*) AS requests, count(*) FILTER (WHERE second_person) AS second_person,
           count(*) FILTER (WHERE suspicious) AS suspicious, count(*) FILTER (WHERE rejected) AS rejected,
           count(*) FILTER (WHERE failed) AS failed
      FROM named
     GROUP BY name
     ORDER BY count(*) DESC, name
     LIMIT $4
), summed AS (
    SELECT name, jsonb_object_agg(currency, amount_minor) AS sums
      FROM (SELECT name, currency, sum(amount_minor)::bigint AS amount_minor
              FROM grouped JOIN named USING (name)
             GROUP BY name, currency) AS s
     GROUP BY name
), refunded AS (
    SELECT name, count(*) AS orders
      FROM (SELECT DISTINCT name, order_id FROM grouped JOIN named USING (name)) AS once
     GROUP BY name
), topped AS (
    SELECT name, array_agg(id ORDER BY score DESC, id) AS tops
      FROM (SELECT name, id, score, row_number() OVER (PARTITION BY name ORDER BY score DESC, id) AS place
              FROM grouped JOIN named USING (name)
             WHERE score > 0) AS ranked
     WHERE place <= 3
     GROUP BY name
), sold AS (
    SELECT name, sum(orders)::bigint AS orders
      FROM tallies
     WHERE kind = CASE $3 WHEN 'product' THEN 'product' ELSE 'shop' END
       AND day >= ($1 AT TIME ZONE 'UTC')::date AND day < ($2 AT TIME ZONE 'UTC')::date
     GROUP BY name
)
SELECT g.name, g.requests, f.orders AS refunded_orders, g.second_person, g.suspicious, g.rejected, g.failed, s.sums,
       coalesce(t.tops, '{}') AS tops,
       CASE $3 WHEN 'customer' THEN
            (SELECT count(*) FROM orders AS o
              WHERE lower(o.customer ->> 'email') = g.name AND o.paid_at >= $1 AND o.paid_at < $2)
            ELSE coalesce((SELECT orders FROM sold
                            WHERE sold.name = CASE $3 WHEN 'product' THEN g.name ELSE '' END), 0) END AS orders
  FROM grouped AS g
  JOIN summed AS s ON s.name = g.name
  JOIN refunded AS f ON f.name = g.name
  LEFT JOIN topped AS t ON t.name = g.name
 ORDER BY g.requests DESC, g.name;

-- name: top_requests
SELECT id AS refund_id, order_id, score, score_reasons FROM requests WHERE id = ANY ($1::uuid[]);

-- name: shop_rate
SELECT coalesce(sum(orders), 0)::bigint AS orders, coalesce(sum(refunded), 0)::bigint AS refunded
  FROM tallies
 WHERE kind = 'shop' AND name = ''
   AND day >= ($1::timestamptz AT TIME ZONE 'UTC')::date AND day < ($2::timestamptz AT TIME ZONE 'UTC')::date;

-- -- rules ------------------------------------------------------------------------------------------------------------

-- name: load_rules
SELECT version, rules FROM rules ORDER BY version DESC LIMIT 1;

-- name: insert_rules
-- ON CONFLICT: of two changes at once the second finds the version taken.
INSERT INTO rules (version, rules, before, actor, actor_email, reason) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
RETURNING version;

-- name: list_rules
SELECT version, rules, before, actor, reason, at FROM rules ORDER BY version DESC LIMIT $1;

-- -- disputes ---------------------------------------------------------------------------------------------------------

-- name: question_time
-- Before Stripe is asked: of two answers the one to the later question holds.
SELECT clock_timestamp();

-- name: claim_dispute
-- Ends the race of the first two answers about one dispute, which has no row to lock yet.
SELECT pg_advisory_xact_lock(hashtextextended('dispute:' || $1, 0));

-- name: lock_dispute
-- FOR UPDATE ends the race of an answer with a sweep.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE id = $1
   FOR UPDATE;

-- name: load_dispute
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE id = $1;

-- name: save_dispute
INSERT INTO disputes (id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason,
                      network_reason_code, due_by, has_evidence, submission_count, past_due, charge_refundable,
                      asked_at, version, said, reminded_hours, opened_at, closed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
ON CONFLICT (id) DO UPDATE
   SET charge = excluded.charge, payment_intent = excluded.payment_intent, order_id = excluded.order_id,
       amount_minor = excluded.amount_minor, currency = excluded.currency, state = excluded.state,
       stripe_status = excluded.stripe_status, reason = excluded.reason,
       network_reason_code = excluded.network_reason_code, due_by = excluded.due_by,
       has_evidence = excluded.has_evidence, submission_count = excluded.submission_count,
       past_due = excluded.past_due, charge_refundable = excluded.charge_refundable, asked_at = excluded.asked_at,
       checked_at = business_now(), version = excluded.version, said = excluded.said,
       reminded_hours = excluded.reminded_hours, opened_at = excluded.opened_at, closed_at = excluded.closed_at;

-- name: insert_dispute_transition
INSERT INTO dispute_transitions (dispute_id, from_state, to_state, cause) VALUES ($1, $2, $3, $4);

-- name: lock_disputes_of_payment
-- The payment is locked before.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE payment_intent = $1
 ORDER BY id
   FOR UPDATE;

-- name: withheld_by_payment
-- What disputes that are open or lost withhold of each payment of an order; exact only under the locks of its payments.
SELECT p.payment_intent,
       sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END)::bigint AS withheld_minor
  FROM payments AS p
  JOIN disputes AS d ON d.payment_intent = p.payment_intent
 WHERE p.order_id = $1 AND d.state IN ('open', 'under_review', 'lost')
 GROUP BY p.payment_intent;

-- name: lost_minor
-- What of a payment is gone for good; exact only under its lock.
SELECT coalesce(sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END), 0)::bigint
  FROM payments AS p
  JOIN disputes AS d ON d.payment_intent = p.payment_intent
 WHERE p.payment_intent = $1 AND d.state = 'lost';

-- name: blocked_payments
-- Those of which nothing is refunded until a dispute is decided.
SELECT DISTINCT payment_intent
  FROM disputes
 WHERE payment_intent = ANY($1::text[]) AND state IN ('open', 'under_review');

-- name: blocked_refunds
-- Those of the refunds $1 that wait for a dispute to be decided. Money that goes back to a card ends what its bank only
-- asks about; store credit does not, and the bank may take the money as well.
SELECT r.id
  FROM refunds AS r
 WHERE r.id = ANY($1::uuid[]) AND r.state = 'approved'
   AND EXISTS (SELECT FROM disputes AS d
                WHERE d.payment_intent = r.payment_intent
                  AND (d.state IN ('open', 'under_review') OR d.state = 'inquiry' AND r.destination = 'store_credit'));

-- name: lock_unchecked_disputes
-- Undecided disputes that nobody asked after for $1 of business time. SKIP LOCKED: another instance or message has those.
SELECT id, payment_intent
  FROM disputes
 WHERE state IN ('inquiry', 'open', 'under_review') AND checked_at < business_now() - $1::interval
 ORDER BY checked_at
 LIMIT 20
   FOR UPDATE SKIP LOCKED;

-- name: lock_unlinked_disputes
-- Disputes whose payment became known beside them, in a transaction that could not see them. SKIP LOCKED, as above.
SELECT d.id, d.payment_intent
  FROM disputes AS d
 WHERE d.order_id IS NULL AND d.checked_at < business_now() - interval '1 minute'
   AND EXISTS (SELECT FROM payments AS p WHERE p.payment_intent = d.payment_intent)
 LIMIT 20
   FOR UPDATE OF d SKIP LOCKED;

-- name: mark_dispute_checked
UPDATE disputes SET checked_at = business_now() WHERE id = $1;

-- name: lock_disputes_due
-- Disputes without evidence whose deadline is within $1 hours, or within $2 since they were last reminded of. SKIP
-- LOCKED, as above.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE state IN ('inquiry', 'open') AND submission_count = 0 AND order_id IS NOT NULL
   AND due_by > business_now() AND due_by <= business_now() + make_interval(hours => $1)
   AND (reminded_hours IS NULL OR reminded_hours > $2 AND due_by <= business_now() + make_interval(hours => $2))
 ORDER BY due_by
 LIMIT 100
   FOR UPDATE SKIP LOCKED;

-- name: mark_reminded
UPDATE disputes SET reminded_hours = $2 WHERE id = $1;

-- name: measure_disputes
-- How many are undecided, and how many seconds are left until the nearest deadline of one without evidence.
SELECT (SELECT count(*) FROM disputes WHERE state IN ('inquiry', 'open', 'under_review')) AS undecided,
       (SELECT extract(epoch FROM min(due_by) - business_now())::float8
          FROM disputes
         WHERE state IN ('inquiry', 'open') AND submission_count = 0) AS due_seconds;

-- name: list_disputes
-- The newest first, after the dispute $1.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE (opened_at, id)
       < (coalesce((SELECT c.opened_at FROM disputes AS c WHERE c.id = $1), 'infinity'), coalesce($1, ''))
 ORDER BY opened_at DESC, id DESC
 LIMIT $2;

-- name: list_disputes_of_order
-- As above, of the order $3; $4 state, $5 until when evidence is due where none was handed in; NULL is any.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE (opened_at, id)
       < (coalesce((SELECT c.opened_at FROM disputes AS c WHERE c.id = $1), 'infinity'), coalesce($1, ''))
   AND order_id = $3 AND ($4::text IS NULL OR state = $4)
   AND ($5::timestamptz IS NULL OR state IN ('inquiry', 'open') AND submission_count = 0 AND due_by <= $5)
 ORDER BY opened_at DESC, id DESC
 LIMIT $2;

-- name: list_disputes_due
-- As above, those without evidence that is due until $3; $4 state.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE (opened_at, id)
       < (coalesce((SELECT c.opened_at FROM disputes AS c WHERE c.id = $1), 'infinity'), coalesce($1, ''))
   AND state IN ('inquiry', 'open') AND submission_count = 0 AND due_by <= $3
   AND ($4::text IS NULL OR state = $4)
 ORDER BY opened_at DESC, id DESC
 LIMIT $2;

-- name: list_disputes_of_state
-- As above, in the state $3.
SELECT id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason, network_reason_code,
       due_by, has_evidence, submission_count, past_due, charge_refundable, asked_at, version, said, reminded_hours,
       opened_at, closed_at
  FROM disputes
 WHERE (opened_at, id)
       < (coalesce((SELECT c.opened_at FROM disputes AS c WHERE c.id = $1), 'infinity'), coalesce($1, ''))
   AND state = $3
 ORDER BY opened_at DESC, id DESC
 LIMIT $2;

-- name: dispute_history
SELECT from_state, to_state, cause, at FROM dispute_transitions WHERE dispute_id = $1 ORDER BY id;

-- -- warnings ---------------------------------------------------------------------------------------------------------

-- name: keep_warning
-- Events come in any order: what can no longer be acted on stays so.
INSERT INTO warnings (id, charge, payment_intent, fraud_type, actionable) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (id) DO UPDATE SET actionable = warnings.actionable AND excluded.actionable;

-- name: warnings_of_payment
SELECT id, charge, payment_intent, fraud_type, actionable, heard_at
  FROM warnings
 WHERE payment_intent = $1
 ORDER BY heard_at, id;

-- -- exhibits ---------------------------------------------------------------------------------------------------------

-- name: keep_exhibits
-- ON CONFLICT: each fact once, however often it is told. In one order, so that no two batches wait for each other.
INSERT INTO exhibits (order_id, kind, ref, at, body)
SELECT order_id, kind, ref, at, body
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::jsonb[])
       AS heard (order_id, kind, ref, at, body)
 ORDER BY order_id, kind, ref
ON CONFLICT DO NOTHING;

-- name: list_exhibits
SELECT order_id, kind, ref, at, body FROM exhibits WHERE order_id = $1 ORDER BY at, kind, ref;

-- name: forget_exhibits
-- Those older than $1 days, at most $2; not those of a dispute that is not decided.
DELETE FROM exhibits
 WHERE ctid = ANY (ARRAY(
       SELECT e.ctid
         FROM exhibits AS e
        WHERE e.kept_at < business_now() - make_interval(days => $1)
          AND NOT EXISTS (
              SELECT FROM disputes AS d
               WHERE d.order_id = e.order_id AND d.state IN ('inquiry', 'open', 'under_review'))
        ORDER BY e.kept_at
        LIMIT $2));

-- name: forget_submissions
-- Of submissions that were answered more than $1 days ago, at most $2, only the digest is left of what was handed in; not
-- of those of a dispute that is not decided.
UPDATE submissions AS s
   SET pack = jsonb_build_object('digest', s.pack -> 'digest'), evidence = '{}'
 WHERE s.id = ANY (ARRAY(
       SELECT o.id
         FROM submissions AS o
         JOIN disputes AS d ON d.id = o.dispute_id
        WHERE o.settled_at < business_now() - make_interval(days => $1)
          AND o.pack ? 'dispute'
          AND d.state NOT IN ('inquiry', 'open', 'under_review')
        LIMIT $2));

-- name: forget_cards
-- By which card payments were made that are older than $1 days, at most $2. Their method is no secret, and says until when
-- Stripe refunds them.
UPDATE charges SET card = NULL
 WHERE payment_intent = ANY (ARRAY(
       SELECT payment_intent
         FROM charges
        WHERE card IS NOT NULL AND charged_at < business_now() - make_interval(days => $1)
        ORDER BY charged_at
        LIMIT $2));

-- name: given_back
-- The refunds of an order, each with the moment at which it came to its state.
SELECT r.id AS refund_id, r.payment_intent, r.stripe_refund_id, r.amount_minor, r.currency, r.reason, r.state,
       q.created_at AS asked_at,
       coalesce((SELECT max(t.at) FROM refund_transitions AS t WHERE t.refund_id = r.id), q.created_at) AS state_at
  FROM refunds AS r
  JOIN requests AS q ON q.id = r.request_id
 WHERE r.order_id = $1
 ORDER BY q.created_at, r.id;

-- -- submissions ------------------------------------------------------------------------------------------------------

-- name: insert_submission
INSERT INTO submissions (id, dispute_id, final, inquiry, state, pack, evidence, actor, actor_email, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING created_at;

-- name: lock_submission
-- FOR UPDATE ends the race of an answer with a sweep.
SELECT id, dispute_id, final, inquiry, state, pack, evidence, actor, actor_email, reason, file_id, refusal,
       stripe_attempt, first_asked_at, created_at, settled_at
  FROM submissions
 WHERE id = $1
   FOR UPDATE;

-- name: list_submissions
-- The newest first.
SELECT id, dispute_id, final, inquiry, state, pack, evidence, actor, actor_email, reason, file_id, refusal,
       stripe_attempt, first_asked_at, created_at, settled_at
  FROM submissions
 WHERE dispute_id = $1
 ORDER BY created_at DESC, id DESC;

-- name: begin_submission
-- Stripe is asked now: the sweep waits for it, however long Stripe is away.
UPDATE submissions SET asked_at = now(), first_asked_at = coalesce(first_asked_at, business_now()) WHERE id = $1;

-- name: keep_file
-- Two commands about one submission get the same file, under the same key.
UPDATE submissions SET file_id = coalesce(file_id, $2) WHERE id = $1;

-- name: bump_submission_attempt
-- $2 ends the race of two repeats: both saw the same attempt fail, and one of them counts.
UPDATE submissions SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: settle_submission
UPDATE submissions
   SET state = $2, refusal = $3, asked_at = NULL, settled_at = business_now()
 WHERE id = $1 AND state = 'intended';

-- name: lock_unsettled_submissions
-- Submissions that should have been answered by now. $1: longer than a command ever waits between two attempts.
-- SKIP LOCKED: another instance or message has those.
SELECT id, dispute_id
  FROM submissions
 WHERE state = 'intended' AND (asked_at IS NULL OR asked_at < now() - make_interval(secs => $1))
 ORDER BY asked_at
 LIMIT 20
   FOR UPDATE SKIP LOCKED;

-- name: mark_submission_asked
-- A command about the submission is under way.
UPDATE submissions SET asked_at = now() WHERE id = $1;
