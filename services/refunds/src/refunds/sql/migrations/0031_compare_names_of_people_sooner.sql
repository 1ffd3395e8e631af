-- In PL/pgSQL, and with names that say their schema, these need no search path of their own, for which names_of took five
-- times as long (28 us to 6). They are no SQL functions: PostgreSQL would take such ones up into the statement and count
-- their parts as cheap as a comparison. COST says what they are, so that it looks for a name in an index rather than
-- compare all there are.
CREATE OR REPLACE FUNCTION mailbox_of(email text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 1000
AS $$ BEGIN RETURN regexp_replace(refunds.identity_of(email), '\+.*@', '@'); END $$;

CREATE OR REPLACE FUNCTION names_of(subject text, email text) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE COST 2000
AS $$ BEGIN RETURN ARRAY[refunds.mailbox_of(subject), refunds.mailbox_of(email)]; END $$;
