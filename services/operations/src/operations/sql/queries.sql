-- name: keep_dead_letter
-- A message that fails again after a replay opens its own row anew; a redelivery of one failure changes nothing.
INSERT INTO dead_letters AS d (id, message_id, service, queue, type, correlation_id, reason, fingerprint, exception_type,
                               exception_message, handler, stack, attempts, first_failed_at, last_failed_at, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (id) DO UPDATE -- ends the race of two deliveries of one dead letter
   SET status = 'open', reason = excluded.reason, fingerprint = excluded.fingerprint,
       exception_type = excluded.exception_type, exception_message = excluded.exception_message,
       handler = excluded.handler, stack = excluded.stack, attempts = excluded.attempts, failures = d.failures + 1,
       last_failed_at = excluded.last_failed_at, headers = excluded.headers, body = excluded.body,
       replay_id = NULL, lease_until = NULL, updated_at = now()
 WHERE excluded.last_failed_at > d.last_failed_at;

-- name: keep_attempt
INSERT INTO dead_letter_attempts (dead_letter_id, failed_at, reason, exception_type) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING; -- a redelivery of one failure

-- name: summary
SELECT service, type, reason, status, count(*)::int AS messages, min(last_failed_at) AS oldest, max(last_failed_at) AS newest
  FROM dead_letters
 WHERE status IN ('open', 'replaying') OR $1
 GROUP BY service, type, reason, status
 ORDER BY service, type, reason, status;

-- name: list_dead_letters
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at
  FROM dead_letters
 WHERE ($1::text IS NULL OR service = $1)
   AND ($2::text IS NULL OR type = $2)
   AND ($3::text IS NULL OR status = $3)
   AND ($4::text IS NULL OR fingerprint = $4)
 ORDER BY last_failed_at DESC
 LIMIT $5;

-- name: show_dead_letter
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at, stack, headers, body
  FROM dead_letters
 WHERE id = $1;

-- name: list_attempts
SELECT failed_at, reason, exception_type FROM dead_letter_attempts WHERE dead_letter_id = $1 ORDER BY failed_at;

-- name: list_audit
SELECT action, actor, reason, replay_id, at FROM dead_letter_audit WHERE dead_letter_id = $1 ORDER BY id;

-- name: claim_replay
-- One outstanding replay per message: whoever changes the status first has it. A claim whose lease ran out is free.
UPDATE dead_letters
   SET status = 'replaying', replay_id = $2, lease_until = now() + make_interval(secs => $3), updated_at = now()
 WHERE id = $1 AND (status = 'open' OR (status = 'replaying' AND lease_until < now()))
RETURNING id, message_id, service, queue, type, correlation_id, headers, body;

-- name: give_back_replay
UPDATE dead_letters SET status = 'open', replay_id = NULL, lease_until = NULL, updated_at = now()
 WHERE id = $1 AND replay_id = $2 AND status = 'replaying';

-- name: resolve
UPDATE dead_letters SET status = 'resolved', lease_until = NULL, updated_at = now()
 WHERE id = $1 AND status <> 'resolved'
RETURNING id;

-- name: insert_audit
INSERT INTO dead_letter_audit (dead_letter_id, action, actor, reason, replay_id) VALUES ($1, $2, $3, $4, $5);

-- name: count_open
SELECT service, count(*)::int AS messages FROM dead_letters WHERE status IN ('open', 'replaying') GROUP BY service;

-- name: insert_timeline
INSERT INTO timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING; -- a redelivery on another day

-- name: order_timeline
SELECT message_id, type, source, subject, causation_id, time, data
  FROM timeline
 WHERE order_ref = $1
 ORDER BY time, received_at;

-- name: order_dead_letters
SELECT id, service, type, status, reason, last_failed_at FROM dead_letters WHERE correlation_id = $1 ORDER BY last_failed_at;
