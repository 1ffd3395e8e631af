-- name: settle_order
-- ON CONFLICT: several facts say the same of one order.
INSERT INTO orders (order_id, settled) VALUES ($1, true)
ON CONFLICT (order_id) DO UPDATE SET settled = true;

-- name: is_settled
SELECT coalesce((SELECT settled FROM orders WHERE order_id = $1), false);

-- name: insert_mail
-- ON CONFLICT: the second telling of a cause writes no second mail.
INSERT INTO mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (kind, ref) DO NOTHING
RETURNING id;

-- name: claim_mail
-- Only one sender at a time, and none after it was settled: the state decides, under the row's lock.
UPDATE mails SET state = 'sending', attempts = attempts + 1, updated_at = now()
 WHERE id = $1 AND state IN ('queued', 'sending')
RETURNING id, kind, ref, order_id, recipient, message_id, subject, html, plain, state;

-- name: settle_mail
UPDATE mails SET state = $2, detail = $3, updated_at = now() WHERE id = $1 AND state IN ('queued', 'sending');

-- name: list_unsent
SELECT id, kind, ref, order_id
  FROM mails
 WHERE state IN ('queued', 'sending') AND updated_at < now() - make_interval(secs => $1)
 ORDER BY updated_at
 LIMIT 50
   FOR UPDATE SKIP LOCKED; -- a mail that is being sent needs no sweep

-- name: touch_mail
UPDATE mails SET updated_at = now() WHERE id = $1;
