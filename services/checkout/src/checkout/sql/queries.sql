-- name: business_now
SELECT business_now();

-- name: load_moment
-- The clock of a placement, and whether new checkouts are stopped at that moment.
SELECT business_now() AS now,
       coalesce((SELECT state = 'stopped' FROM switch_turns WHERE switch = 'checkouts' ORDER BY id DESC LIMIT 1), false)
       AS stopped;

-- name: count_requests
-- One request more for each of the subjects. The upsert takes the row's lock, so of many at once each gets a number of
-- its own; in the order of names, so that two requests of one customer from one address cannot wait in a circle. Nobody
-- waits for the disk: what a crash of the server forgets are the counts of its last second.
INSERT INTO request_counts AS c (name, subject, taken, ends_at)
SELECT name, subject, 1, now() + make_interval(secs => seconds)
  FROM unnest($1::text[], $2::text[], $3::int[]) AS asked (name, subject, seconds)
 WHERE set_config('synchronous_commit', 'off', true) = 'off'
 ORDER BY name
ON CONFLICT (name, subject) DO UPDATE
   SET taken = CASE WHEN c.ends_at > now() THEN c.taken + 1 ELSE 1 END,
       ends_at = CASE WHEN c.ends_at > now() THEN c.ends_at ELSE excluded.ends_at END
RETURNING name, taken, extract(epoch FROM ends_at - now())::float8 AS seconds_left;

-- name: forget_counts
-- SKIP LOCKED: whoever asks at this moment begins his window anew. What is locked stays at its ctid.
DELETE FROM request_counts
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM request_counts
                          WHERE ends_at < now() ORDER BY ends_at LIMIT 10000
                            FOR UPDATE SKIP LOCKED));

-- name: load_prices
-- LIMIT leaves nothing out; it tells the planner that there are few. Where it takes them for ten, a plan that is kept
-- seems dearer than one made for the cart at hand, and it makes one for each: 260 us in a shop with many articles.
WITH wanted AS MATERIALIZED (
    SELECT DISTINCT sku FROM unnest($1::text[]) AS w (sku) LIMIT cardinality($1)
)
SELECT p.sku, p.name, p.active, p.tax_code, p.digital, r.unit_amount_minor, base.unit_amount_minor AS base_amount_minor,
       coalesce(b.parts, '{}') AS parts, coalesce(b.digital_parts, '{}') AS digital_parts
  FROM wanted
  JOIN products AS p USING (sku)
  LEFT JOIN prices AS r ON r.sku = p.sku AND r.currency = $2
  LEFT JOIN prices AS base ON base.sku = p.sku AND base.currency = $3
  LEFT JOIN LATERAL (
       SELECT jsonb_object_agg(b.part, b.quantity) AS parts,
              array_agg(b.part ORDER BY b.part) FILTER (WHERE q.digital) AS digital_parts
         FROM bundle_parts AS b
         JOIN products AS q ON q.sku = b.part
        WHERE b.sku = p.sku
  ) AS b ON true;

-- name: lock_coupon
-- FOR NO KEY UPDATE ends the race for the last use. A stronger lock would wait for every transaction that wrote an order
-- of this coupon twice: the second time the server checks the foreign key, with a lock that two of them may share.
SELECT code, percent_basis_points, amounts_off, minimums, max_redemptions, per_customer, first_order_only, skus, active,
       held, redeemed, valid_from, valid_until
  FROM coupons
 WHERE code = $1
   FOR NO KEY UPDATE;

-- name: change_coupon_uses
UPDATE coupons SET held = held + $2, redeemed = redeemed + $3, updated_at = now() WHERE code = $1;

-- name: lock_first_order
-- Two coupons for a first order are two rows: the customer is what his orders have in common.
SELECT pg_advisory_xact_lock(hashtextextended('first order of ' || $1, 0));

-- name: count_uses
-- How often the customer used the coupon $1, or holds it; how often any that is for a first order; and whether he has
-- ordered before. He is the same by address or by subject. What the orders $4 hold is not counted.
WITH uses AS (
    SELECT code, promotion FROM coupon_redemptions
     WHERE state <> 'released' AND email = $2 AND order_id <> ALL($4::uuid[])
     UNION ALL
    SELECT code, promotion FROM coupon_redemptions
     WHERE state <> 'released' AND customer_subject = $3 AND email IS DISTINCT FROM $2 AND order_id <> ALL($4::uuid[])
)
SELECT (SELECT count(*) FROM uses WHERE code = $1)::int AS uses,
       (SELECT count(*) FROM uses JOIN coupons AS c USING (code) LEFT JOIN promotion_codes AS p ON p.code = promotion
         WHERE c.first_order_only OR p.first_order_only)::int AS first_order_uses,
       EXISTS (SELECT FROM orders WHERE lower(email) = $2 AND state IN ('processing', 'paid'))
       OR EXISTS (SELECT FROM orders WHERE customer_subject = $3 AND state IN ('processing', 'paid')) AS has_ordered;

-- name: codes_held_by
SELECT code, promotion FROM coupon_redemptions WHERE order_id = ANY($1::uuid[]) AND state <> 'released';

-- name: count_other_uses
-- What else the customers of these orders use the same coupon for, beside what is decided together with them ($2).
SELECT r.order_id, count(*)::int AS uses
  FROM coupon_redemptions AS r
  JOIN coupon_redemptions AS other
    ON other.code = r.code AND other.order_id <> ALL($2::uuid[]) AND other.state <> 'released'
   AND (other.email = r.email OR other.customer_subject = r.customer_subject)
 WHERE r.order_id = ANY($1::uuid[])
 GROUP BY r.order_id;

-- name: insert_redemption
INSERT INTO coupon_redemptions (order_id, code, state, email, customer_subject, promotion)
VALUES ($1, $2, 'held', $3, $4, $5);

-- name: lock_redemptions
-- FOR UPDATE: the orders are locked already, this keeps the rows' own state with them.
SELECT order_id, code, state, email, customer_subject, promotion
  FROM coupon_redemptions
 WHERE order_id = ANY($1::uuid[])
 ORDER BY order_id
   FOR UPDATE;

-- name: save_redemptions
UPDATE coupon_redemptions AS r
   SET state = s.state, updated_at = now()
  FROM unnest($1::uuid[], $2::text[]) AS s (order_id, state)
 WHERE r.order_id = s.order_id;

-- name: lock_coupons
-- As above, for many; in the order of codes, so that two batches about the same coupons cannot wait for each other.
SELECT code, percent_basis_points, amounts_off, minimums, max_redemptions, per_customer, first_order_only, skus, active,
       held, redeemed, valid_from, valid_until
  FROM coupons
 WHERE code = ANY($1::text[])
 ORDER BY code
   FOR NO KEY UPDATE;

-- name: save_coupon_uses
UPDATE coupons AS c
   SET held = s.held, redeemed = s.redeemed, updated_at = now()
  FROM unnest($1::text[], $2::int[], $3::int[]) AS s (code, held, redeemed)
 WHERE c.code = s.code;

-- name: lock_open_grants
-- What customers may use, all of it in one order everywhere, so that nobody waits in a circle. FOR NO KEY UPDATE ends the
-- race for the same credit: who comes second sees what is left; a stronger lock would wait for whoever wrote a use of it.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE customer_subject = $1 AND reserved_minor + spent_minor + expired_minor < amount_minor
 ORDER BY customer_subject, expires_at, id
   FOR NO KEY UPDATE;

-- name: open_grants
-- As above, not locked.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE customer_subject = $1 AND reserved_minor + spent_minor + expired_minor < amount_minor;

-- name: lock_grants_of_orders
-- What the orders $2 use, and what else their customers $1 may use, in the same order as above.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE customer_subject = ANY($1::text[])
   AND (reserved_minor + spent_minor + expired_minor < amount_minor
        OR id = ANY(ARRAY(SELECT grant_id FROM store_credit_uses WHERE order_id = ANY($2::uuid[]))))
 ORDER BY customer_subject, expires_at, id
   FOR NO KEY UPDATE;

-- name: uses_of_orders
-- Their orders' locks guard them.
SELECT order_id, grant_id, amount_minor, state FROM store_credit_uses WHERE order_id = ANY($1::uuid[]);

-- name: save_grants
UPDATE store_credit_grants AS g
   SET reserved_minor = s.reserved, spent_minor = s.spent, expired_minor = s.expired
  FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[]) AS s (id, reserved, spent, expired)
 WHERE g.id = s.id;

-- name: save_credit_uses
INSERT INTO store_credit_uses (order_id, grant_id, amount_minor, state)
SELECT order_id, grant_id, amount_minor, state
  FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[]) AS u (order_id, grant_id, amount_minor, state)
ON CONFLICT (order_id, grant_id) DO UPDATE
   SET amount_minor = excluded.amount_minor, state = excluded.state, updated_at = now();

-- name: enter_credit
INSERT INTO store_credit_entries (id, customer_subject, grant_id, order_id, kind, amount_minor, at)
SELECT id, customer_subject, grant_id, order_id, kind, amount_minor, business_now()
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::text[], $6::bigint[])
       AS e (id, customer_subject, grant_id, order_id, kind, amount_minor);

-- name: lock_administrator
-- $1: whoever gives. Of two grants of his at once, at whichever processes, the second sees what the first came to. It is
-- taken before anything else of a grant is, so there is no circle.
SELECT pg_advisory_xact_lock(hashtextextended('grants of ' || $1, 0));

-- name: given_within
-- What the administrator $1 gave in the currency $2 within $3, whatever has become of it. It begins once he is locked.
SELECT coalesce(sum(amount_minor), 0)::bigint
  FROM store_credit_grants
 WHERE source = 'admin' AND granted_by = $1 AND currency = $2 AND created_at > business_now() - $3::interval;

-- name: insert_grant
-- Given twice under one reference it is given once, also by two at the same moment.
INSERT INTO store_credit_grants (id, customer_subject, currency, amount_minor, expires_at, source, reference, note,
                                 granted_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (source, reference) DO NOTHING
RETURNING id;

-- name: load_grant_by_reference
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE source = $1 AND reference = $2;

-- name: list_grants
-- The newest first.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE customer_subject = $1
 ORDER BY id DESC
 LIMIT $2;

-- name: credit_in_use
-- What makes a customer's balances.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE customer_subject = $1
   AND (reserved_minor > 0 OR reserved_minor + spent_minor + expired_minor < amount_minor);

-- name: list_credit_entries
-- A page after the entry $2, or the first one.
SELECT e.id, e.kind, g.currency, e.amount_minor, e.grant_id, e.order_id, g.source, e.at
  FROM store_credit_entries AS e
  JOIN store_credit_grants AS g ON g.id = e.grant_id
 WHERE e.customer_subject = $1 AND ($2::uuid IS NULL OR e.id < $2)
 ORDER BY e.id DESC
 LIMIT $3;

-- name: lock_expired_grants
-- What is left of grants whose time has passed. SKIP LOCKED: an order gives back to it, or uses it, at this moment; it
-- comes again.
SELECT id, customer_subject, currency, amount_minor, expires_at, source, reference, note, granted_by, created_at,
       reserved_minor, spent_minor, expired_minor
  FROM store_credit_grants
 WHERE expires_at IS NOT NULL AND expires_at <= business_now()
   AND reserved_minor + spent_minor + expired_minor < amount_minor
 ORDER BY expires_at
 LIMIT 100
   FOR NO KEY UPDATE SKIP LOCKED;

-- name: latest_rates
SELECT day, source, currency, per_euro
  FROM exchange_rates
 WHERE day = (SELECT max(day) FROM exchange_rates) AND currency = ANY($1::text[]);

-- name: insert_rates
-- What was published for a day stays as it was first seen.
INSERT INTO exchange_rates (day, source, currency, per_euro)
SELECT $1, $2, currency, per_euro FROM unnest($3::text[], $4::numeric[]) AS r (currency, per_euro)
ON CONFLICT (day, currency) DO NOTHING;

-- part: order_columns
id, state, held_reason, held_until, dishonoured, currency, subtotal_minor, discount_minor, tax_minor,
       shipping_minor, total_minor, coupon, lines, email, customer_subject, locale, token_hash, stripe_request,
       stripe_attempt, stripe_session_id, stripe_session_url, stripe_payment_intent, shipment_id, shipment_status,
       refunds, expires_at, paid_at, version, created_at, session_asked_at,
       exchange, presentment, recovered_from, payment_problem,
       tax, shipping, saved_method, retry_seconds, retry_attempt, retry_at,
       store_credit_minor, store_credit_state, split, split_open, digital_delivered_at, traceparent

-- name: insert_order
-- The new order as it is now, with the beginning of its history.
WITH placed AS (
    INSERT INTO orders (id, currency, subtotal_minor, discount_minor, total_minor, coupon, lines, email,
                        customer_subject, locale, token_hash, stripe_request, expires_at, exchange, lease_until,
                        recovered_from, tax_minor, shipping_minor, tax, shipping, saved_method, retry_seconds,
                        store_credit_minor, store_credit_state, split, split_open, traceparent)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now() + make_interval(secs => $15), $16,
            $17, $18, $19, $20, $21, $22, $23, CASE WHEN $23::bigint > 0 THEN 'reserved' END, $24, $25, $26)
    RETURNING *
), begun AS (
    INSERT INTO order_transitions (order_id, from_state, to_state) SELECT id, NULL, state FROM placed
)
SELECT {order_columns}
  FROM placed;

-- name: load_order
SELECT {order_columns}
  FROM orders
 WHERE id = $1;

-- name: list_orders_of_customer
-- A page after the order $2, or the first one. A stranger's order makes an empty page: nothing is before it.
SELECT {order_columns}
  FROM orders
 WHERE customer_subject = $1
   AND ($2::uuid IS NULL
        OR (created_at, id) < (SELECT created_at, id FROM orders WHERE id = $2 AND customer_subject = $1))
 ORDER BY created_at DESC, id DESC
 LIMIT $3;

-- name: lock_order
-- FOR UPDATE ends the race of two facts, or of a fact and a request, about one order.
SELECT {order_columns}
  FROM orders
 WHERE id = $1
   FOR UPDATE;

-- name: lock_orders
-- As above, for many; in the order of ids, so that two batches about the same orders cannot wait for each other.
SELECT {order_columns}
  FROM orders
 WHERE id = ANY($1::uuid[])
 ORDER BY id
   FOR UPDATE;

-- name: list_recoveries
-- The orders that take up $1 again, the oldest first.
SELECT id FROM orders WHERE recovered_from = $1 ORDER BY id;

-- name: find_orders_by_stripe
-- The orders whose stored session or intent one of these is.
SELECT id FROM orders WHERE stripe_session_id = ANY($1::text[]) OR stripe_payment_intent = ANY($2::text[]);

-- name: save_ledger
-- The orders are locked since they were read, so what is written is what was read and then changed; their locks guard
-- their facts, and what was said of them, as well. One statement: a batch of facts waits for the server once.
-- Whoever follows the orders, in any process, hears of it when it is committed.
-- An attempt that is opened and closed by the same facts is only ever closed.
WITH saved AS (
    UPDATE orders AS o
       SET state = s.state, held_reason = s.held_reason, held_until = s.held_until, dishonoured = s.dishonoured,
           tax_minor = s.tax_minor, shipping_minor = s.shipping_minor, total_minor = s.total_minor,
           stripe_session_id = s.stripe_session_id, stripe_payment_intent = s.stripe_payment_intent,
           paid_at = s.paid_at, shipment_id = s.shipment_id, shipment_status = s.shipment_status,
           refunds = s.refunds::jsonb, presentment = s.presentment::jsonb, version = s.version,
           payment_problem = s.payment_problem, shipping = s.shipping::jsonb, tax = s.tax::jsonb,
           retry_attempt = s.retry_attempt, retry_at = s.retry_at,
           store_credit_state = s.store_credit_state, split = s.split::jsonb, split_open = s.split_open,
           digital_delivered_at = s.digital_delivered_at,
           updated_at = now()
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::boolean[], $6::bigint[], $7::bigint[],
                  $8::bigint[], $9::text[], $10::text[], $11::timestamptz[], $12::uuid[], $13::text[], $14::text[],
                  $15::text[], $16::int[], $30::text[], $31::text[], $32::text[], $33::int[],
                  $34::timestamptz[], $35::text[], $36::text[], $37::boolean[], $38::timestamptz[])
           AS s (id, state, held_reason, held_until, dishonoured, tax_minor, shipping_minor, total_minor,
                 stripe_session_id, stripe_payment_intent, paid_at, shipment_id, shipment_status, refunds, presentment,
                 version, payment_problem, shipping, tax, retry_attempt, retry_at,
                 store_credit_state, split, split_open, digital_delivered_at)
     WHERE o.id = s.id
    RETURNING pg_notify('checkout_orders', o.id::text)
), learned AS (
    INSERT INTO order_facts (order_id, key, kind, data)
    SELECT order_id, key, kind, data::jsonb
      FROM unnest($17::uuid[], $18::text[], $19::text[], $20::text[])
           WITH ORDINALITY AS f (order_id, key, kind, data, position)
     ORDER BY position
), said AS (
    INSERT INTO order_announcements (order_id, key, message_id)
    SELECT order_id, key, message_id FROM unnest($21::uuid[], $22::text[], $23::uuid[]) AS a (order_id, key, message_id)
), moved AS (
    INSERT INTO order_transitions (order_id, from_state, to_state)
    SELECT order_id, from_state, to_state
      FROM unnest($24::uuid[], $25::text[], $26::text[])
           WITH ORDINALITY AS m (order_id, from_state, to_state, position)
     ORDER BY position
), opened AS (
    INSERT INTO payment_attempts (id, order_id, open)
    SELECT id, order_id, order_id <> ALL($29::uuid[]) FROM unnest($27::text[], $28::uuid[]) AS a (id, order_id)
    ON CONFLICT (id) DO NOTHING
)
UPDATE payment_attempts SET open = false WHERE order_id = ANY($29::uuid[]) AND open;

-- name: store_session
-- The slot is filled once; a second session never replaces the first. Whoever follows the order hears of it, and the row
-- is locked until the transaction ends. ON CONFLICT: an event may have adopted the session before its answer arrived.
WITH stored AS (
    UPDATE orders
       SET stripe_session_id = $2, stripe_session_url = coalesce($3, stripe_session_url), version = version + 1,
           updated_at = now()
     WHERE id = $1 AND (stripe_session_id IS NULL OR stripe_session_id = $2)
    RETURNING *
), opened AS (
    INSERT INTO payment_attempts (id, order_id) SELECT stripe_session_id, id FROM stored ON CONFLICT (id) DO NOTHING
)
SELECT {order_columns}
  FROM stored, pg_notify('checkout_orders', stored.id::text);

-- name: bump_stripe_attempt
UPDATE orders SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: load_history
-- The clock; then what is known of the orders, in the order of its arrival; then what was said of them.
SELECT business_now() AS now, NULL::uuid AS order_id, NULL::text AS key, NULL::text AS kind, NULL::jsonb AS data,
       0 AS position
 UNION ALL
SELECT NULL, order_id, key, kind, data, id FROM order_facts WHERE order_id = ANY($1::uuid[])
 UNION ALL
SELECT NULL, order_id, key, NULL, NULL, NULL FROM order_announcements WHERE order_id = ANY($1::uuid[])
 ORDER BY position NULLS LAST;

-- name: list_unfinished
-- Orders whose session, or charge, was never confirmed and whose lease ran out.
SELECT id FROM orders
 WHERE state = 'pending' AND stripe_session_id IS NULL AND stripe_payment_intent IS NULL AND lease_until < now()
 ORDER BY lease_until
 LIMIT 50;

-- name: list_retries
-- Orders whose saved method is to be charged again by now, and that nobody works on. What failed was given back last, and
-- comes last: fifty that always fail keep no other waiting.
SELECT id FROM orders
 WHERE retry_at <= business_now() AND lease_until < now()
 ORDER BY lease_until
 LIMIT 50;

-- name: list_open_splits
-- Payments with two methods that are neither made nor released, and that nobody works on.
SELECT id FROM orders
 WHERE split_open AND stripe_payment_intent IS NOT NULL AND lease_until < now()
 ORDER BY lease_until
 LIMIT 50;

-- name: mark_leg
-- Nothing more is asked for where what is authorized is released: somebody wants the order to end since it was read. What
-- may exist from now on is looked after until it is known.
UPDATE orders
   SET split = jsonb_set(split, ARRAY['legs', $2, 'asked'], to_jsonb($3::boolean)), split_open = split_open OR $3
 WHERE id = $1 AND NOT ($3 AND (split ->> 'releasing')::boolean);

-- name: lease_order
-- Take the work on one order over, unless somebody else has it.
-- SKIP LOCKED: somebody decides about it at this moment, and may want the key of its request next, which a repeat of that
-- request holds here.
UPDATE orders SET lease_until = now() + make_interval(secs => $2)
 WHERE id = (SELECT id FROM orders WHERE id = $1 AND lease_until < now() FOR UPDATE SKIP LOCKED)
RETURNING id;

-- name: renew_leases
-- The work goes on. An order that moved on has no work left, and is not written to. A lease that ran out or was given
-- back stays so: clock_timestamp(), since now() may lie before the moment when it was.
-- SKIP LOCKED: somebody decides about it at this moment, and the next renewal is a second away.
UPDATE orders AS o SET lease_until = now() + make_interval(secs => $2)
  FROM (SELECT id FROM orders
         WHERE id = ANY($1::uuid[]) AND state IN ('pending', 'declined', 'processing') AND stripe_session_id IS NULL
           AND lease_until > clock_timestamp()
           FOR UPDATE SKIP LOCKED) AS held
 WHERE o.id = held.id;

-- name: end_lease
-- The work is given back: whoever asks next goes on at once.
UPDATE orders SET lease_until = now() WHERE id = $1 AND stripe_session_id IS NULL;

-- name: mark_session_asked
UPDATE orders SET session_asked_at = coalesce(session_asked_at, now()) WHERE id = $1 RETURNING session_asked_at;

-- name: list_waiting
-- A page of the orders that should have been heard of by now, those that wait longest first: after the one with the id
-- $4 that was touched at $3, or the first one. $1, $2: how long is too long, and for money that is on its way.
-- lapsed: Stripe should have closed the session, and had time enough to do it. An intent is closed by us. Between two
-- charges of a saved method nothing happens at Stripe; payments with two methods are looked after by themselves.
SELECT id, stripe_session_id, stripe_payment_intent, expires_at < business_now() - interval '5 minutes' AS lapsed,
       updated_at
  FROM orders
 WHERE state IN ('pending', 'declined', 'processing')
   AND (stripe_session_id IS NOT NULL OR stripe_payment_intent IS NOT NULL) AND retry_at IS NULL AND split IS NULL
   AND created_at < business_now() - make_interval(secs => $1)
   AND updated_at < business_now() - make_interval(secs => CASE state WHEN 'processing' THEN $2::float8 ELSE $1 END)
   AND ($3::timestamptz IS NULL OR (updated_at, id) > ($3, $4::uuid))
 ORDER BY updated_at, id
 LIMIT $5;

-- name: touch_order
-- The order was asked after.
UPDATE orders SET updated_at = business_now() WHERE id = $1;

-- name: list_lapsed_holds
-- Suspicions have no deadline, also where a quarantine before them had one.
SELECT id FROM orders WHERE held_reason IN ('amount_mismatch', 'currency_mismatch') AND held_until < business_now() ORDER BY held_until LIMIT 100;

-- name: put_product
INSERT INTO products (sku, name, description, image, active, tax_code, digital) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (sku) DO UPDATE
   SET name = excluded.name, description = excluded.description, image = excluded.image, active = excluded.active,
       tax_code = excluded.tax_code, digital = excluded.digital, updated_at = now();

-- name: lock_bundles
-- Who changes what bundles consist of takes turns: that none is part of another is a rule of all rows together.
SELECT pg_advisory_xact_lock(hashtextextended('bundles', 0));

-- name: bundles_among
-- Those of $1 that are bundles; and $2 where it is part of one.
SELECT DISTINCT sku FROM bundle_parts WHERE sku = ANY($1::text[])
 UNION ALL
SELECT DISTINCT part FROM bundle_parts WHERE part = $2;

-- name: unknown_products
SELECT sku FROM unnest($1::text[]) AS given (sku) WHERE NOT EXISTS (SELECT FROM products AS p WHERE p.sku = given.sku);

-- name: clear_parts
DELETE FROM bundle_parts WHERE sku = $1;

-- name: put_parts
INSERT INTO bundle_parts (sku, part, quantity)
SELECT $1, part, quantity FROM unnest($2::text[], $3::int[]) AS b (part, quantity);

-- name: clear_prices
DELETE FROM prices WHERE sku = $1;

-- name: put_prices
INSERT INTO prices (sku, currency, unit_amount_minor)
SELECT $1, currency, amount FROM unnest($2::text[], $3::bigint[]) AS p (currency, amount);

-- name: list_products
SELECT p.sku, p.name, p.description, p.image, p.active, p.tax_code, p.digital,
       coalesce(jsonb_object_agg(r.currency, r.unit_amount_minor) FILTER (WHERE r.sku IS NOT NULL), '{}') AS prices,
       coalesce((SELECT jsonb_object_agg(part, quantity) FROM bundle_parts AS b WHERE b.sku = p.sku), '{}') AS parts
  FROM products AS p
  LEFT JOIN prices AS r USING (sku)
 GROUP BY p.sku
 ORDER BY p.name;

-- name: put_coupon
INSERT INTO coupons (code, percent_basis_points, amounts_off, minimums, max_redemptions, per_customer,
                     first_order_only, skus, active, valid_from, valid_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (code) DO UPDATE
   SET percent_basis_points = excluded.percent_basis_points, amounts_off = excluded.amounts_off,
       minimums = excluded.minimums, max_redemptions = excluded.max_redemptions,
       per_customer = excluded.per_customer, first_order_only = excluded.first_order_only, skus = excluded.skus,
       active = excluded.active, valid_from = excluded.valid_from, valid_until = excluded.valid_until, updated_at = now();

-- name: load_coupon
SELECT code, percent_basis_points, amounts_off, minimums, max_redemptions, per_customer, first_order_only, skus, active,
       held, redeemed, valid_from, valid_until
  FROM coupons
 WHERE code = $1;

-- name: forget_imports
-- Whoever began them has gone.
WITH forgotten AS (
    UPDATE catalog_imports SET outcome = 'discarded', ended_at = now()
     WHERE outcome IS NULL AND started_at < now() - interval '1 day'
    RETURNING id
)
DELETE FROM catalog_import_rows WHERE import_id IN (SELECT id FROM forgotten);

-- name: begin_import
INSERT INTO catalog_imports (id, actor, file, columns) VALUES ($1, $2, $3, $4);

-- name: lock_import
SELECT i.id, i.actor, i.columns, i.refused, i.outcome,
       (SELECT count(*) FROM catalog_import_rows AS r WHERE r.import_id = i.id)::int AS rows
  FROM catalog_imports AS i
 WHERE i.id = $1
   FOR UPDATE;

-- name: places_of_skus
SELECT sku, position FROM catalog_import_rows WHERE import_id = $1 AND sku = ANY($2::text[]);

-- name: clear_import_rows
DELETE FROM catalog_import_rows WHERE import_id = $1 AND position = ANY($2::int[]);

-- name: put_import_rows
INSERT INTO catalog_import_rows (import_id, position, sku, name, description, image, active, tax_code, digital, prices,
                                 parts)
SELECT $1, r.*
  FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::boolean[], $8::text[], $9::boolean[],
              $10::jsonb[], $11::jsonb[]) AS r;

-- name: wrong_parts
-- As the catalogue would be with the file: a bundle that the file names consists of what it says, any other of what it
-- consists of now.
WITH file AS (
    SELECT position, sku, parts, parts <> '{}' AS is_bundle FROM catalog_import_rows WHERE import_id = $1
), given AS (
    SELECT f.position, p.part FROM file AS f, jsonb_object_keys(f.parts) AS p (part) WHERE f.is_bundle
)
SELECT g.position, 'unknown' AS kind, g.part
  FROM given AS g
 WHERE NOT EXISTS (SELECT FROM file AS f WHERE f.sku = g.part)
   AND NOT EXISTS (SELECT FROM products AS p WHERE p.sku = g.part)
 UNION ALL
SELECT g.position, 'nested', g.part
  FROM given AS g
  LEFT JOIN file AS f ON f.sku = g.part
 WHERE coalesce(f.is_bundle, EXISTS (SELECT FROM bundle_parts AS b WHERE b.sku = g.part))
 UNION ALL
SELECT f.position, 'inside', b.sku
  FROM file AS f
  JOIN bundle_parts AS b ON b.part = f.sku
 WHERE f.is_bundle AND NOT EXISTS (SELECT FROM file AS other WHERE other.sku = b.sku)
 ORDER BY position, part
 LIMIT $2;

-- name: count_refused_rows
UPDATE catalog_imports SET refused = refused + $2 WHERE id = $1;

-- name: compare_import
SELECT count(*) FILTER (WHERE p.sku IS NULL)::int AS created,
       count(*) FILTER (WHERE p.sku IS NOT NULL AND p.is_same IS NOT TRUE)::int AS changed,
       count(*) FILTER (WHERE p.is_same)::int AS unchanged
  FROM catalog_imports AS i
  JOIN catalog_import_rows AS r ON r.import_id = i.id
  LEFT JOIN LATERAL (
       SELECT o.sku,
              (o.name, o.description, o.image, o.active) = (r.name, r.description, r.image, r.active)
              AND o.tax_code IS NOT DISTINCT FROM r.tax_code
              AND (o.digital = r.digital OR 'digital' <> ALL(i.columns))
              AND CASE WHEN 'parts' = ANY(i.columns) THEN r.parts = coalesce(
                  (SELECT jsonb_object_agg(part, quantity) FROM bundle_parts AS b WHERE b.sku = o.sku), '{}'
              ) ELSE true END
              AND r.prices = coalesce(
                  (SELECT jsonb_object_agg(currency, unit_amount_minor) FROM prices WHERE prices.sku = o.sku), '{}'
              ) AS is_same
         FROM products AS o
        WHERE o.sku = r.sku
  ) AS p ON true
 WHERE i.id = $1;

-- name: import_products
-- In the order of their SKUs: two imports wait for each other in one direction only. What is sent and what is not stays
-- so where the file has no such column.
INSERT INTO products AS p (sku, name, description, image, active, tax_code, digital)
SELECT r.sku, r.name, r.description, r.image, r.active, r.tax_code,
       CASE WHEN 'digital' = ANY(i.columns) THEN r.digital ELSE coalesce(o.digital, false) END
  FROM catalog_imports AS i
  JOIN catalog_import_rows AS r ON r.import_id = i.id
  LEFT JOIN products AS o ON o.sku = r.sku
 WHERE i.id = $1
 ORDER BY r.sku
ON CONFLICT (sku) DO UPDATE
   SET name = excluded.name, description = excluded.description, image = excluded.image, active = excluded.active,
       tax_code = excluded.tax_code, digital = excluded.digital, updated_at = now()
 WHERE (p.name, p.description, p.image, p.active, p.tax_code, p.digital)
       IS DISTINCT FROM (excluded.name, excluded.description, excluded.image, excluded.active, excluded.tax_code,
                         excluded.digital);

-- name: clear_imported_prices
DELETE FROM prices AS p
 USING catalog_import_rows AS r
 WHERE r.import_id = $1 AND p.sku = r.sku AND NOT r.prices ? p.currency;

-- name: import_prices
INSERT INTO prices AS p (sku, currency, unit_amount_minor)
SELECT r.sku, given.key, given.value::bigint
  FROM catalog_import_rows AS r, jsonb_each_text(r.prices) AS given
 WHERE r.import_id = $1
 ORDER BY r.sku, given.key
ON CONFLICT (sku, currency) DO UPDATE SET unit_amount_minor = excluded.unit_amount_minor
 WHERE p.unit_amount_minor <> excluded.unit_amount_minor;

-- name: clear_imported_parts
DELETE FROM bundle_parts AS b
 USING catalog_import_rows AS r
 WHERE r.import_id = $1 AND b.sku = r.sku AND NOT r.parts ? b.part;

-- name: import_parts
INSERT INTO bundle_parts AS b (sku, part, quantity)
SELECT r.sku, given.key, given.value::int
  FROM catalog_import_rows AS r, jsonb_each_text(r.parts) AS given
 WHERE r.import_id = $1 AND r.parts <> '{}'
 ORDER BY r.sku, given.key
ON CONFLICT (sku, part) DO UPDATE SET quantity = excluded.quantity
 WHERE b.quantity <> excluded.quantity;

-- name: end_import
WITH ended AS (
    UPDATE catalog_imports
       SET outcome = $2, created = $3, changed = $4, unchanged = $5, ended_at = now()
     WHERE id = $1
)
DELETE FROM catalog_import_rows WHERE import_id = $1;

-- name: insert_customer
INSERT INTO customers (id, subject, livemode, email) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING; -- of two first requests at once one makes the row, both go on with it; the id is the same, too

-- name: renew_customer_email
-- Not before he is at Stripe: until then the address is part of the request that its key stands for.
UPDATE customers SET email = $3, email_version = email_version + 1
 WHERE subject = $1 AND livemode = $2 AND stripe_customer_id IS NOT NULL AND email IS DISTINCT FROM $3;

-- name: list_renewed_customers
SELECT id, stripe_customer_id, email, email_version
  FROM customers
 WHERE told_version < email_version AND livemode = $1 AND stripe_customer_id IS NOT NULL
 ORDER BY id
 LIMIT $2;

-- name: mark_customer_told
-- An address that was renewed meanwhile has a higher number, and is told of next.
UPDATE customers SET told_version = $2 WHERE id = $1 AND told_version < $2;

-- name: load_customer
SELECT id, email, stripe_attempt, stripe_customer_id, default_method, asked_at,
       coalesce(asked_at < business_now() - make_interval(secs => $3), false) AS asked_long_ago
  FROM customers
 WHERE subject = $1 AND livemode = $2;

-- name: keep_stripe_customer
-- The slot is filled once, and not with a customer that was forgotten meanwhile.
UPDATE customers SET stripe_customer_id = coalesce(stripe_customer_id, $3)
 WHERE id = $1 AND stripe_attempt = $2
RETURNING stripe_customer_id;

-- name: mark_customer_asked
-- $3 is what was seen: of several who ask again at once, one renews the time and all go on with it.
UPDATE customers SET asked_at = CASE WHEN asked_at IS NOT DISTINCT FROM $3 THEN business_now() ELSE asked_at END
 WHERE id = $1 AND stripe_attempt = $2
RETURNING asked_at;

-- name: bump_customer_attempt
UPDATE customers SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: drop_customer_email
UPDATE customers SET email = NULL, stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: subject_of_stripe_customer
SELECT subject FROM customers WHERE stripe_customer_id = $1;

-- name: forget_stripe_customer
-- He is gone at Stripe, with all that he saved; the next need makes another.
WITH forgotten AS (
    UPDATE customers
       SET stripe_customer_id = NULL, default_method = NULL, stripe_attempt = stripe_attempt + 1,
           asked_at = NULL, told_version = email_version -- he is made anew with his newest address
     WHERE stripe_customer_id = $1
    RETURNING id
)
UPDATE payment_methods
   SET detached = true, type = NULL, brand = NULL, last4 = NULL, exp_month = NULL, exp_year = NULL, bank_name = NULL,
       wallet = NULL, added_at = NULL, label = NULL, updated_at = now()
 WHERE stripe_customer_id = $1 AND NOT detached AND EXISTS (SELECT FROM forgotten);

-- name: choose_method
UPDATE customers AS c SET default_method = m.id
  FROM payment_methods AS m
 WHERE c.subject = $1 AND c.livemode = $2
   AND m.id = $3 AND m.stripe_customer_id = c.stripe_customer_id AND NOT m.detached
RETURNING c.id;

-- name: label_method
UPDATE payment_methods AS m SET label = $4, updated_at = now()
  FROM customers AS c
 WHERE c.subject = $1 AND c.livemode = $2
   AND m.id = $3 AND m.stripe_customer_id = c.stripe_customer_id AND NOT m.detached
RETURNING m.id;

-- name: list_methods
SELECT id, stripe_customer_id AS customer, type, brand, last4, exp_month, exp_year, bank_name, wallet, added_at,
       detached, label, asked, answered
  FROM payment_methods
 WHERE stripe_customer_id = $1 AND NOT detached;

-- name: list_last_charges
-- How each method was charged last, among the hundred newest orders of its owner.
SELECT DISTINCT ON (saved_method) saved_method AS method_id, state = 'paid' AS succeeded, created_at AS at
  FROM (SELECT saved_method, state, payment_problem, created_at
          FROM orders
         WHERE customer_subject = $1
         ORDER BY created_at DESC
         LIMIT 100) AS newest
 WHERE saved_method IS NOT NULL AND (state = 'paid' OR payment_problem IS NOT NULL)
 ORDER BY saved_method, created_at DESC;

-- name: load_method
SELECT id, stripe_customer_id AS customer, type, brand, last4, exp_month, exp_year, bank_name, wallet, added_at,
       detached, label, asked, answered
  FROM payment_methods
 WHERE id = $1;

-- name: lock_method
-- Ends the race of two events about a method that is not known yet, of which there is no row to lock.
SELECT pg_advisory_xact_lock(hashtextextended('payment method ' || $1, 0));

-- name: save_method
-- Its lock is held since it was read. The label is its owner's, and goes only with the method.
INSERT INTO payment_methods AS m (id, stripe_customer_id, type, brand, last4, exp_month, exp_year, bank_name, wallet,
                                  added_at, detached, asked, answered)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (id) DO UPDATE
   SET stripe_customer_id = excluded.stripe_customer_id, type = excluded.type, brand = excluded.brand,
       last4 = excluded.last4, exp_month = excluded.exp_month, exp_year = excluded.exp_year,
       bank_name = excluded.bank_name, wallet = excluded.wallet, added_at = excluded.added_at,
       detached = excluded.detached, asked = excluded.asked, answered = excluded.answered,
       label = CASE WHEN excluded.detached THEN NULL ELSE m.label END, updated_at = now();

-- name: list_expiring
-- Cards that are good until the end of one of these months, whose owners were not told so; a page after the card $3.
SELECT m.id AS method_id, c.stripe_customer_id, c.email, c.default_method
  FROM payment_methods AS m
  JOIN customers AS c USING (stripe_customer_id)
 WHERE NOT m.detached AND m.exp_year * 12 + m.exp_month = ANY($1::int[]) AND m.id > $3
   AND m.expiry_told IS DISTINCT FROM m.exp_year * 12 + m.exp_month
   AND c.livemode = $2 AND c.email IS NOT NULL
 ORDER BY m.id
 LIMIT 100;

-- name: mark_expiry_told
UPDATE payment_methods SET expiry_told = $2
 WHERE id = $1 AND NOT detached AND expiry_told IS DISTINCT FROM $2
RETURNING id;

-- name: forget_additions
DELETE FROM method_additions
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM method_additions
                          WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2
                            FOR UPDATE SKIP LOCKED));

-- name: insert_addition
INSERT INTO method_additions (id, stripe_request) VALUES ($1, $2)
ON CONFLICT (id) DO NOTHING; -- whoever repeats a request asks for what was asked for first

-- name: load_addition
SELECT id, stripe_request, stripe_attempt FROM method_additions WHERE id = $1;

-- name: bump_addition_attempt
UPDATE method_additions SET stripe_attempt = stripe_attempt + 1 WHERE id = $1 AND stripe_attempt = $2;

-- name: active_shipping_options
SELECT code, name, amounts, free_above, countries, days_min, days_max, tax_code, active
  FROM shipping_options
 WHERE active
 ORDER BY code;

-- name: list_shipping_options
SELECT code, name, amounts, free_above, countries, days_min, days_max, tax_code, active
  FROM shipping_options
 ORDER BY code;

-- name: put_shipping_option
INSERT INTO shipping_options (code, name, amounts, free_above, countries, days_min, days_max, tax_code, active)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (code) DO UPDATE
   SET name = excluded.name, amounts = excluded.amounts, free_above = excluded.free_above,
       countries = excluded.countries, days_min = excluded.days_min, days_max = excluded.days_max,
       tax_code = excluded.tax_code, active = excluded.active, updated_at = now();

-- name: tax_rates_in
SELECT country, region, tax_code, name, rate_millionths, inclusive
  FROM tax_rates
 WHERE country = $1
 ORDER BY region, tax_code;

-- name: list_tax_rates
SELECT country, region, tax_code, name, rate_millionths, inclusive
  FROM tax_rates
 ORDER BY country, region NULLS FIRST, tax_code NULLS FIRST;

-- name: lock_tax_rates
-- Two people who replace the rates of one country at once: the later one wins as a whole.
SELECT pg_advisory_xact_lock(hashtextextended('tax rates of ' || $1, 0));

-- name: clear_tax_rates
DELETE FROM tax_rates WHERE country = $1;

-- name: insert_tax_rates
INSERT INTO tax_rates (country, region, tax_code, name, rate_millionths, inclusive)
SELECT $1, region, tax_code, name, rate_millionths, inclusive
  FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::boolean[])
       AS r (region, tax_code, name, rate_millionths, inclusive);

-- name: coupon_of_promotion
SELECT coupon FROM promotion_codes WHERE code = $1;

-- name: load_promotions
SELECT p.code, p.coupon, p.active, p.max_redemptions, p.first_order_only, p.minimums, p.email, p.customer_subject,
       p.valid_until,
       (SELECT count(*) FROM coupon_redemptions AS r
         WHERE r.promotion = p.code AND r.state IN ('held', 'redeemed'))::int AS uses
  FROM promotion_codes AS p
 WHERE p.code = ANY($1::text[]);

-- name: promotions_of_coupon
SELECT p.code, p.coupon, p.active, p.max_redemptions, p.first_order_only, p.minimums, p.email, p.customer_subject,
       p.valid_until,
       (SELECT count(*) FROM coupon_redemptions AS r
         WHERE r.promotion = p.code AND r.state IN ('held', 'redeemed'))::int AS uses
  FROM promotion_codes AS p
 WHERE p.coupon = $1
 ORDER BY p.code;

-- name: lock_code
-- Coupons and promotion codes are two tables, and a code that is typed must mean one thing.
SELECT pg_advisory_xact_lock(hashtextextended('code ' || $1, 0));

-- name: put_promotion
INSERT INTO promotion_codes AS p (code, coupon, active, max_redemptions, first_order_only, minimums, email,
                                  customer_subject, valid_until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (code) DO UPDATE
   SET active = excluded.active, max_redemptions = excluded.max_redemptions,
       first_order_only = excluded.first_order_only, minimums = excluded.minimums, email = excluded.email,
       customer_subject = excluded.customer_subject, valid_until = excluded.valid_until, updated_at = now();

-- name: promotion_of_order
SELECT promotion FROM coupon_redemptions WHERE order_id = $1;

-- name: keep_risks
-- What two events say of one thing is one decision.
INSERT INTO order_risks (order_id, key, gate, outcome, reasons, detail)
SELECT order_id, key, gate, outcome, reasons::jsonb, detail::jsonb
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       WITH ORDINALITY AS r (order_id, key, gate, outcome, reasons, detail, position)
 ORDER BY position
ON CONFLICT (order_id, key) DO NOTHING
RETURNING gate, outcome;

-- name: list_risks
SELECT at, gate, outcome, reasons, detail FROM order_risks WHERE order_id = $1 ORDER BY id;

-- name: measure_held
-- How many are held for each reason, and for how many seconds the one that waits longest for a person: not those that a
-- review rejected, nor those whose money is on its way back.
SELECT o.held_reason, count(*)::int AS orders,
       coalesce(extract(epoch FROM now() - min(
         (SELECT min(a.at) FROM order_announcements AS a
           WHERE a.order_id = o.id AND (a.key = 'held' OR a.key LIKE 'held:%') AND o.held_reason <> 'review_rejected'
             AND NOT EXISTS (SELECT FROM order_announcements AS b
                              WHERE b.order_id = a.order_id
                                AND (b.key = 'un' || a.key OR b.key LIKE 'refund_due:%:early_fraud_warning'
                                     OR b.key LIKE 'refund_due:%:canceled_order'))))), 0)::float8 AS undecided_seconds
  FROM orders AS o
 WHERE o.held_reason IS NOT NULL
 GROUP BY o.held_reason;

-- name: insert_attempts
-- What is told twice was tried once: the first word stands.
INSERT INTO card_attempts (charge, order_id, declined, card, address, email, subject, at)
SELECT charge, a.order_id, declined, card, o.address, email, subject, least(at, business_now())
  FROM unnest($1::text[], $2::uuid[], $3::boolean[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
       WITH ORDINALITY AS a (charge, order_id, declined, card, email, subject, at, position)
  LEFT JOIN order_origins AS o ON o.order_id = a.order_id
 ORDER BY position
ON CONFLICT (charge) DO NOTHING
RETURNING charge;

-- name: tally_attempts
-- For each declined one of the charges $1: what was declined for its order, and in a window of $2 to $6 seconds for its
-- address, with how many cards there, for its buyer, with how many cards at all, and for its card. Those of $1 that stand
-- after it are not counted, as if each had come alone.
SELECT t.charge, t.address, t.email, t.subject, t.card,
       (SELECT count(*) FROM card_attempts AS x
         WHERE x.order_id = t.order_id AND x.declined AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS order_declines,
       (SELECT count(*) FROM card_attempts AS x
         WHERE x.address = t.address AND x.declined AND x.at > business_now() - make_interval(secs => $2)
           AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS address_declines,
       (SELECT count(DISTINCT x.card) FROM card_attempts AS x
         WHERE x.address = t.address AND x.declined AND x.at > business_now() - make_interval(secs => $3)
           AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS address_cards,
       (SELECT count(*) FROM card_attempts AS x
         WHERE (x.subject = t.subject
                OR x.email = t.email AND x.address = t.address AND x.subject IS NULL AND t.subject IS NULL)
           AND x.declined AND x.at > business_now() - make_interval(secs => $4)
           AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS buyer_declines,
       (SELECT count(DISTINCT x.card) FROM card_attempts AS x
         WHERE (x.subject = t.subject
                OR x.email = t.email AND x.address = t.address AND x.subject IS NULL AND t.subject IS NULL)
           AND x.at > business_now() - make_interval(secs => $5)
           AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS buyer_cards,
       (SELECT count(*) FROM card_attempts AS x
         WHERE x.card = t.card AND x.declined AND x.at > business_now() - make_interval(secs => $6)
           AND x.charge <> ALL(($1::text[])[given.position::int + 1:])
       )::int AS card_declines
  FROM unnest($1::text[]) WITH ORDINALITY AS given (charge, position)
  JOIN card_attempts AS t USING (charge)
 WHERE t.declined
 ORDER BY given.position;

-- name: block_marks
-- In the order of marks, so that two batches about the same buyers cannot wait for each other. The longer block stands,
-- and of two that end together the later one.
INSERT INTO velocity_blocks AS b (mark, until, order_id, rule)
SELECT DISTINCT ON (mark) mark, business_now() + make_interval(secs => seconds), order_id, rule
  FROM unnest($1::text[], $2::int[], $3::uuid[], $4::text[])
       WITH ORDINALITY AS m (mark, seconds, order_id, rule, position)
 ORDER BY mark, seconds DESC, position DESC
ON CONFLICT (mark) DO UPDATE
   SET until = excluded.until, order_id = excluded.order_id, rule = excluded.rule
 WHERE b.until < excluded.until;

-- name: find_blocks
SELECT mark, rule, extract(epoch FROM until - business_now())::float8 AS seconds_left
  FROM velocity_blocks
 WHERE mark = ANY($1::text[]) AND until > business_now();

-- name: lock_openings
-- Of several orders at once of one customer, or of guests at one address, each sees those before it.
SELECT pg_advisory_xact_lock(hashtextextended('open orders of ' || $1, 0));

-- name: count_open_of_customer
-- No page lives for longer than a day. An order is made by the server's clock and expires by that of business. One that
-- cost nothing takes its room for as long as if it still waited.
SELECT count(*)::int
  FROM orders
 WHERE customer_subject = $1 AND created_at > now() - interval '1 day'
   AND (state = 'pending' OR state = 'paid' AND total_minor = 0) AND expires_at > business_now();

-- name: count_open_at_address
-- Those of guests alone: who is signed in is himself, wherever he is. Of the guest with the address $2 himself, and of all.
SELECT count(*) FILTER (WHERE lower(o.email) = $2)::int AS of_buyer, count(*)::int AS of_address
  FROM order_origins AS f
  JOIN orders AS o ON o.id = f.order_id
 WHERE f.address = $1 AND f.placed_at > business_now() - interval '1 day'
   AND o.customer_subject IS NULL AND (o.state = 'pending' OR o.state = 'paid' AND o.total_minor = 0)
   AND o.expires_at > business_now();

-- name: has_paid
-- Who took something that cost nothing has shown no card.
SELECT EXISTS (SELECT FROM orders WHERE customer_subject = $1 AND state = 'paid' AND total_minor > 0);

-- name: insert_origin
INSERT INTO order_origins (order_id, address, placed_at) VALUES ($1, $2, business_now());

-- name: forget_attempts
DELETE FROM card_attempts
 WHERE charge = ANY (ARRAY(SELECT charge FROM card_attempts
                            WHERE at < business_now() - make_interval(secs => $1) ORDER BY at LIMIT 10000
                              FOR UPDATE SKIP LOCKED));

-- name: forget_origins
DELETE FROM order_origins
 WHERE order_id = ANY (ARRAY(SELECT order_id FROM order_origins
                              WHERE placed_at < business_now() - make_interval(secs => $1)
                              ORDER BY placed_at LIMIT 10000
                                FOR UPDATE SKIP LOCKED));

-- name: forget_blocks
-- SKIP LOCKED: who is blocked anew at this moment stays so, and two that forget never wait in a circle.
DELETE FROM velocity_blocks
 WHERE mark = ANY (ARRAY(SELECT mark FROM velocity_blocks
                          WHERE until < business_now() ORDER BY until LIMIT 10000
                            FOR UPDATE SKIP LOCKED))
   AND until < business_now();

-- name: standing_of_customer
-- By his subject alone, whatever address he and others type.
SELECT (SELECT count(*) FROM card_attempts
         WHERE subject = $1 AND declined AND at > business_now() - make_interval(secs => $3))::int AS declines,
       EXISTS (SELECT FROM orders WHERE customer_subject = $2 AND state IN ('processing', 'paid') AND total_minor > 0)
       AS has_ordered;

-- name: standing_of_guest
-- By his e-mail address at the address $2 from where he asks. Where that is not known he has no orders: anybody may have
-- typed what he types; of declines with it anybody's count.
SELECT (SELECT count(*) FROM card_attempts
         WHERE email = $1 AND subject IS NULL AND address IS NOT DISTINCT FROM $2 AND declined
           AND at > business_now() - make_interval(secs => $4))::int AS declines,
       EXISTS (SELECT FROM order_origins AS g
                 JOIN orders AS o ON o.id = g.order_id
                WHERE g.address = $2 AND lower(o.email) = $3 AND o.customer_subject IS NULL
                  AND o.state IN ('processing', 'paid') AND o.total_minor > 0) AS has_ordered;

-- name: list_unknown_orders
SELECT asked.id FROM unnest($1::uuid[]) AS asked (id) WHERE NOT EXISTS (SELECT FROM orders AS o WHERE o.id = asked.id);

-- name: list_lost_payments
SELECT payment_intent, order_id FROM lost_payments WHERE order_id = ANY ($1::uuid[]);

-- name: give_back_lost_payment
-- ON CONFLICT: two who give the same payment back at once are one.
INSERT INTO lost_payments (payment_intent, order_id, amount_minor, currency, actor, reason)
VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT DO NOTHING
RETURNING payment_intent;
