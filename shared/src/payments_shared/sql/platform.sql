-- The schema `payments`: functions that every service may call. Applied by provisioning, safe to repeat.

CREATE SCHEMA IF NOT EXISTS payments;

CREATE TABLE IF NOT EXISTS payments.business_clock (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    ahead interval NOT NULL DEFAULT interval '0'
);

INSERT INTO payments.business_clock DEFAULT VALUES
ON CONFLICT DO NOTHING; -- several provisioners may start at once

-- The clock of every business deadline. Only the sandbox's role may move it, so that a test can be
-- twenty days later; in production nobody holds that role and it is the server's clock.
CREATE OR REPLACE FUNCTION payments.business_now() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = payments, pg_temp
AS $$ SELECT now() + ahead FROM payments.business_clock $$;

-- Make the day partitions of `inbox` and `outbox` from yesterday to three days ahead, and drop those older
-- than `retention_days`. An outbox partition that still holds unpublished rows is never dropped. A day that
-- already has rows in the default partition stays there, with a warning: moving them would lock everybody out
-- for as long as it takes, and each query works as well without.
-- Services may not run DDL themselves; this function is their one door to it, and it touches only the two
-- tables of the caller's own schema.
CREATE OR REPLACE FUNCTION payments.keep_partitions(target_schema text, retention_days int DEFAULT 35)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parent record;
    part record;
    d date;
    partition_name text;
    unpublished boolean;
BEGIN
    IF retention_days < 7 THEN
        RAISE EXCEPTION 'retention below 7 days would forget messages that may still be redelivered';
    END IF;
    IF NOT has_schema_privilege(session_user, target_schema, 'USAGE') THEN
        RAISE insufficient_privilege;
    END IF;
    -- Two instances start at once: the second waits here instead of failing on a duplicate name.
    PERFORM pg_advisory_xact_lock(hashtextextended('keep_partitions:' || target_schema, 0));
    FOR parent IN
        SELECT c.oid, c.relname
          FROM pg_class AS c
          JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = target_schema AND c.relkind = 'p' AND c.relname IN ('inbox', 'outbox', 'stripe_events')
    LOOP
        FOR d IN SELECT generate_series(current_date - 1, current_date + 3, interval '1 day')::date LOOP
            partition_name := format('%s_%s', parent.relname, to_char(d, 'YYYYMMDD'));
            IF to_regclass(format('%I.%I', target_schema, partition_name)) IS NULL THEN
                BEGIN
                    EXECUTE format('CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES FROM (%L) TO (%L)',
                        target_schema, partition_name, target_schema, parent.relname, d, d + 1);
                EXCEPTION WHEN check_violation THEN
                    RAISE WARNING 'no partition for % of %.%: its default partition has rows of that day',
                        d, target_schema, parent.relname;
                    CONTINUE;
                END;
                IF parent.relname = 'outbox' THEN
                    EXECUTE format('ALTER TABLE %I.%I SET (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 70)',
                        target_schema, partition_name);
                END IF;
            END IF;
        END LOOP;
        FOR part IN
            SELECT c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
              FROM pg_inherits AS i
              JOIN pg_class AS c ON c.oid = i.inhrelid
             WHERE i.inhparent = parent.oid AND c.relname ~ '_\d{8}$'
        LOOP
            CONTINUE WHEN part.day >= current_date - retention_days;
            IF parent.relname = 'outbox' THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE published_at IS NULL)',
                    target_schema, part.relname) INTO unpublished;
                CONTINUE WHEN unpublished;
            END IF;
            EXECUTE format('DROP TABLE %I.%I', target_schema, part.relname);
        END LOOP;
    END LOOP;
END
$$;

REVOKE ALL ON SCHEMA payments FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA payments FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA payments FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
