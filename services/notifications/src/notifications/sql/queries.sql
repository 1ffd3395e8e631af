-- name: note_order
-- ON CONFLICT: that it is paid may have been heard first.
INSERT INTO orders AS o (order_id, family, address) VALUES ($1, $2, $3)
ON CONFLICT (order_id) DO UPDATE SET family = excluded.family, address = coalesce(o.address, excluded.address)
 WHERE o.family IS NULL OR o.address IS NULL;

-- name: settle_order
-- ON CONFLICT: several facts say the same of one order.
INSERT INTO orders AS o (order_id, settled, address, settled_at) VALUES ($1, true, $2, now())
ON CONFLICT (order_id) DO UPDATE
   SET settled = true, address = coalesce(o.address, excluded.address), settled_at = coalesce(o.settled_at, now());

-- name: lock_order
-- Of two facts of one order that are heard at once, the second sees what the first made.
SELECT pg_advisory_xact_lock(hashtextextended('order ' || $1, 0));

-- name: is_invited
SELECT EXISTS (SELECT FROM mails WHERE order_id = $1 AND kind = ANY($2::text[]) AND state <> 'suppressed')
    OR EXISTS (SELECT FROM orders AS it
                 JOIN orders AS o USING (family)
                 JOIN mails AS m ON m.order_id = o.order_id
                WHERE it.order_id = $1 AND m.kind = ANY($2::text[]) AND m.state <> 'suppressed');

-- name: lock_address
-- Of two invitations to one address that are written at once, the second sees the first.
SELECT pg_advisory_xact_lock(hashtextextended('invitation ' || $1, 0));

-- name: is_invited_lately
SELECT EXISTS (SELECT FROM mails
                WHERE lower(recipient) = $1 AND kind = ANY($2::text[]) AND state <> 'suppressed'
                  AND created_at > now() - make_interval(secs => $3));

-- name: why_not_invite
-- $2: the buyer's address. `bought`: the same address paid for something since the order was first heard of.
-- `taken_up`: a younger order has its cart.
WITH it AS (SELECT order_id, family, settled, heard_at FROM orders WHERE order_id = $1)
SELECT CASE
       WHEN EXISTS (SELECT FROM suppressions WHERE address = $2) THEN 'unsubscribed'
       WHEN (SELECT settled FROM it) OR EXISTS (SELECT FROM orders AS o JOIN it USING (family) WHERE o.settled)
       THEN 'paid'
       WHEN EXISTS (SELECT FROM orders AS o, it WHERE o.address = $2 AND o.settled AND o.settled_at >= it.heard_at)
       THEN 'bought'
       WHEN EXISTS (SELECT FROM orders AS o JOIN it USING (family) WHERE o.order_id > it.order_id)
       THEN 'taken_up'
       END;

-- name: has_mail
SELECT EXISTS (SELECT FROM mails WHERE id = $1);

-- name: suppress
-- ON CONFLICT: he said so before.
INSERT INTO suppressions (address, mail_id) SELECT lower(recipient), id FROM mails WHERE id = $1
ON CONFLICT (address) DO NOTHING;

-- name: is_settled
SELECT coalesce((SELECT settled FROM orders WHERE order_id = $1), false);

-- name: insert_mail
-- ON CONFLICT: the second telling of a cause writes no second mail. Its id is made of the cause, and so is the same: an
-- index that were not named here would refuse it instead, where both are told at once.
INSERT INTO mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9,
        CASE WHEN EXISTS (SELECT FROM holds WHERE until IS NULL) THEN 'unknown' ELSE 'queued' END)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: claim_mail
-- Only one sender at a time, and none after it was settled: state and lease decide, under the row's lock. A lease that
-- ran out was a sender's who died. $2: how long a sender may take.
UPDATE mails
   SET state = 'sending', attempts = attempts + 1, lease_until = now() + make_interval(secs => $2), asked_at = now(),
       updated_at = now()
 WHERE id = $1
   AND (state = 'queued' OR (state = 'sending' AND (lease_until IS NULL OR lease_until < now())))
RETURNING id, kind, ref, order_id, recipient, message_id, subject, html, plain, state, attempts;

-- name: renew_leases
-- $2 ends the race with the next sender, who may have a mail when our lease ran out. SKIP LOCKED: it is being settled.
UPDATE mails AS m SET lease_until = now() + make_interval(secs => $3)
  FROM (SELECT id FROM mails JOIN unnest($1::uuid[], $2::int[]) AS ours (id, attempts) USING (id, attempts)
         WHERE state = 'sending' AND lease_until > clock_timestamp()
           FOR UPDATE OF mails SKIP LOCKED) AS held
 WHERE m.id = held.id;

-- name: is_taken
SELECT EXISTS (SELECT FROM taken WHERE message_id = $1);

-- name: is_unsettled
SELECT EXISTS (SELECT FROM mails WHERE id = $1 AND state IN ('queued', 'sending'));

-- name: give_back_mail
-- $2 ends the race with the next sender, who may have it when our lease ran out.
UPDATE mails SET state = 'queued', lease_until = NULL, updated_at = now()
 WHERE id = $1 AND state = 'sending' AND attempts = $2;

-- name: settle_mail
UPDATE mails SET state = $2, detail = $3, lease_until = NULL, updated_at = now()
 WHERE id = $1 AND state IN ('queued', 'sending')
RETURNING id;

-- name: lock_unsent
-- $1: longer than a command ever waits between two attempts. asked_at ends the race of a command in a retry tier with
-- the sweep.
SELECT id, kind, ref, order_id
  FROM mails
 WHERE state IN ('queued', 'sending')
   AND asked_at < now() - make_interval(secs => $1)
 ORDER BY asked_at
 LIMIT 50
   FOR UPDATE SKIP LOCKED; -- a mail that is being claimed needs no sweep

-- name: mark_asked
UPDATE mails SET asked_at = now() WHERE id = $1;
