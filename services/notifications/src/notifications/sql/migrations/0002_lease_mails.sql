-- `lease_until`: who sends the mail has it until then. `asked_at`: when a command to deliver it was said or
-- last tried.
ALTER TABLE mails
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN asked_at timestamptz NOT NULL DEFAULT now();

CREATE INDEX mails_unasked ON mails (asked_at) WHERE state IN ('queued', 'sending');
DROP INDEX mails_unsent;
