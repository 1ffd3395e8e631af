-- What "right" means, across all schemas. Each query returns the violating rows: an empty result means that it holds.
-- `canonical_orders`, `taken_out`, `given_back`, `heard`, `outboxes` and `inboxes` are common tables that the runner puts
-- in front. The last two have the days that every service still keeps, `outboxes` also what is unsaid of any day.
-- when: always      holds at every moment, even in the middle of a fault
-- when: quiescence  holds once everything has been drained
-- needs: truth      compares with what Stripe and the mailbox really hold; not run where that is not known
-- needs: ledger     binds from the day that a ledger exists

-- name: I01_paid_session_one_paid_order
-- meaning: every complete and paid session, and every charge without one, has exactly one order of the paid family, or is a surplus, a part whose other part was not to be had, or of an order that is not here and written down as lost, paid back whole or as soon as refunds are not stopped any more
-- when: quiescence
-- needs: truth
-- examined: SELECT (SELECT count(*) FROM stripe_truth.sessions WHERE payment_status = 'paid' AND status = 'complete') + (SELECT count(*) FROM stripe_truth.payment_intents WHERE order_ref IS NOT NULL)
SELECT s.id
  FROM stripe_truth.sessions AS s
  LEFT JOIN canonical_orders AS o ON o.stripe_payment_intent = s.payment_intent AND o.paid_family
 WHERE s.payment_status = 'paid' AND s.status = 'complete'
   AND s.amount_total > coalesce((
        SELECT sum(r.amount_minor) FILTER (
                   WHERE r.state = 'succeeded'
                      OR r.state IN ('approved', 'submitted') AND r.id IN (SELECT refund_id FROM refunds.put_off))
          FROM refunds.refunds AS r
         WHERE r.payment_intent = s.payment_intent
        HAVING bool_or(r.reason = 'surplus_payment' OR EXISTS (
               SELECT FROM checkout.lost_payments AS l WHERE l.payment_intent = r.payment_intent))), 0)
 GROUP BY s.id
HAVING count(o.id) <> 1
 UNION ALL
SELECT i.id
  FROM stripe_truth.payment_intents AS i
  LEFT JOIN (SELECT p.id, unnest(p.intents) AS intent FROM canonical_orders AS p WHERE p.paid_family) AS o ON o.intent = i.id
 WHERE i.order_ref IS NOT NULL AND NOT EXISTS (SELECT FROM stripe_truth.sessions AS s WHERE s.payment_intent = i.id)
   AND i.amount_received > coalesce((
        SELECT sum(r.amount_minor) FILTER (
                   WHERE r.state = 'succeeded'
                      OR r.state IN ('approved', 'submitted') AND r.id IN (SELECT refund_id FROM refunds.put_off))
          FROM refunds.refunds AS r
         WHERE r.payment_intent = i.id
        HAVING bool_or(r.reason = 'surplus_payment' OR EXISTS (
               SELECT FROM checkout.lost_payments AS l WHERE l.payment_intent = r.payment_intent)
            OR r.reason = 'canceled_order' AND EXISTS (
               SELECT FROM checkout.orders AS c WHERE c.id = i.order_ref AND c.split IS NOT NULL))), 0)
 GROUP BY i.id
HAVING count(o.id) <> 1;

-- name: I02_no_paid_order_without_money
-- meaning: no order of the paid family exists without a paid session, the charge of its saved method, or store credit or a coupon beside which nothing is left to pay
-- when: quiescence
-- needs: truth
-- examined: SELECT count(*) FROM checkout.orders WHERE state = 'paid'
SELECT o.id
  FROM canonical_orders AS o
  LEFT JOIN stripe_truth.sessions AS s ON s.payment_intent = o.stripe_payment_intent
  LEFT JOIN stripe_truth.payment_intents AS i ON i.id = ANY (o.intents) AND o.saved_method IS NOT NULL
 WHERE o.paid_family AND o.store_credit_minor < o.total_minor
   AND coalesce(s.payment_status, 'unpaid') <> 'paid' AND coalesce(i.status, 'unpaid') <> 'succeeded';

-- name: I03_amount_and_currency_match
-- meaning: amount and currency of a paid order, less its store credit, equal Stripe's, unless a mismatch waits for a person or was judged
-- when: always
-- needs: truth
-- examined: SELECT count(*) FROM checkout.orders AS o JOIN stripe_truth.payment_intents AS i ON i.id = o.stripe_payment_intent
SELECT o.id
  FROM canonical_orders AS o
  LEFT JOIN stripe_truth.sessions AS s ON s.payment_intent = o.stripe_payment_intent AND s.payment_status = 'paid'
  LEFT JOIN LATERAL (
       SELECT sum(p.amount_received) AS amount_received, min(p.currency) AS currency
         FROM stripe_truth.payment_intents AS p
        WHERE p.id = ANY (o.intents) AND p.status = 'succeeded' AND o.saved_method IS NOT NULL
  ) AS i ON true
 WHERE o.state = 'paid' AND o.held_reason IS NULL AND NOT o.dishonoured
   AND (o.total_minor - o.store_credit_minor
        <> coalesce(s.amount_total, i.amount_received, o.total_minor - o.store_credit_minor)
        OR o.currency <> coalesce(s.currency, i.currency, o.currency))
   AND NOT EXISTS (SELECT FROM checkout.order_facts AS f WHERE f.order_id = o.id AND f.kind = 'HoldEnded');

-- name: I04_order_total_is_sum_of_items
-- meaning: the subtotal is the sum of quantity times unit amount, and the total follows from it
-- when: always
-- examined: SELECT count(*) FROM checkout.orders
SELECT o.id
  FROM checkout.orders AS o
 WHERE o.subtotal_minor <> (
        SELECT sum((l ->> 'quantity')::bigint * (l ->> 'unit_amount_minor')::bigint) FROM jsonb_array_elements(o.lines) AS l)
    OR o.subtotal_minor - o.discount_minor + o.tax_minor + o.shipping_minor <> o.total_minor;

-- name: I05_one_fulfillment_per_paid_order
-- meaning: a paid order that is honoured, and neither held nor disputed, has exactly one live shipment, and none if nothing of it is sent, or refunds took all that is out
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.orders WHERE state = 'paid'
SELECT o.id
  FROM canonical_orders AS o
  LEFT JOIN fulfillment.shipments AS f ON f.order_id = o.id AND f.state <> 'canceled'
  LEFT JOIN taken_out AS t ON t.order_id = o.id AND t.sent AND o.status = 'partially_refunded'
 WHERE o.status IN ('paid', 'fulfilled', 'partially_refunded') AND NOT o.dishonoured AND o.held_reason IS NULL
   AND NOT EXISTS (SELECT FROM refunds.disputes AS d WHERE d.order_id = o.id AND d.state NOT IN ('won', 'closed'))
 GROUP BY o.id, o.is_sent, t.order_id
HAVING count(f.id) <> CASE WHEN o.is_sent AND t.order_id IS NULL THEN 1 ELSE 0 END;

-- name: I06_no_fulfillment_for_unpaid
-- meaning: nothing is sent or delivered for an order that is not paid or whose money must go back, or for none at all, nor the one where there is only the other
-- when: always
-- examined: SELECT (SELECT count(*) FROM fulfillment.shipments) + (SELECT count(*) FROM fulfillment.orders WHERE digital_delivered)
SELECT f.id
  FROM fulfillment.shipments AS f
  LEFT JOIN canonical_orders AS o ON o.id = f.order_id
 WHERE f.state <> 'canceled' AND (o.id IS NULL OR o.state <> 'paid' OR o.dishonoured OR NOT o.is_sent)
 UNION ALL
SELECT f.order_id
  FROM fulfillment.orders AS f
  LEFT JOIN canonical_orders AS o ON o.id = f.order_id
 WHERE f.digital_delivered AND (o.id IS NULL OR o.state <> 'paid' OR o.dishonoured OR NOT o.has_digital);

-- name: I07_stock_conserved
-- meaning: available, held and committed are never negative and add up to the total
-- when: always
-- examined: SELECT count(*) FROM inventory.stock
SELECT sku FROM inventory.stock
 WHERE available < 0 OR held < 0 OR committed < 0 OR available + held + committed <> total;

-- name: I08_reserved_matches_reservations
-- meaning: the held and committed counters equal the reservation rows
-- when: always
-- examined: SELECT count(*) FROM inventory.reservation_lines
SELECT s.sku
  FROM inventory.stock AS s
  LEFT JOIN inventory.reservation_lines AS l ON l.sku = s.sku
  LEFT JOIN inventory.reservations AS r ON r.order_id = l.order_id
 GROUP BY s.sku, s.held, s.committed
HAVING coalesce(sum(l.quantity) FILTER (WHERE r.state = 'held'), 0) <> s.held
    OR coalesce(sum(l.quantity - l.restocked) FILTER (WHERE r.state = 'committed'), 0) <> s.committed;

-- name: I09_paid_order_holds_its_stock
-- meaning: every line of a paid order that is honoured holds its quantity as sold, a bundle in its parts
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.orders WHERE state = 'paid'
SELECT o.id, g.sku
  FROM canonical_orders AS o
 CROSS JOIN LATERAL (
       SELECT coalesce(p.key, l ->> 'sku') AS sku, sum((l ->> 'quantity')::int * coalesce(p.value::int, 1)) AS quantity
         FROM jsonb_array_elements(o.lines) AS l
         LEFT JOIN LATERAL jsonb_each_text(l -> 'parts') AS p ON true
        GROUP BY 1
  ) AS g
  LEFT JOIN inventory.reservations AS r ON r.order_id = o.id
  LEFT JOIN inventory.reservation_lines AS x ON x.order_id = o.id AND x.sku = g.sku
 WHERE o.status IN ('paid', 'fulfilled') AND NOT o.dishonoured AND o.held_reason IS NULL
   AND (r.state IS DISTINCT FROM 'committed' OR x.quantity IS DISTINCT FROM g.quantity);

-- name: I10_dead_order_holds_nothing
-- meaning: an order that ended without money, was abandoned or is paid and settled, or an unknown one, holds nothing
-- when: quiescence
-- examined: SELECT count(*) FROM inventory.reservations WHERE state = 'held'
-- An order that waits for a person keeps its goods, and a declined one while its buyer may still try another card.
SELECT r.order_id
  FROM inventory.reservations AS r
  LEFT JOIN checkout.orders AS o ON o.id = r.order_id
 WHERE r.state = 'held'
   AND (o.id IS NULL
        OR o.state IN ('canceled', 'expired', 'settlement_failed')
        OR (o.state = 'paid' AND o.held_reason IS NULL)
        OR (o.state = 'declined' AND EXISTS (
            SELECT FROM checkout.order_facts AS f WHERE f.order_id = o.id AND f.kind = 'Abandoned')));

-- name: I11_refunds_le_captured_local
-- meaning: live refunds of a payment never exceed what was captured
-- when: always
-- examined: SELECT count(*) FROM refunds.refunds
SELECT p.payment_intent
  FROM refunds.payments AS p
  JOIN refunds.refunds AS r ON r.payment_intent = p.payment_intent AND r.state NOT IN ('rejected', 'failed', 'canceled')
 GROUP BY p.payment_intent, p.captured_minor
HAVING sum(r.amount_minor) > p.captured_minor;

-- name: I12_refunds_le_captured_at_stripe
-- meaning: live refunds at Stripe never exceed the amount received
-- when: always
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.refunds
SELECT p.id
  FROM stripe_truth.payment_intents AS p
  JOIN stripe_truth.refunds AS r ON r.payment_intent = p.id AND r.status IN ('pending', 'succeeded', 'requires_action')
 GROUP BY p.id, p.amount_received
HAVING sum(r.amount) > p.amount_received;

-- name: I13_each_refund_request_hits_stripe_once
-- meaning: each refund of ours reached Stripe at most once
-- when: always
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.refunds WHERE refund_request_id IS NOT NULL
SELECT refund_request_id
  FROM stripe_truth.refunds
 WHERE status <> 'failed' AND refund_request_id IS NOT NULL
 GROUP BY refund_request_id
HAVING count(*) > 1;

-- name: I14_refund_local_equals_stripe
-- meaning: our refunds and Stripe's are the same set
-- when: quiescence
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.refunds
SELECT coalesce(r.stripe_refund_id, t.id) AS id
  FROM (SELECT * FROM refunds.refunds WHERE destination = 'original') AS r
  FULL JOIN stripe_truth.refunds AS t ON t.id = r.stripe_refund_id
 WHERE (t.id IS NULL AND r.state IN ('succeeded', 'pending', 'requires_action'))
    OR (r.id IS NULL AND t.id IS NOT NULL)
    OR r.amount_minor <> t.amount
    OR r.currency <> t.currency
    OR (r.state = 'succeeded' AND t.status <> 'succeeded')
    OR (r.state IN ('failed', 'canceled', 'rejected') AND t.status = 'succeeded');

-- name: I15_four_eyes
-- meaning: every refund past approval has an approver who is not the requester by any name of the two
-- when: always
-- examined: SELECT count(*) FROM refunds.refunds
SELECT r.id
  FROM refunds.refunds AS r
  JOIN refunds.requests AS q ON q.id = r.request_id
 WHERE r.state IN ('approved', 'submitted', 'pending', 'requires_action', 'succeeded')
   AND (r.approver IS NULL
        OR refunds.identity_of(r.approver) = refunds.identity_of(r.requester)
        OR refunds.names_of(q.decided_by, q.decided_by_email)
           && refunds.names_of(q.requester, q.requester_email));

-- name: I16_refund_positive_same_currency
-- meaning: a refund is above zero, belongs to a capture, or to store credit that paid, and has its currency
-- when: always
-- examined: SELECT count(*) FROM refunds.refunds
SELECT r.id
  FROM refunds.refunds AS r
  LEFT JOIN refunds.payments AS p ON p.payment_intent = r.payment_intent
  LEFT JOIN refunds.orders AS o ON o.order_id = r.order_id
 WHERE r.amount_minor <= 0
    OR coalesce(p.currency, o.bill ->> 'currency') IS DISTINCT FROM r.currency
    OR (p.payment_intent IS NULL AND (r.payment_intent IS NOT NULL OR (o.bill ->> 'store_credit_minor')::bigint = 0));

-- name: I17_ledger_txn_balances
-- meaning: each ledger transaction sums to zero per currency
-- when: always
-- needs: ledger
-- examined: SELECT 0
SELECT 1 WHERE false;

-- name: I18_ledger_business_key_once
-- meaning: each business fact is booked once
-- when: always
-- needs: ledger
-- examined: SELECT 0
SELECT 1 WHERE false;

-- name: I19_ledger_equals_stripe
-- meaning: per currency, the clearing account equals received minus refunded
-- when: quiescence
-- needs: ledger
-- examined: SELECT 0
SELECT 1 WHERE false;

-- name: I20_email_once_per_order_kind
-- meaning: the mailbox holds each (order, kind, ref) under one Message-ID at most
-- when: always
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.mailbox
SELECT order_id, kind, coalesce(ref, '') AS ref
  FROM stripe_truth.mailbox
 GROUP BY order_id, kind, coalesce(ref, '')
HAVING count(DISTINCT message_id) > 1;

-- name: I21_paid_order_has_confirmation
-- meaning: each paid order that is honoured and not held has a confirmation that was sent, or cannot be, or waits while mails are stopped
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.orders WHERE state = 'paid'
SELECT o.id
  FROM canonical_orders AS o
  LEFT JOIN notifications.mails AS m
    ON m.order_id = o.id AND m.kind = 'order_confirmation'
   AND (m.state IN ('sent', 'suppressed', 'undeliverable')
        OR m.state = 'queued'
           AND (SELECT t.state FROM notifications.switch_turns AS t WHERE t.switch = 'mails' ORDER BY t.id DESC LIMIT 1)
               = 'stopped')
 WHERE o.paid_family AND NOT o.dishonoured AND o.held_reason IS NULL AND m.id IS NULL;

-- name: I22_outbox_drained
-- meaning: no message that is due waits for its confirm
-- when: quiescence
-- examined: SELECT count(*) FROM outboxes
SELECT service, message_id FROM outboxes
 WHERE published_at IS NULL AND available_at <= payments.business_now();

-- name: I23_no_message_lost
-- meaning: every published message reached every service that heard its type by then: it is in that inbox or a dead letter of it
-- when: quiescence
-- examined: SELECT count(*) FROM outboxes AS o LEFT JOIN heard AS h ON h.type = o.type AND h.since < o.published_at WHERE o.published_at IS NOT NULL
-- What nobody hears any more, or was said before those who hear it now, must still have been heard by somebody.
SELECT o.message_id, o.type, h.service
  FROM outboxes AS o
  LEFT JOIN heard AS h ON h.type = o.type AND h.since < o.published_at
  LEFT JOIN inboxes AS i ON i.message_id = o.message_id AND i.service = coalesce(h.service, i.service)
 WHERE o.published_at IS NOT NULL AND i.message_id IS NULL
   AND NOT EXISTS (
        SELECT FROM operations.dead_letters AS d
         WHERE d.message_id = o.message_id::text AND d.service = coalesce(h.service, d.service));

-- name: I24_no_message_from_nowhere
-- meaning: nothing was consumed that no outbox ever held
-- when: always
-- examined: SELECT count(*) FROM inboxes
SELECT i.service, i.message_id
  FROM inboxes AS i
  LEFT JOIN outboxes AS o ON o.message_id = i.message_id
 WHERE o.message_id IS NULL;

-- name: I25_every_stripe_event_terminal
-- meaning: every event that Stripe emitted is stored, once, in a terminal state
-- when: quiescence
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.events
SELECT t.id
  FROM stripe_truth.events AS t
  LEFT JOIN webhook_ingest.stripe_events AS e ON e.event_id = t.id
 GROUP BY t.id
HAVING count(e.event_id) <> 1 OR bool_or(e.state NOT IN ('processed', 'ignored', 'dead'));

-- name: I26_no_foreign_or_livemode_event_acted_on
-- meaning: no event of a foreign account or the wrong mode was acted on
-- when: always
-- examined: SELECT count(*) FROM webhook_ingest.stripe_events
SELECT event_id FROM webhook_ingest.stripe_events
 WHERE state = 'processed'
   AND (livemode IS DISTINCT FROM current_setting('audit.livemode')::boolean
        OR (account IS NOT NULL AND account <> ALL (string_to_array(current_setting('audit.accounts'), ','))));

-- name: I27_legal_transitions_only
-- meaning: every recorded transition of an order goes to a stronger state
-- when: always
-- examined: SELECT count(*) FROM checkout.order_transitions
SELECT id FROM checkout.order_transitions
 WHERE NOT (
        (from_state IS NULL AND to_state = 'pending')
     OR coalesce(array_position(ARRAY['pending', 'declined', 'expired', 'canceled', 'processing', 'settlement_failed', 'paid'], from_state)
        < array_position(ARRAY['pending', 'declined', 'expired', 'canceled', 'processing', 'settlement_failed', 'paid'], to_state), false));

-- name: I28_transition_chain_unbroken
-- meaning: each transition of an order starts where the one before ended
-- when: always
-- examined: SELECT count(*) FROM checkout.order_transitions
SELECT id FROM (
    SELECT id, from_state, lag(to_state) OVER (PARTITION BY order_id ORDER BY id) AS before FROM checkout.order_transitions
) AS t
 WHERE before IS DISTINCT FROM from_state;

-- name: I29_order_state_is_last_transition
-- meaning: the order shows the state of its last transition
-- when: always
-- examined: SELECT count(*) FROM checkout.orders
SELECT o.id
  FROM checkout.orders AS o
 WHERE o.state IS DISTINCT FROM (
        SELECT t.to_state FROM checkout.order_transitions AS t WHERE t.order_id = o.id ORDER BY t.id DESC LIMIT 1);

-- name: I30_coupon_limit
-- meaning: uses never exceed the limit, and the counters equal the rows
-- when: always
-- examined: SELECT count(*) FROM checkout.coupons
SELECT c.code
  FROM checkout.coupons AS c
  LEFT JOIN checkout.coupon_redemptions AS r ON r.code = c.code
 GROUP BY c.code, c.max_redemptions, c.held, c.redeemed
HAVING count(r.order_id) FILTER (WHERE r.state IN ('held', 'redeemed')) > coalesce(c.max_redemptions, 2147483647)
    OR count(r.order_id) FILTER (WHERE r.state = 'redeemed') <> c.redeemed
    OR count(r.order_id) FILTER (WHERE r.state = 'held') <> c.held;

-- name: I31_no_stuck_order
-- meaning: no order stays pending or declined, nor a payment with two methods half done, an hour longer than its session lives, or than its next charge is due
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.orders WHERE state IN ('pending', 'declined') OR split_open
SELECT id FROM checkout.orders
 WHERE (state IN ('pending', 'declined') OR split_open)
   AND greatest(expires_at, retry_at) < payments.business_now() - interval '1 hour';

-- name: I32_no_held_idempotency_lock
-- meaning: no unfinished key is locked, or the work under it left undone, for more than five minutes
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.idempotency_keys WHERE state <> 'finished'
-- A lease is far shorter than five minutes: a lock that reaches further shuts its caller out. Once a lease has ended or
-- was given back, the sweep opens the session, and the key waits for its caller to repeat, however long that takes.
-- A key without an order waits for nobody: both are written together.
SELECT k.key
  FROM checkout.idempotency_keys AS k
  LEFT JOIN checkout.orders AS o ON o.id = k.resource_id
 WHERE k.state <> 'finished'
   AND (k.locked_until > now() + interval '5 minutes'
        OR (k.locked_until < now() - interval '5 minutes'
            AND (o.id IS NULL OR (o.state = 'pending' AND coalesce(o.stripe_session_id, o.stripe_payment_intent) IS NULL))));

-- name: I33_one_order_per_idempotency_key
-- meaning: a finished key has a stored answer, and no order belongs to two keys
-- when: always
-- examined: SELECT count(*) FROM checkout.idempotency_keys
SELECT min(key) AS key
  FROM checkout.idempotency_keys
 GROUP BY coalesce(resource_id::text, format('%L %L %L', principal, route, key))
HAVING count(*) > 1 OR bool_or(state = 'finished' AND (response_status IS NULL OR response_body IS NULL));

-- name: I34_refund_status_of_order
-- meaning: what the order shows of its refunds equals what refunds knows: none shown that is not there, none left out but those of a payment whose order is not here
-- when: quiescence
-- examined: SELECT count(*) FROM refunds.refunds
SELECT coalesce(r.id::text, s.id) AS id
  FROM refunds.refunds AS r
  FULL JOIN (
        SELECT o.id AS order_id, e.key AS id, e.value ->> 'status' AS status,
               (e.value ->> 'amount_minor')::bigint AS amount
          FROM checkout.orders AS o CROSS JOIN LATERAL jsonb_each(o.refunds) AS e) AS s
    ON s.order_id = r.order_id AND s.id = r.id::text
 WHERE r.id IS NULL
    OR (r.state IN ('succeeded', 'failed', 'canceled', 'rejected')
        AND NOT EXISTS (SELECT FROM checkout.lost_payments AS l WHERE l.payment_intent = r.payment_intent)
        AND (s.status IS DISTINCT FROM r.state OR s.amount IS DISTINCT FROM r.amount_minor))
    OR (s.status IN ('succeeded', 'failed', 'canceled', 'rejected') AND s.status <> r.state);

-- name: I35_money_taken_ends_well
-- meaning: money taken ends fulfilled or refunded: each capture is shipped for, or delivered for where nothing is sent, fully paid back, or as soon as refunds are not stopped any more, or lost to the buyer's bank, or held for a person or that bank, or paid for pieces that all were given back by somebody who said what is kept
-- when: quiescence
-- examined: SELECT count(*) FROM refunds.payments
SELECT p.payment_intent
  FROM refunds.payments AS p
 WHERE NOT EXISTS (
        SELECT FROM fulfillment.shipments AS f JOIN canonical_orders AS o ON o.id = f.order_id
         WHERE f.order_id = p.order_id AND f.state <> 'canceled' AND p.payment_intent = ANY (o.intents))
   AND NOT EXISTS (
        SELECT FROM fulfillment.orders AS f JOIN canonical_orders AS o ON o.id = f.order_id
         WHERE f.order_id = p.order_id AND f.digital_delivered AND NOT o.is_sent AND p.payment_intent = ANY (o.intents))
   AND p.captured_minor > coalesce((
        SELECT sum(r.amount_minor) FROM refunds.refunds AS r
         WHERE r.payment_intent = p.payment_intent
           AND (r.state = 'succeeded'
                OR r.state IN ('approved', 'submitted') AND r.id IN (SELECT refund_id FROM refunds.put_off))), 0)
       + coalesce((
        SELECT sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END)
          FROM refunds.disputes AS d WHERE d.payment_intent = p.payment_intent AND d.state = 'lost'), 0)
   AND NOT EXISTS (
        SELECT FROM refunds.disputes AS d
         WHERE d.payment_intent = p.payment_intent AND d.state IN ('inquiry', 'open', 'under_review'))
   AND NOT EXISTS (
        SELECT FROM refunds.disputes AS d JOIN fulfillment.orders AS f ON f.order_id = d.order_id
         WHERE d.order_id = p.order_id AND f.digital_delivered)  -- how much goes back a person says
   AND NOT EXISTS (SELECT FROM given_back AS g WHERE g.order_id = p.order_id AND p.settles)  -- as of shipping, or a fee
   AND NOT EXISTS (SELECT FROM checkout.orders AS o WHERE o.id = p.order_id AND o.held_reason IS NOT NULL);

-- name: I36_nobody_can_pay_what_has_ended
-- meaning: no intent of a saved method is open, and nothing authorized, once its order has ended or is paid
-- when: quiescence
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.payment_intents WHERE order_ref IS NOT NULL
SELECT i.id
  FROM stripe_truth.payment_intents AS i
  JOIN checkout.orders AS o ON o.id = i.order_ref AND o.saved_method IS NOT NULL
 WHERE i.status IN ('requires_payment_method', 'requires_confirmation', 'requires_action', 'requires_capture')
   AND o.state IN ('canceled', 'expired', 'settlement_failed', 'paid');

-- name: I37_store_credit_within_grants
-- meaning: no grant is used for more than it is, and its sums equal what orders use of it and what its statement says
-- when: always
-- examined: SELECT count(*) FROM checkout.store_credit_grants
SELECT g.id
  FROM checkout.store_credit_grants AS g
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(u.amount_minor) FILTER (WHERE u.state = 'reserved'), 0) AS reserved,
              coalesce(sum(u.amount_minor) FILTER (WHERE u.state = 'spent'), 0) AS spent
         FROM checkout.store_credit_uses AS u
        WHERE u.grant_id = g.id
  ) AS u
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(CASE WHEN e.kind IN ('granted', 'released') THEN e.amount_minor
                                WHEN e.kind IN ('reserved', 'expired') THEN -e.amount_minor END), 0) AS available
         FROM checkout.store_credit_entries AS e
        WHERE e.grant_id = g.id
  ) AS e
 WHERE g.reserved_minor + g.spent_minor + g.expired_minor > g.amount_minor
    OR g.reserved_minor <> u.reserved
    OR g.spent_minor <> u.spent
    OR e.available <> g.amount_minor - g.reserved_minor - g.spent_minor - g.expired_minor;

-- name: I38_tenders_sum_to_total
-- meaning: captured payments and store credit of a paid order sum to its total, unless a mismatch waits for a person or was judged; and where there was nothing to pay a use of its coupon is spent on it
-- when: quiescence
-- examined: SELECT count(*) FROM checkout.orders WHERE state = 'paid'
-- Credit that went back with an order which was paid is counted as refunds are: it was a tender of it.
SELECT o.id
  FROM canonical_orders AS o
 WHERE o.state = 'paid' AND o.held_reason IS NULL AND NOT o.dishonoured
   AND o.total_minor <> coalesce((
        SELECT sum(p.captured_minor) FROM refunds.payments AS p
         WHERE p.order_id = o.id AND p.payment_intent = ANY (o.intents)), 0)
     + coalesce((
        SELECT sum(u.amount_minor) FROM checkout.store_credit_uses AS u WHERE u.order_id = o.id AND u.state = 'spent'), 0)
     + CASE WHEN o.store_credit_state = 'released' THEN o.store_credit_minor ELSE 0 END
   AND NOT EXISTS (SELECT FROM checkout.order_facts AS f WHERE f.order_id = o.id AND f.kind = 'HoldEnded')
 UNION ALL
SELECT o.id
  FROM checkout.orders AS o
 WHERE o.state = 'paid' AND o.total_minor = 0
   AND NOT EXISTS (SELECT FROM checkout.coupon_redemptions AS r
                    WHERE r.order_id = o.id AND r.code = o.coupon AND r.state = 'redeemed');

-- name: I39_store_credit_as_its_order
-- meaning: what an order uses of store credit is what it says, its buyer's and in its currency, reserved only while it is open, spent only when it is paid, and entered so
-- when: always
-- examined: SELECT count(*) FROM checkout.orders WHERE store_credit_minor > 0
SELECT o.id
  FROM checkout.orders AS o
  LEFT JOIN checkout.store_credit_uses AS u ON u.order_id = o.id
 WHERE o.store_credit_minor > 0
 GROUP BY o.id
HAVING coalesce(sum(u.amount_minor) FILTER (WHERE u.state <> 'released'), 0)
       <> CASE WHEN o.store_credit_state = 'released' THEN 0 ELSE o.store_credit_minor END
    OR coalesce(bool_or(u.state <> o.store_credit_state AND u.state <> 'released'), false)
    OR (o.store_credit_state = 'reserved' AND o.state NOT IN ('pending', 'declined', 'processing'))
    OR (o.store_credit_state = 'spent' AND (o.state <> 'paid' OR o.dishonoured))
 UNION ALL
SELECT u.order_id
  FROM checkout.store_credit_uses AS u
  JOIN checkout.orders AS o ON o.id = u.order_id
  JOIN checkout.store_credit_grants AS g ON g.id = u.grant_id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(CASE e.kind WHEN 'reserved' THEN e.amount_minor
                                       WHEN 'released' THEN -e.amount_minor END), 0) AS kept,
              bool_or(e.customer_subject <> g.customer_subject) AS strange
         FROM checkout.store_credit_entries AS e
        WHERE e.grant_id = u.grant_id AND e.order_id = u.order_id
  ) AS e
 WHERE o.store_credit_minor = 0
    OR g.customer_subject IS DISTINCT FROM o.customer_subject
    OR g.currency <> o.currency
    OR e.strange
    OR e.kept <> CASE WHEN u.state = 'released' THEN 0 ELSE u.amount_minor END;

-- name: I40_digital_goods_are_delivered
-- meaning: what is not sent of a paid order that is honoured, and neither held nor disputed, is delivered, unless refunds took all that out, and its buyer sees that it is, and nothing else as delivered
-- when: quiescence
-- examined: SELECT count(*) FROM canonical_orders WHERE paid_family AND has_digital
SELECT o.id
  FROM canonical_orders AS o
  LEFT JOIN fulfillment.orders AS f ON f.order_id = o.id
 WHERE (o.has_digital AND o.status IN ('paid', 'fulfilled', 'partially_refunded')
        AND NOT o.dishonoured AND o.held_reason IS NULL AND f.digital_delivered IS NOT TRUE
        AND NOT EXISTS (SELECT FROM taken_out AS t
                         WHERE t.order_id = o.id AND t.digital AND o.status = 'partially_refunded')
        AND NOT EXISTS (SELECT FROM refunds.disputes AS d WHERE d.order_id = o.id AND d.state NOT IN ('won', 'closed')))
    OR (o.digital_delivered_at IS NOT NULL) IS DISTINCT FROM coalesce(f.digital_delivered, false);

-- name: I41_parcel_holds_what_is_sent
-- meaning: a live shipment holds what is sent of its order, a bundle in its parts, but for what was taken out of it, and nothing else
-- when: always
-- examined: SELECT count(*) FROM fulfillment.shipments WHERE state <> 'canceled'
SELECT f.id
  FROM fulfillment.shipments AS f
  JOIN checkout.orders AS o ON o.id = f.order_id
 CROSS JOIN LATERAL (
       SELECT coalesce(jsonb_object_agg(g.sku, g.quantity), '{}') AS goods
         FROM (
              SELECT coalesce(p.key, l ->> 'sku') AS sku, sum((l ->> 'quantity')::int * coalesce(p.value::int, 1)) AS quantity
                FROM jsonb_array_elements(o.lines) AS l
                LEFT JOIN LATERAL jsonb_each_text(l -> 'parts') AS p ON true
               WHERE NOT CASE WHEN p.key IS NULL THEN coalesce((l ->> 'digital')::boolean, false)
                              ELSE coalesce(l -> 'digital_parts' ? p.key, false) END
               GROUP BY 1
         ) AS g
  ) AS sold
 CROSS JOIN LATERAL (
       SELECT coalesce(jsonb_object_agg(g.sku, g.quantity), '{}') AS goods
         FROM (
              SELECT coalesce(l ->> 'sku', '') AS sku, sum((l ->> 'quantity')::int) AS quantity
                FROM fulfillment.shipments AS s, jsonb_array_elements(s.lines) AS l
               WHERE s.order_id = f.order_id AND (s.state <> 'canceled' OR sold.goods ? (l ->> 'sku'))
               GROUP BY 1
         ) AS g
  ) AS packed
 WHERE f.state <> 'canceled' AND packed.goods <> sold.goods;

-- name: I42_refunds_pay_their_request
-- meaning: the refunds of a request sum to it, and what requests of an order give back of its bill never exceeds the bill, share by share
-- when: always
-- examined: SELECT count(*) FROM refunds.requests
SELECT q.id
  FROM refunds.requests AS q
 WHERE q.amount_minor <> (SELECT sum(r.amount_minor) FROM refunds.refunds AS r WHERE r.request_id = q.id)
UNION
SELECT o.order_id
  FROM refunds.orders AS o
  JOIN refunds.requests AS q ON q.order_id = o.order_id
 WHERE o.bill IS NOT NULL
   AND NOT EXISTS (SELECT FROM refunds.refunds AS r
                    WHERE r.request_id = q.id AND r.state IN ('failed', 'canceled', 'rejected'))
 GROUP BY o.order_id
HAVING sum(q.goods_minor) > (o.bill ->> 'subtotal_minor')::bigint - (o.bill ->> 'discount_minor')::bigint
    OR sum(q.tax_minor) > (o.bill ->> 'tax_minor')::bigint
    OR sum(q.shipping_minor) > (o.bill ->> 'shipping_minor')::bigint;

-- name: I43_store_credit_for_refunds
-- meaning: each refund to store credit that succeeded is one grant of its amount, each grant for a refund has its refund, and of credit that went back by itself nothing is refunded as well
-- when: quiescence
-- examined: SELECT count(*) FROM refunds.refunds WHERE destination = 'store_credit'
SELECT coalesce('ref_' || replace(r.id::text, '-', ''), g.reference) AS id
  FROM (SELECT * FROM refunds.refunds WHERE destination = 'store_credit') AS r
  FULL JOIN (SELECT * FROM checkout.store_credit_grants WHERE source = 'refund') AS g
    ON g.reference = 'ref_' || replace(r.id::text, '-', '')
 WHERE (g.id IS NULL AND r.state = 'succeeded')
    OR (g.id IS NOT NULL AND r.state IS DISTINCT FROM 'succeeded')
    OR g.amount_minor <> r.amount_minor
    OR g.currency <> r.currency
UNION ALL
SELECT o.id::text
  FROM checkout.orders AS o
 WHERE o.store_credit_state = 'released'
   AND EXISTS (SELECT FROM refunds.refunds AS r
                WHERE r.order_id = o.id AND r.payment_intent IS NULL
                  AND r.state NOT IN ('failed', 'canceled', 'rejected'))
UNION ALL
SELECT k.order_id::text
  FROM refunds.orders AS k
 WHERE k.credit_released
   AND NOT EXISTS (SELECT FROM checkout.orders AS o WHERE o.id = k.order_id AND o.store_credit_state = 'released');

-- name: I44_disputes_cap_refunds
-- meaning: no refund that is still to be paid, or was asked for after a loss, stands beside a lost dispute without room for it; what Stripe's dashboard pays is its own
-- when: always
-- examined: SELECT count(*) FROM refunds.disputes WHERE state = 'lost'
SELECT p.payment_intent
  FROM refunds.payments AS p
 CROSS JOIN LATERAL (
       SELECT sum(CASE WHEN d.currency = p.currency THEN d.amount_minor ELSE p.captured_minor END) AS lost_minor,
              min(d.closed_at) AS lost_at
         FROM refunds.disputes AS d
        WHERE d.payment_intent = p.payment_intent AND d.state = 'lost'
  ) AS l
  JOIN refunds.refunds AS r ON r.payment_intent = p.payment_intent AND r.state NOT IN ('rejected', 'failed', 'canceled')
  JOIN refunds.requests AS q ON q.id = r.request_id
 WHERE l.lost_minor > 0
 GROUP BY p.payment_intent, p.captured_minor, l.lost_minor
HAVING sum(r.amount_minor) + l.lost_minor > p.captured_minor
   AND bool_or(q.origin <> 'stripe' AND (r.state IN ('awaiting_approval', 'approved') OR q.created_at > l.lost_at));

-- name: I45_dispute_state_is_last_transition
-- meaning: a dispute is in the state of its last transition, and each of these starts where the one before ended
-- when: always
-- examined: SELECT count(*) FROM refunds.disputes
SELECT d.id
  FROM refunds.disputes AS d
 WHERE d.state IS DISTINCT FROM (
        SELECT t.to_state FROM refunds.dispute_transitions AS t WHERE t.dispute_id = d.id ORDER BY t.id DESC LIMIT 1)
 UNION
SELECT dispute_id FROM (
    SELECT dispute_id, from_state, lag(to_state) OVER (PARTITION BY dispute_id ORDER BY id) AS before
      FROM refunds.dispute_transitions
) AS t
 WHERE before IS DISTINCT FROM from_state;

-- name: I46_disputes_equal_stripe
-- meaning: our disputes and Stripe's are the same set, and of a payment that is known the order is known
-- when: quiescence
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.disputes
SELECT coalesce(d.id, t.id) AS id
  FROM refunds.disputes AS d
  FULL JOIN stripe_truth.disputes AS t ON t.id = d.id
 WHERE d.id IS NULL
    OR t.id IS NULL
    OR d.stripe_status <> t.status
    OR d.amount_minor <> t.amount
    OR d.currency <> t.currency
    OR (d.order_id IS NULL AND EXISTS (SELECT FROM refunds.payments AS p WHERE p.payment_intent = d.payment_intent));

-- name: I47_nothing_ships_while_disputed
-- meaning: no parcel left after fulfillment had heard of a dispute and before it heard that it was won, and none waits for an order whose dispute was lost
-- when: always
-- examined: SELECT count(*) FROM fulfillment.shipments
-- A message waits two seconds at most for the lock of its order, and is recorded as of the time before.
SELECT s.id
  FROM fulfillment.shipments AS s
  JOIN fulfillment.shipment_transitions AS t ON t.shipment_id = s.id AND t.to_state = 'shipped'
  JOIN refunds.disputes AS d ON d.order_id = s.order_id
  JOIN refunds.payments AS p ON p.payment_intent = d.payment_intent AND p.settles
 CROSS JOIN LATERAL (
       SELECT max(o.seq) FILTER (WHERE o.type <> 'dispute.won.v1' AND i.processed_at < t.at - interval '5 seconds') AS taken,
              max(o.seq) FILTER (WHERE o.type = 'dispute.won.v1' AND i.processed_at < t.at) AS won
         FROM refunds.outbox AS o
         JOIN fulfillment.inbox AS i ON i.day = o.day AND i.message_id = o.message_id
        WHERE o.partition_key = 'ord_' || replace(s.order_id::text, '-', '')
          AND o.type IN ('dispute.opened.v1', 'dispute.won.v1', 'dispute.lost.v1')
          AND convert_from(o.body, 'UTF8')::jsonb -> 'data' ->> 'dispute_id' = d.id
  ) AS heard
 WHERE heard.taken > coalesce(heard.won, 0)
 UNION
SELECT s.id
  FROM fulfillment.shipments AS s
  JOIN fulfillment.orders AS o ON o.order_id = s.order_id
 CROSS JOIN LATERAL jsonb_array_elements(o.disputes) AS d
 WHERE s.state = 'created' AND d ->> 'outcome' = 'lost' AND o.goods -> 'payment_intents' ? (d ->> 'payment_intent');

-- name: I48_put_off_may_still_go
-- meaning: what is put off was agreed to and has not ended, and what a person took back after it was agreed to was never handed to Stripe, nor to checkout for store credit
-- when: always
-- examined: SELECT count(*) FROM refunds.refunds
SELECT r.id
  FROM refunds.refunds AS r
 WHERE r.id IN (SELECT refund_id FROM refunds.put_off) AND r.state NOT IN ('approved', 'submitted')
 UNION
SELECT r.id
  FROM refunds.refunds AS r
  JOIN refunds.refund_transitions AS t ON t.refund_id = r.id
 WHERE t.from_state = 'approved' AND t.to_state = 'canceled' AND t.actor IS NOT NULL
   AND (r.first_submitted_at IS NOT NULL OR r.stripe_refund_id IS NOT NULL);

-- name: I49_taken_back_stays_here
-- meaning: what a person took back after it was agreed to, Stripe never gave back under its name
-- when: always
-- needs: truth
-- examined: SELECT count(*) FROM stripe_truth.refunds WHERE refund_request_id IS NOT NULL
SELECT s.id
  FROM stripe_truth.refunds AS s
  JOIN refunds.refund_transitions AS t ON 'ref_' || replace(t.refund_id::text, '-', '') = s.refund_request_id
 WHERE t.from_state = 'approved' AND t.to_state = 'canceled' AND t.actor IS NOT NULL
   AND s.status NOT IN ('failed', 'canceled');

-- name: I50_promotion_code_limit
-- meaning: no use of a promotion code is taken beyond the limit that the code has; one that was limited to less than it had been used keeps its uses, and is used no more
-- when: always
-- examined: SELECT count(*) FROM checkout.coupon_redemptions WHERE promotion IS NOT NULL
-- A use takes the code below its limit up to it at most: where there are more, all are older than the limit. What is
-- honoured without a use left is none.
SELECT p.code
  FROM checkout.promotion_codes AS p
  JOIN checkout.coupon_redemptions AS r ON r.promotion = p.code AND r.state IN ('held', 'redeemed')
  JOIN checkout.orders AS o ON o.id = r.order_id
 WHERE p.max_redemptions IS NOT NULL
 GROUP BY p.code
HAVING count(*) > p.max_redemptions AND max(o.created_at) > p.limited_at;

-- name: I51_coupon_customer_limit
-- meaning: no customer, by his address or by his subject, takes a use of a coupon beyond what one may have; who had more when that was limited keeps them, and takes no more
-- when: always
-- examined: SELECT count(*) FROM checkout.coupons AS c JOIN checkout.coupon_redemptions AS r USING (code) WHERE c.per_customer IS NOT NULL
-- As above. Each use was counted with those of its own address and of its own subject, so each of the two is within the
-- limit; who is one by the address here and by the subject there may have more by both together.
SELECT c.code, max(o.id::text) AS newest
  FROM checkout.coupons AS c
  JOIN checkout.coupon_redemptions AS r ON r.code = c.code AND r.state IN ('held', 'redeemed')
  JOIN checkout.orders AS o ON o.id = r.order_id
 CROSS JOIN LATERAL (VALUES ('address', r.email), ('subject', r.customer_subject)) AS u (known_by, customer)
 WHERE c.per_customer IS NOT NULL AND u.customer IS NOT NULL
 GROUP BY c.code, u.known_by, u.customer
HAVING count(*) > c.per_customer AND max(o.created_at) > c.limited_at;

-- name: I52_coupon_use_as_its_order
-- meaning: each order with a coupon has one use of it, by no code but one of that coupon: held while it is open, redeemed or honoured once it is paid, released when it has ended or its money must go back
-- when: always
-- examined: SELECT count(*) FROM checkout.coupon_redemptions
-- A use that was given back is not taken again before money is here: one whose order is on its way after all stays released.
SELECT o.id
  FROM checkout.orders AS o
  LEFT JOIN checkout.coupon_redemptions AS r ON r.order_id = o.id
  LEFT JOIN checkout.promotion_codes AS p ON p.code = r.promotion
 WHERE r.code IS DISTINCT FROM o.coupon
    OR p.coupon <> r.code
    OR NOT CASE WHEN o.state IN ('pending', 'declined') THEN r.state = 'held'
                WHEN o.state = 'processing' THEN r.state IN ('held', 'released')
                WHEN o.state = 'paid' AND NOT o.dishonoured THEN r.state IN ('redeemed', 'honoured')
                ELSE r.state = 'released' END;
