-- name: paid
SELECT count(*) = cardinality($1::uuid[])
  FROM refunds.orders AS o
 WHERE o.order_id = ANY ($1) AND o.bill IS NOT NULL
   AND EXISTS (SELECT FROM refunds.payments AS p WHERE p.order_id = o.order_id);

-- name: disputed
SELECT EXISTS (SELECT FROM refunds.disputes WHERE order_id = $1);

-- name: dealt
-- Orders whose money went back, one that is disputed, one that is lost to the bank, one that is not sent, one that expired.
SELECT NOT EXISTS (
           SELECT FROM unnest($1::uuid[]) AS back (order_id)
             LEFT JOIN refunds.refunds AS r ON r.order_id = back.order_id
            WHERE r.state IS DISTINCT FROM 'succeeded')
   AND EXISTS (SELECT FROM refunds.disputes WHERE order_id = $2 AND state <> 'lost')
   AND EXISTS (SELECT FROM refunds.disputes WHERE order_id = $3 AND state = 'lost')
   AND EXISTS (SELECT FROM fulfillment.orders WHERE order_id = $4 AND digital_delivered)
   AND EXISTS (SELECT FROM checkout.orders WHERE id = $5 AND state = 'expired');

-- name: returned
SELECT bool_and(EXISTS (
           SELECT FROM refunds.refunds AS r
            WHERE r.order_id = back.order_id AND r.destination = 'original' AND r.state = 'succeeded'))
  FROM unnest($1::uuid[]) AS back (order_id);
