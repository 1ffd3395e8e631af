-- name: insert_dead_letter
-- Of two deliveries of one message's failures the second waits here and finds the first's row.
INSERT INTO dead_letters (id, message_id, service, queue, type, correlation_id, reason, fingerprint, exception_type,
                          exception_message, handler, stack, attempts, first_failed_at, last_failed_at, headers, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
ON CONFLICT (id) DO NOTHING
RETURNING id;

-- name: lock_dead_letter
-- Failure, resolution and claim of one message take their turns.
SELECT id, status, replay_id, settled_at, body FROM dead_letters WHERE id = $1 FOR UPDATE;

-- name: reopen_dead_letter
-- A new failure of a known message; $2 where it stands now. What an older twin says is counted and not shown. The body
-- stays: it is the original, whatever was sent in its place.
UPDATE dead_letters AS d
   SET status = $2,
       replay_id = CASE WHEN $2 = 'replaying' THEN replay_id END,
       lease_until = CASE WHEN $2 = 'replaying' THEN lease_until END,
       settled_at = CASE WHEN $2 = 'open' THEN NULL ELSE settled_at END,
       failures = failures + 1,
       reason = CASE WHEN newer THEN $3 ELSE reason END,
       fingerprint = CASE WHEN newer THEN $4 ELSE fingerprint END,
       exception_type = CASE WHEN newer THEN $5 ELSE exception_type END,
       exception_message = CASE WHEN newer THEN $6 ELSE exception_message END,
       handler = CASE WHEN newer THEN $7 ELSE handler END,
       stack = CASE WHEN newer THEN $8 ELSE stack END,
       attempts = CASE WHEN newer THEN $9 ELSE attempts END,
       headers = CASE WHEN newer THEN $11 ELSE headers END,
       last_failed_at = greatest(last_failed_at, $10),
       kept_at = now(), updated_at = now()
  FROM (SELECT id, $10 >= last_failed_at AS newer FROM dead_letters WHERE id = $1) AS known
 WHERE d.id = known.id;

-- name: insert_attempt
-- None when the broker delivered one failure twice.
INSERT INTO dead_letter_attempts (dead_letter_id, failed_at, reason, exception_type, exception_message, replay_id, body)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
RETURNING dead_letter_id;

-- name: resolve_dead_letter
UPDATE dead_letters
   SET status = 'resolved', lease_until = NULL, settled_at = now(), updated_at = now()
 WHERE id = $1 AND status <> 'resolved'
RETURNING id;

-- name: last_answer
SELECT reason FROM dead_letter_audit WHERE dead_letter_id = $1 AND action = 'resolved' ORDER BY id DESC LIMIT 1;

-- name: summary
SELECT service, type, reason, status, count(*)::int AS messages, min(last_failed_at) AS oldest, max(last_failed_at) AS newest
  FROM dead_letters
 WHERE status IN ('open', 'replaying') OR $1
 GROUP BY service, type, reason, status
 ORDER BY service, type, reason, status;

-- name: unsettled
-- By service, most open first; counted from the index alone.
SELECT service,
       (count(*) FILTER (WHERE status = 'open'))::int AS open,
       (count(*) FILTER (WHERE status = 'replaying'))::int AS replaying,
       min(last_failed_at) AS oldest, max(last_failed_at) AS newest
  FROM dead_letters
 WHERE status IN ('open', 'replaying')
 GROUP BY service
 ORDER BY open DESC, service;

-- name: groups
-- By what failed; the largest first. The exception's text is of the latest failure.
WITH counted AS (
    SELECT service, type, fingerprint,
           (count(*) FILTER (WHERE status = 'open'))::int AS open,
           (count(*) FILTER (WHERE status = 'replaying'))::int AS replaying,
           min(coalesce(first_failed_at, last_failed_at)) AS first_failed_at,
           max(last_failed_at) AS last_failed_at
      FROM dead_letters
     WHERE status IN ('open', 'replaying')
       AND ($1::text IS NULL OR service = $1)
       AND ($2::text IS NULL OR type = $2)
     GROUP BY service, type, fingerprint
     ORDER BY count(*) DESC, service, type, fingerprint
     LIMIT 1000
)
SELECT g.service, g.type, g.fingerprint, latest.reason, latest.exception_type, latest.exception_message,
       g.open, g.replaying, g.first_failed_at, g.last_failed_at
  FROM counted AS g
 CROSS JOIN LATERAL (
        SELECT d.reason, d.exception_type, d.exception_message
          FROM dead_letters AS d
         WHERE d.status IN ('open', 'replaying')
           AND d.service = g.service AND d.type = g.type AND d.fingerprint = g.fingerprint
         ORDER BY d.last_failed_at DESC
         LIMIT 1) AS latest
 ORDER BY g.open + g.replaying DESC, g.service, g.type, g.fingerprint;

-- name: list_dead_letters
-- A page, the latest failures first: behind ($8, $9), where the page before ended.
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at, archived_at
  FROM dead_letters
 WHERE ($1::text IS NULL OR service = $1)
   AND ($2::text IS NULL OR type = $2)
   AND ($3::text IS NULL OR status = $3)
   AND ($4::text IS NULL OR fingerprint = $4)
   AND ($5::float8 IS NULL OR last_failed_at < now() - make_interval(secs => $5))
   AND ($6::float8 IS NULL OR last_failed_at >= now() - make_interval(secs => $6))
   AND ($7::uuid[] IS NULL OR id = ANY ($7))
   AND (last_failed_at, id) < ($8::timestamptz, $9::uuid)
   AND ($11::boolean IS NULL OR (archived_at IS NOT NULL) = $11)
 ORDER BY last_failed_at DESC, id DESC
 LIMIT $10;

-- name: find_dead_letters
-- By its own id, by that of its message, or of an order. The latest failures first.
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at, archived_at
  FROM dead_letters
 WHERE id = ANY ($1::uuid[]) OR message_id = ANY ($2::text[]) OR correlation_id = $3
 ORDER BY last_failed_at DESC, id DESC
 LIMIT $4;

-- name: export_dead_letters
-- Whole, page by page in the order of their ids; $8 the last id of the page before, which is behind all zeros.
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at, stack, headers, body
  FROM dead_letters
 WHERE ($1::text IS NULL OR service = $1)
   AND ($2::text IS NULL OR type = $2)
   AND ($3::text IS NULL OR status = $3)
   AND ($4::text IS NULL OR fingerprint = $4)
   AND ($5::float8 IS NULL OR last_failed_at < now() - make_interval(secs => $5))
   AND ($6::float8 IS NULL OR last_failed_at >= now() - make_interval(secs => $6))
   AND ($7::uuid[] IS NULL OR id = ANY ($7))
   AND id > $8
 ORDER BY id
 LIMIT $9;

-- name: show_dead_letter
SELECT id, message_id, service, queue, type, correlation_id, status, reason, fingerprint, exception_type,
       exception_message, handler, attempts, failures, first_failed_at, last_failed_at, replay_id, lease_until,
       settled_at, archived_at, stack, headers, body
  FROM dead_letters
 WHERE id = $1;

-- name: show_standing
-- Where a dead letter stands, without what never changes and may be large: its page asks again and again.
SELECT id, status, lease_until, settled_at, archived_at FROM dead_letters WHERE id = $1;

-- name: list_attempts_made
SELECT failed_at, reason, exception_type, exception_message, replay_id, body IS NOT NULL AS other_body
  FROM dead_letter_attempts
 WHERE dead_letter_id = $1
 ORDER BY id;

-- name: archive
-- Only what is settled: what waits for somebody stays in sight.
UPDATE dead_letters
   SET archived_at = now(), updated_at = now()
 WHERE id = ANY ($1::uuid[]) AND status IN ('resolved', 'discarded') AND archived_at IS NULL
RETURNING id;

-- name: unarchive
UPDATE dead_letters
   SET archived_at = NULL, updated_at = now()
 WHERE id = ANY ($1::uuid[]) AND archived_at IS NOT NULL
RETURNING id;

-- name: list_attempts
SELECT failed_at, reason, exception_type, exception_message, replay_id, body
  FROM dead_letter_attempts
 WHERE dead_letter_id = $1
 ORDER BY id;

-- name: list_replays
SELECT id, bulk_id, body IS NOT NULL AS edited, made_at, sent_at, settled_at, outcome
  FROM replays
 WHERE dead_letter_id = $1
 ORDER BY made_at;

-- name: count_open
SELECT service, count(*)::int AS messages FROM dead_letters WHERE status IN ('open', 'replaying') GROUP BY service;

-- name: insert_audit
INSERT INTO dead_letter_audit (dead_letter_id, action, actor, reason, replay_id, bulk_id, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: insert_audit_of_many
INSERT INTO dead_letter_audit (dead_letter_id, action, actor, reason, replay_id, bulk_id, detail)
SELECT dead_letter_id, $3, $4, $5, replay_id, $6, $7
  FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS acted (dead_letter_id, replay_id, position)
 ORDER BY position;

-- name: list_audit
SELECT action, actor, reason, replay_id, bulk_id, detail, at FROM dead_letter_audit WHERE dead_letter_id = $1 ORDER BY id;

-- name: list_audit_of_bulk
SELECT action, actor, reason, detail, at FROM dead_letter_audit
 WHERE bulk_id = $1 AND dead_letter_id IS NULL
 ORDER BY id;

-- name: find_replay
SELECT dead_letter_id FROM replays WHERE id = $1 AND service = $2;

-- name: list_acts
-- The trail of what people and services did, the latest first, behind $1, and from $4 on. The lines of a bulk's messages
-- stand on its own page. What another service was asked for and nobody knows the end of is unknown. Ids follow the
-- times, but for the length of a transaction: no row up to the last of before $4, less a minute, has to be looked at.
SELECT a.id, a.dead_letter_id, a.action, a.actor, a.reason, a.replay_id, a.bulk_id, a.detail, a.at, a.service, a.subject,
       CASE WHEN a.service IS NOT NULL THEN coalesce(o.outcome, 'unknown') END AS outcome, o.code
  FROM dead_letter_audit AS a
  LEFT JOIN LATERAL (SELECT outcome, code FROM audit_outcomes WHERE audit_id = a.id LIMIT 1) AS o ON true
 WHERE (a.bulk_id IS NULL OR a.dead_letter_id IS NULL)
   AND a.id < $1
   AND ($2::text IS NULL OR a.actor = $2)
   AND ($3::text IS NULL OR a.action = $3)
   AND ($4::timestamptz IS NULL OR a.at >= $4)
   AND a.id > coalesce((
        SELECT id FROM dead_letter_audit
         WHERE (bulk_id IS NULL OR dead_letter_id IS NULL) AND at < $4 - interval '1 min'
         ORDER BY at DESC, id DESC
         LIMIT 1), 0)
 ORDER BY a.id DESC
 LIMIT $5;

-- name: insert_act_elsewhere
INSERT INTO dead_letter_audit (action, actor, reason, service, subject, detail)
VALUES ($1, $2, $3, $4, $5, $6)
RETURNING id;

-- name: insert_outcome
-- Once: a page that is sent again says the same. Nobody ends the act of somebody else, or one of another kind.
INSERT INTO audit_outcomes (audit_id, outcome, code)
SELECT id, $4, $5 FROM dead_letter_audit WHERE id = $1 AND actor = $2 AND action = $3 AND service IS NOT NULL
ON CONFLICT (audit_id) DO NOTHING;

-- name: claim_dead_letters
-- One outstanding replay per message: whoever changes the status first has it, and another waits here and finds it
-- changed. Locked in the order of ids, so that two claims cannot wait for each other.
WITH free AS (
    SELECT d.id, wanted.replay_id
      FROM unnest($1::uuid[], $2::uuid[]) AS wanted (id, replay_id)
      JOIN dead_letters AS d ON d.id = wanted.id
     WHERE d.status = ANY ($3::text[]) AND d.kept_at <= coalesce($4, now())
     ORDER BY d.id
       FOR UPDATE OF d
)
UPDATE dead_letters AS d
   SET status = 'replaying', replay_id = free.replay_id, lease_until = now() + make_interval(secs => $5),
       settled_at = NULL, updated_at = now()
  FROM free
 WHERE d.id = free.id
RETURNING d.id, d.replay_id, d.service;

-- name: insert_replays
INSERT INTO replays (id, dead_letter_id, bulk_id, service, body)
SELECT id, dead_letter_id, $4, service, $5 FROM unnest($1::uuid[], $2::uuid[], $3::text[]) AS made (id, dead_letter_id, service);

-- name: replays_to_send
-- What never left, of no bulk or of one of $3, and what left without the broker's word for it. Two workers take
-- different ones.
SELECT r.id, r.dead_letter_id, r.bulk_id, d.message_id, d.queue, d.type, d.correlation_id, d.headers,
       coalesce(r.body, d.body) AS body
  FROM replays AS r
  JOIN dead_letters AS d ON d.id = r.dead_letter_id
 WHERE r.outcome IS NULL AND r.sent_at IS NULL
   AND (r.tried_at < now() - make_interval(secs => $1)
        OR (r.tried_at IS NULL AND (r.bulk_id IS NULL OR r.bulk_id = ANY ($3::uuid[]))))
 ORDER BY r.made_at, r.id
 LIMIT $2
   FOR UPDATE OF r SKIP LOCKED;

-- name: any_unsent
-- What is claimed of a bulk that does not run is not due.
SELECT EXISTS (
    SELECT FROM replays AS r
      LEFT JOIN bulks AS b ON b.id = r.bulk_id
     WHERE r.outcome IS NULL AND r.sent_at IS NULL
       AND (r.tried_at IS NOT NULL OR b.id IS NULL OR b.state = 'running'));

-- name: mark_tried
UPDATE replays SET tried_at = now() WHERE id = ANY ($1::uuid[]);

-- name: mark_sent
-- What somebody tells of at this moment is about to be settled, and waiting for that could end in a deadlock.
UPDATE replays SET sent_at = now()
 WHERE id IN (SELECT id FROM replays WHERE id = ANY ($1::uuid[]) AND sent_at IS NULL FOR UPDATE SKIP LOCKED);

-- name: take_back_untried
-- What a canceled bulk has claimed and nobody has tried to send: the replays end, their dead letters are open. The
-- bulk's row is locked, so no worker is about to try one. Dead letters first and in the order of ids, as claims do;
-- what was resolved meanwhile has no replay that is out.
WITH claimed AS (
    SELECT d.id, r.id AS replay_id
      FROM replays AS r
      JOIN dead_letters AS d ON d.id = r.dead_letter_id AND d.replay_id = r.id
     WHERE r.bulk_id = $1 AND r.outcome IS NULL AND r.tried_at IS NULL
     ORDER BY d.id
       FOR UPDATE OF d
), ended AS (
    UPDATE replays AS r SET outcome = 'unsent', settled_at = now()
      FROM claimed
     WHERE r.id = claimed.replay_id AND r.outcome IS NULL AND r.tried_at IS NULL
    RETURNING r.id, r.dead_letter_id
)
UPDATE dead_letters AS d SET status = 'open', replay_id = NULL, lease_until = NULL, updated_at = now()
  FROM ended
 WHERE d.id = ended.dead_letter_id AND d.replay_id = ended.id
RETURNING d.id, ended.id AS replay_id;

-- name: unknown_outcomes
-- Those of $1 whose last replay has left, as far as anybody knows, and of which nobody has told how it ended.
SELECT d.id FROM unnest($1::uuid[]) WITH ORDINALITY AS d (id, position)
 WHERE 'unknown' = (
        SELECT r.outcome FROM replays AS r
         WHERE r.dead_letter_id = d.id AND r.tried_at IS NOT NULL
         ORDER BY r.made_at DESC
         LIMIT 1)
 ORDER BY d.position;

-- name: settle_replay
-- What took effect stays so, whatever a twin says later; anything else may still turn out otherwise.
UPDATE replays
   SET outcome = $2, fingerprint = $3, settled_at = now()
 WHERE id = $1 AND (outcome IS NULL OR outcome IN ('unknown', 'unsent') OR (outcome = 'failed' AND $2 <> 'failed'))
RETURNING dead_letter_id, bulk_id;

-- name: settle_other_replays
-- The service is done with the message: another replay of it that is still out can only prove a duplicate.
UPDATE replays SET outcome = 'unknown', settled_at = now()
 WHERE dead_letter_id = $1 AND outcome IS NULL
RETURNING bulk_id;

-- name: overdue_replays
-- The lease runs from the broker's word: what nobody sent cannot be overdue. What somebody tells of now is not either.
SELECT d.id, d.replay_id
  FROM dead_letters AS d
  JOIN replays AS r ON r.id = d.replay_id
 WHERE d.status = 'replaying' AND d.lease_until < now()
   AND (r.outcome IS NOT NULL OR r.sent_at < now() - make_interval(secs => $1))
 ORDER BY d.lease_until
 LIMIT $2
   FOR UPDATE OF d SKIP LOCKED;

-- name: any_overdue
SELECT EXISTS (
    SELECT FROM dead_letters AS d
      JOIN replays AS r ON r.id = d.replay_id
     WHERE d.status = 'replaying' AND d.lease_until < now()
       AND (r.outcome IS NOT NULL OR r.sent_at < now() - make_interval(secs => $1)));

-- name: open_again
UPDATE dead_letters SET status = 'open', replay_id = NULL, lease_until = NULL, updated_at = now()
 WHERE id = $1 AND replay_id = $2 AND status = 'replaying'
RETURNING id;

-- name: latest_told
SELECT outcome, fingerprint FROM replays
 WHERE bulk_id = $1 AND outcome IS NOT NULL
   AND made_at >= (SELECT judged_from FROM bulks WHERE id = $1)
 ORDER BY settled_at DESC
 LIMIT $2;

-- name: select_wanted
-- What a bulk would take, the oldest first. A replay vouches for what was forged, and decides that what is forgotten
-- never took effect: only a person who names the message does either.
SELECT id, service, type, count(*) OVER ()::int AS matching
  FROM dead_letters
 WHERE status = ANY ($1::text[]) AND kept_at <= now()
   AND ($2::text IS NULL OR service = $2)
   AND ($3::text IS NULL OR type = $3)
   AND ($4::text IS NULL OR fingerprint = $4)
   AND ($5::float8 IS NULL OR last_failed_at < now() - make_interval(secs => $5))
   AND ($6::float8 IS NULL OR last_failed_at >= now() - make_interval(secs => $6))
   AND (id = ANY ($7::uuid[]) OR ($7 IS NULL AND (reason NOT IN ('forged', 'forgotten') OR $9)))
 ORDER BY coalesce(first_failed_at, last_failed_at), id
 LIMIT $8;

-- name: select_settled
-- What a bulk would archive, the oldest first: what is settled and still in sight.
SELECT id, service, type, count(*) OVER ()::int AS matching
  FROM dead_letters
 WHERE status IN ('resolved', 'discarded') AND archived_at IS NULL AND kept_at <= now()
   AND ($1::text IS NULL OR status = $1)
   AND ($2::text IS NULL OR service = $2)
   AND ($3::text IS NULL OR type = $3)
   AND ($4::text IS NULL OR fingerprint = $4)
   AND ($5::float8 IS NULL OR last_failed_at < now() - make_interval(secs => $5))
   AND ($6::float8 IS NULL OR last_failed_at >= now() - make_interval(secs => $6))
 ORDER BY last_failed_at, id
 LIMIT $7;

-- name: insert_bulk
INSERT INTO bulks (id, act, actor, reason, filter, rate, force, total) VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: insert_bulk_items
INSERT INTO bulk_items (bulk_id, dead_letter_id, position, service)
SELECT $1, dead_letter_id, position, service
  FROM unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS wanted (dead_letter_id, service, position);

-- name: list_bulks
SELECT id, act, state, state_reason, actor, reason, filter, rate, force, total, cutoff, paused_at, finished_at
  FROM bulks
 ORDER BY cutoff DESC
 LIMIT $1;

-- name: unfinished_bulks
SELECT id, act, state, state_reason, actor, reason, filter, rate, force, total, cutoff, paused_at, finished_at
  FROM bulks
 WHERE state IN ('running', 'paused')
 ORDER BY cutoff DESC;

-- name: show_bulk
SELECT id, act, state, state_reason, actor, reason, filter, rate, force, total, cutoff, paused_at, finished_at
  FROM bulks
 WHERE id = $1;

-- name: count_items
-- What is claimed and not tried yet still waits.
SELECT CASE WHEN i.state = 'on_the_way' AND EXISTS (
                SELECT FROM replays AS r
                 WHERE r.dead_letter_id = i.dead_letter_id AND r.bulk_id = i.bulk_id
                   AND r.outcome IS NULL AND r.tried_at IS NULL)
            THEN 'waiting' ELSE i.state END AS state,
       count(*)::int AS messages
  FROM bulk_items AS i
 WHERE i.bulk_id = $1
 GROUP BY 1;

-- name: count_failures
SELECT fingerprint, count(*)::int AS messages FROM replays
 WHERE bulk_id = $1 AND outcome = 'failed'
 GROUP BY fingerprint
 ORDER BY messages DESC, fingerprint
 LIMIT 20;

-- name: change_bulk
-- $2 the new state, $3 why, $4 the states from which it may come. A worker's batch takes its turn with this, whether it
-- claims or sends.
UPDATE bulks
   SET state = $2, state_reason = $3,
       judged_from = CASE WHEN $2 = 'running' THEN now() ELSE judged_from END,
       paused_at = CASE WHEN $2 = 'paused' THEN now() END,
       finished_at = CASE WHEN $2 IN ('canceled', 'done') THEN now() END
 WHERE id = $1 AND state = ANY ($4::text[])
RETURNING id;

-- name: cancel_items
UPDATE bulk_items SET state = 'canceled' WHERE bulk_id = $1 AND state = 'waiting';

-- name: running_bulks
SELECT id, act, actor, reason, rate, force, cutoff, filter ? 'ids' AS by_ids
  FROM bulks
 WHERE state = 'running'
 ORDER BY cutoff, id;

-- name: lock_running_bulk
-- A pause that has been answered lets no batch through: each takes its turn with it here.
SELECT id FROM bulks WHERE id = $1 AND state = 'running' FOR UPDATE;

-- name: lock_sending_bulks
-- Bulks of which something is claimed and not tried. A pause or a cancel waits until that is marked as tried; one that
-- is being answered, or a batch of another worker, has the row, and the bulk sits out this turn: nobody waits here.
SELECT id FROM bulks
 WHERE state = 'running'
   AND id IN (SELECT bulk_id FROM replays WHERE outcome IS NULL AND sent_at IS NULL AND tried_at IS NULL)
   FOR SHARE SKIP LOCKED;

-- name: oldest_pause_seconds
SELECT coalesce(extract(epoch FROM now() - min(paused_at)), 0)::float8 FROM bulks WHERE state = 'paused';

-- name: waiting_services
SELECT DISTINCT service FROM bulk_items WHERE bulk_id = $1 AND state = 'waiting' ORDER BY service;

-- name: count_on_the_way
SELECT count(*)::int FROM bulk_items WHERE bulk_id = $1 AND service = $2 AND state = 'on_the_way';

-- name: lock_pace
-- All bulks of a service share its pace.
INSERT INTO replay_paces AS p (service, given_until) VALUES ($1, '-infinity')
ON CONFLICT (service) DO UPDATE SET given_until = p.given_until -- takes the row's lock
RETURNING NULLIF(given_until, '-infinity') AS given_until, clock_timestamp() AS now;

-- name: set_pace
UPDATE replay_paces SET given_until = $2 WHERE service = $1;

-- name: next_items
SELECT dead_letter_id FROM bulk_items
 WHERE bulk_id = $1 AND service = $2 AND state = 'waiting'
 ORDER BY position
 LIMIT $3;

-- name: discard_dead_letters
-- Unless forced ($3), nothing of which `unknown_outcomes` speaks.
WITH free AS (
    SELECT d.id FROM dead_letters AS d
     WHERE d.id = ANY ($1::uuid[]) AND d.status = 'open' AND d.kept_at <= $2
       AND ($3 OR 'unknown' IS DISTINCT FROM (
            SELECT r.outcome FROM replays AS r
             WHERE r.dead_letter_id = d.id AND r.tried_at IS NOT NULL
             ORDER BY r.made_at DESC
             LIMIT 1))
     ORDER BY d.id
       FOR UPDATE OF d -- in the order of ids, as claims do
)
UPDATE dead_letters AS d SET status = 'discarded', settled_at = now(), updated_at = now()
  FROM free
 WHERE d.id = free.id
RETURNING d.id;

-- name: archive_dead_letters
-- Of a bulk: what is settled still, and has not failed since ($2).
WITH settled AS (
    SELECT d.id FROM dead_letters AS d
     WHERE d.id = ANY ($1::uuid[]) AND d.status IN ('resolved', 'discarded') AND d.archived_at IS NULL AND d.kept_at <= $2
     ORDER BY d.id
       FOR UPDATE OF d -- in the order of ids, as claims do
)
UPDATE dead_letters AS d SET archived_at = now(), updated_at = now()
  FROM settled
 WHERE d.id = settled.id
RETURNING d.id;

-- name: move_items
UPDATE bulk_items SET state = $3 WHERE bulk_id = $1 AND dead_letter_id = ANY ($2::uuid[]);

-- name: skip_items
UPDATE bulk_items AS i
   SET state = 'skipped',
       note = CASE WHEN b.act = 'archive' AND d.archived_at IS NOT NULL THEN 'archived'
                   WHEN d.status <> 'open' OR b.act = 'archive' THEN d.status
                   WHEN d.kept_at > b.cutoff THEN 'failed anew'
                   ELSE 'outcome unknown' END
  FROM dead_letters AS d, bulks AS b
 WHERE i.bulk_id = $1 AND i.dead_letter_id = ANY ($2::uuid[]) AND d.id = i.dead_letter_id AND b.id = i.bulk_id;

-- name: finish_bulks
UPDATE bulks AS b
   SET state = 'done', finished_at = now()
 WHERE b.state = 'running'
   AND NOT EXISTS (
        SELECT FROM bulk_items AS i WHERE i.bulk_id = b.id AND i.state IN ('waiting', 'on_the_way'))
RETURNING id;

-- name: insert_timeline
INSERT INTO timeline (message_id, order_ref, type, source, subject, causation_id, time, data)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING; -- a redelivery on another day

-- name: order_timeline
-- What was said about an order, and what that was said because of: events that name no order, messages of another one.
WITH RECURSIVE told AS (
    SELECT message_id, order_ref, type, source, subject, causation_id, time, data, received_at
      FROM timeline
     WHERE order_ref = $1
     UNION
    SELECT t.message_id, t.order_ref, t.type, t.source, t.subject, t.causation_id, t.time, t.data, t.received_at
      FROM told
      JOIN timeline AS t ON t.message_id = CASE
               WHEN told.causation_id ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN told.causation_id::uuid END
)
SELECT message_id, order_ref AS order_id, type, source, subject, causation_id, time, data
  FROM told
 ORDER BY time, received_at;

-- name: order_dead_letters
SELECT id, service, type, status, reason, last_failed_at FROM dead_letters WHERE correlation_id = $1 ORDER BY last_failed_at;

-- name: find_messages
-- In which a reference stands, whoever said it. The latest first.
SELECT message_id, order_ref, type, source, time
  FROM timeline
 WHERE references_in(data) @> ARRAY[$1::text]
 ORDER BY time DESC
 LIMIT $2;

-- name: find_orders
-- Of which a message bears $1, or was about the customer with that subject. Those of which something was said last come
-- first.
SELECT order_ref
  FROM (SELECT order_ref, time FROM timeline WHERE references_in(data) @> ARRAY[$1::text]
         UNION ALL
        SELECT order_ref, time FROM timeline WHERE account_in(data) = $1) AS found
 WHERE order_ref IS NOT NULL
 GROUP BY order_ref
 ORDER BY max(time) DESC, order_ref
 LIMIT $2;

-- name: find_message
SELECT message_id, order_ref, type, source, time FROM timeline WHERE message_id = $1;

-- name: order_is_known
SELECT EXISTS (SELECT FROM timeline WHERE order_ref = $1) OR EXISTS (SELECT FROM dead_letters WHERE correlation_id = $1);

-- name: insert_session
INSERT INTO sessions (token_hash, subject, name, roles, ends_at, access_sealed, access_ends_at)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), $6, $7);

-- name: sealed_access
SELECT access_sealed FROM sessions WHERE token_hash = $1 AND revoked_at IS NULL AND ends_at > now();

-- name: find_session
-- One that has neither ended, nor was ended, nor lay idle for $2 seconds.
SELECT subject, name, roles
  FROM sessions
 WHERE token_hash = $1 AND revoked_at IS NULL AND ends_at > now() AND seen_at > now() - make_interval(secs => $2);

-- name: touch_session
-- Somebody is there. Written once in $2 seconds at most; nobody waits for the disk for that.
UPDATE sessions SET seen_at = now()
 WHERE token_hash = $1 AND seen_at < now() - make_interval(secs => $2)
   AND set_config('synchronous_commit', 'off', true) = 'off';

-- name: revoke_session
UPDATE sessions SET revoked_at = now(), access_sealed = NULL, access_ends_at = NULL
 WHERE token_hash = $1 AND revoked_at IS NULL
RETURNING subject;

-- name: forget_sessions
DELETE FROM sessions WHERE ends_at < now() - make_interval(days => 30);

-- name: measure_database
-- What the server tells any login. Locks are those of all databases.
SELECT d.numbackends AS connections,
       current_setting('max_connections')::int AS connections_max,
       (SELECT count(*) FROM pg_locks WHERE NOT granted)::int AS locks_awaited,
       (SELECT max(age(datfrozenxid)) FROM pg_database) AS transaction_ids_used,
       d.xact_commit AS committed, d.xact_rollback AS rolled_back,
       d.blks_hit AS cache, d.blks_read AS disk,
       d.tup_fetched AS fetched, d.tup_inserted AS inserted, d.tup_updated AS updated, d.tup_deleted AS deleted,
       d.deadlocks, d.temp_bytes AS temporary_bytes
  FROM pg_stat_database AS d
 WHERE d.datname = current_database();

-- name: measure_archive
-- Whether the server keeps its log somewhere else, and for how long what it wrote has not been. Segments count without
-- their timeline. While nothing is written a server notes a little all the same, and closes no segment for that.
SELECT mode <> 'off' AS archiving,
       failed_count AS failures,
       CASE WHEN mode = 'off' OR substr(pg_walfile_name(pg_current_wal_lsn() - 65536), 9) COLLATE "C"
                              <= substr(coalesce(last_archived_wal, ''), 9, 16) COLLATE "C" THEN 0
            ELSE extract(epoch FROM now() - greatest(last_archived_time, stats_reset)) END::float8 AS unarchived_seconds
  FROM pg_stat_archiver, current_setting('archive_mode') AS mode;

-- name: measure_base_backups
-- For how many seconds there has been no other base backup; endless when nobody has written one down.
SELECT coalesce(extract(epoch FROM now() - max(taken_at))::float8, 'Infinity') FROM base_backups;

-- name: measure_sizes
SELECT pg_database_size(current_database());

-- name: measure_schemas
SELECT n.nspname::text AS schema,
       coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint AS bytes,
       coalesce(sum(pg_stat_get_dead_tuples(c.oid)), 0)::bigint AS dead_rows
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname = ANY ($1::text[])
 GROUP BY n.nspname;
