-- When base backups of the server were begun, the newest at least: by their age somebody notices that none are taken any
-- more. Whoever takes them writes it, as the database's owner.
CREATE TABLE base_backups (
    taken_at timestamptz PRIMARY KEY
);
REVOKE INSERT, UPDATE ON base_backups FROM operations_app;
