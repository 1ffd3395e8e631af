"""HTTP doors of webhook-ingest."""
