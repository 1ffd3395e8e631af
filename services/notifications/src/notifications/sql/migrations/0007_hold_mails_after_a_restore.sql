-- Times after a restore from a backup. What was sent in the time that the restore took away is known to the mail server
-- alone: until somebody has said what that was, mails are written as `unknown` and sent by nobody.
CREATE TABLE holds (
    id uuid PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz
);
CREATE UNIQUE INDEX holds_one_at_a_time ON holds ((true)) WHERE until IS NULL;

-- Message-IDs of what the mail server took in such a time: these are never sent again.
CREATE TABLE taken (
    message_id text PRIMARY KEY,
    hold_id uuid NOT NULL REFERENCES holds
);
REVOKE INSERT, UPDATE ON holds, taken FROM notifications_app;
