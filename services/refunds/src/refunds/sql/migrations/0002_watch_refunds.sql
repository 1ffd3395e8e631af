-- `asked_at`: when the command that is under way was said or last tried; empty when none is. `recheck_at`: when a refund
-- that succeeded is asked after again, until `watched_until`; both on the business clock, like `checked_at`.
ALTER TABLE refunds
    ADD COLUMN asked_at timestamptz DEFAULT now(),
    ADD COLUMN watched_until timestamptz,
    ADD COLUMN recheck_at timestamptz;

UPDATE refunds AS r
   SET watched_until = s.at + interval '35 days', recheck_at = business_now() + random() * interval '1 day'
  FROM (SELECT refund_id, max(at) AS at FROM refund_transitions WHERE to_state = 'succeeded' GROUP BY refund_id) AS s
 WHERE s.refund_id = r.id AND r.state = 'succeeded' AND s.at > business_now() - interval '35 days';

CREATE INDEX refunds_watched ON refunds (recheck_at) WHERE state = 'succeeded' AND recheck_at IS NOT NULL;
