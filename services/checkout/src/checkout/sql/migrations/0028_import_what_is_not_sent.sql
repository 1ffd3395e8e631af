-- Whether a product is sent may stand in a catalogue file; where the file has no such column, it stays as it is.
ALTER TABLE catalog_import_rows ADD COLUMN digital boolean NOT NULL DEFAULT false;
