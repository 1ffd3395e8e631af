-- name: connected
-- Logins of services that are connected to this database at this moment.
SELECT array_agg(DISTINCT a.usename::text)
  FROM pg_stat_activity AS a
  JOIN pg_auth_members AS m ON m.member = a.usesysid
  JOIN pg_roles AS r ON r.oid = m.roleid
 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND r.rolname = ANY ($1::text[]);

-- name: provisioned
SELECT to_regclass('payments.bindings') IS NOT NULL;

-- name: say_again
-- Messages that were said and that some hearer has neither in its inbox nor as a dead letter: they were at the broker.
-- The others who hear them claimed them, and will find them in their inboxes. What was said before anybody asked to hear
-- it was never at the broker for him. Of a day that is kept for what is unsaid of it alone, the inboxes are gone: nothing
-- else of it is said again, since every hearer would refuse it.
WITH heard AS (
    SELECT b.type, b.service, b.asked_at
      FROM unnest($1::text[], $2::text[]) AS today (type, service)
      JOIN payments.bindings AS b ON b.type = today.type AND b.service = today.service
),
inboxes AS (:inboxes),
lost AS (
    SELECT DISTINCT o.day, o.message_id
      FROM :schema.outbox AS o
      JOIN heard AS h ON h.type = o.type AND h.asked_at <= o.published_at
     WHERE o.published_at IS NOT NULL
       AND o.day >= current_date - $3::int
       AND NOT EXISTS (SELECT FROM inboxes AS i WHERE i.message_id = o.message_id AND i.service = h.service)
       AND NOT EXISTS (SELECT FROM operations.dead_letters AS d
                        WHERE d.message_id = o.message_id::text AND d.service = h.service)
)
UPDATE :schema.outbox AS o SET published_at = NULL, attempts = 0
  FROM lost
 WHERE o.day = lost.day AND o.message_id = lost.message_id
RETURNING o.message_id;

-- name: hold
-- ON CONFLICT: mails are held already.
INSERT INTO notifications.holds (id) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: hold_mails
UPDATE notifications.mails SET state = 'unknown', lease_until = NULL, updated_at = now()
 WHERE state IN ('queued', 'sending')
RETURNING id;

-- name: stop_writers
-- Whoever wrote a mail as held has committed, and whoever waits for this lock sees that the hold has ended.
LOCK TABLE notifications.mails IN SHARE ROW EXCLUSIVE MODE;

-- name: take
INSERT INTO notifications.taken (message_id, hold_id)
SELECT message_id, h.id FROM unnest($1::text[]) AS message_id, notifications.holds AS h WHERE h.until IS NULL
ON CONFLICT DO NOTHING;

-- name: end_hold
UPDATE notifications.holds SET until = now() WHERE until IS NULL;

-- name: release
-- The sweep of notifications goes on with them at its next round.
UPDATE notifications.mails AS m SET state = 'queued', asked_at = '-infinity', updated_at = now()
 WHERE state = 'unknown'
RETURNING EXISTS (SELECT FROM notifications.taken AS t WHERE t.message_id = m.message_id) AS known;

-- name: record
INSERT INTO operations.restores (act, actor, reason, restored_to, counts) VALUES ($1, $2, $3, $4, $5);
