-- name: pay_orders
-- Orders of the run $1 that were paid by one capture of $3 minor units each.
WITH made AS (
    INSERT INTO refunds.orders (order_id, customer, paid, bill)
    SELECT md5($1::text || n)::uuid, jsonb_build_object('email', $1::text || n || '@example.com'), true,
           jsonb_build_object('currency', 'usd', 'subtotal_minor', $3::bigint, 'discount_minor', 0, 'tax_minor', 0,
                              'shipping_minor', 0, 'total_minor', $3::bigint, 'store_credit_minor', 0,
                              'paid_at', payments.business_now(),
                              'lines', jsonb_build_array(jsonb_build_object('sku', 'MUG', 'name', 'Mug', 'quantity', 1,
                                  'amount_minor', $3::bigint, 'goods', jsonb_build_array(jsonb_build_array('MUG', 1)))))
      FROM generate_series(1, $2::int) AS n
    RETURNING order_id
)
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor, settles)
SELECT 'pi_' || replace(order_id::text, '-', ''), order_id, 'usd', $3::bigint, true FROM made;

-- name: plain_table
CREATE TABLE refunds.plain (id uuid PRIMARY KEY, payment_intent text NOT NULL, amount_minor bigint NOT NULL);

-- name: plain_lock
SELECT captured_minor FROM refunds.payments WHERE payment_intent = $1 FOR UPDATE;

-- name: plain_sum
SELECT coalesce(sum(amount_minor), 0) FROM refunds.plain WHERE payment_intent = $1;

-- name: plain_insert
INSERT INTO refunds.plain (id, payment_intent, amount_minor) VALUES (gen_random_uuid(), $1, $2);

-- name: spent
SELECT coalesce(sum(r.amount_minor), 0)::bigint
  FROM refunds.refunds AS r
  JOIN refunds.orders AS o ON o.order_id = r.order_id
 WHERE o.customer ->> 'email' LIKE $1::text || '%' AND r.state NOT IN ('failed', 'canceled', 'rejected');
