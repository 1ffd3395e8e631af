-- What the world outside really holds, for the audit. Filled by the sandbox from its simulator and mailbox, in
-- production by an export; where it is absent, the predicates that need it are not run.
CREATE SCHEMA IF NOT EXISTS stripe_truth;
CREATE TABLE IF NOT EXISTS stripe_truth.sessions (
    id text PRIMARY KEY, order_ref uuid, status text, payment_status text, payment_intent text, amount_total bigint,
    currency text);
CREATE TABLE IF NOT EXISTS stripe_truth.payment_intents (
    id text PRIMARY KEY, status text, amount_received bigint, currency text);
ALTER TABLE stripe_truth.payment_intents ADD COLUMN IF NOT EXISTS order_ref uuid;
CREATE TABLE IF NOT EXISTS stripe_truth.refunds (
    id text PRIMARY KEY, payment_intent text, amount bigint, currency text, status text, refund_request_id text);
CREATE TABLE IF NOT EXISTS stripe_truth.disputes (
    id text PRIMARY KEY, charge text, payment_intent text, amount bigint, currency text, status text);
CREATE TABLE IF NOT EXISTS stripe_truth.events (
    id text PRIMARY KEY, type text, object_id text, delivered boolean);
CREATE TABLE IF NOT EXISTS stripe_truth.mailbox (
    id bigint PRIMARY KEY, message_id text, rcpt text, order_id uuid, kind text, ref text);
GRANT USAGE ON SCHEMA stripe_truth TO sandbox_app, auditor_app;
GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA stripe_truth TO sandbox_app;
GRANT SELECT ON ALL TABLES IN SCHEMA stripe_truth TO auditor_app;
