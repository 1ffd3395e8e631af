-- What is settled goes to the archive in bulks as well. The constraints before these allowed less, so every row keeps to
-- them.
ALTER TABLE bulks DROP CONSTRAINT bulks_act_check,
  ADD CONSTRAINT bulks_act_check CHECK (act IN ('replay', 'discard', 'archive')) NOT VALID;
ALTER TABLE bulk_items DROP CONSTRAINT bulk_items_state_check,
  ADD CONSTRAINT bulk_items_state_check CHECK (state IN
    ('waiting', 'on_the_way', 'resolved', 'failed', 'unknown', 'skipped', 'canceled', 'discarded', 'archived')) NOT VALID;
