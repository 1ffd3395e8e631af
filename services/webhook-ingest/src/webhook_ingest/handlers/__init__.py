"""What webhook-ingest does: store what Stripe sends, and ask for what it did not."""
