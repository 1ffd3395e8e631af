-- How often somebody asked lately. UNLOGGED: a count is worth a minute, and nobody waits for the disk while he holds the
-- row of a busy address. After a crash, and on a server that takes over, all begin anew.
CREATE UNLOGGED TABLE request_counts (
    name text NOT NULL,
    subject text NOT NULL,
    taken int NOT NULL,
    ends_at timestamptz NOT NULL,
    PRIMARY KEY (name, subject)
) WITH (fillfactor = 50); -- room for the next version of each row on its page
CREATE INDEX request_counts_by_end ON request_counts (ends_at);
GRANT DELETE ON request_counts TO checkout_app;
