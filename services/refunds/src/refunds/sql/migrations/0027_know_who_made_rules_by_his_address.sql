-- Whoever makes rules is one person under all of his accounts, also by the address that his token names. What was made
-- before names none, nor does a release from before, which runs beside this one for a while: there he is his subject.
ALTER TABLE rules ADD COLUMN actor_email text;
