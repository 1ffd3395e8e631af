-- What is known of each order, so that nobody is invited to pay who has bought: its buyer's address in lower case, the
-- order that it takes up again or itself (`family`), when it was first heard of here, and when its money came.
ALTER TABLE orders
    ADD COLUMN address text,
    ADD COLUMN family uuid,
    ADD COLUMN heard_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN settled_at timestamptz;

-- Addresses, in lower case, that get no more invitations, by the mail whose link was used.
CREATE TABLE suppressions (
    address text PRIMARY KEY,
    mail_id uuid NOT NULL REFERENCES mails,
    at timestamptz NOT NULL DEFAULT now()
);
REVOKE UPDATE ON suppressions FROM notifications_app;
