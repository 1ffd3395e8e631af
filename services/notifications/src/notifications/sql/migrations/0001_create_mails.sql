-- Mails by what they are about: each (kind, ref) is written once, and sent under one Message-ID.
CREATE TABLE mails (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    ref text NOT NULL,
    order_id uuid,
    recipient text NOT NULL CHECK (recipient !~ '[\r\n]'),
    message_id text NOT NULL UNIQUE,
    subject text NOT NULL CHECK (subject !~ '[\r\n]'),
    html text NOT NULL,
    plain text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'sent', 'suppressed', 'undeliverable', 'unknown')),
    detail text,
    attempts int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_mail_per_kind_and_ref UNIQUE (kind, ref)
);
CREATE INDEX mails_by_order ON mails (order_id);
CREATE INDEX mails_unsent ON mails (updated_at) WHERE state IN ('queued', 'sending');

-- Orders whose money is here or on its way: what invites to try again is not sent to them.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    settled boolean NOT NULL DEFAULT false
);

-- include: payments_shared/sql/outbox.sql
-- include: payments_shared/sql/inbox.sql
