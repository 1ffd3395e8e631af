"""A Stripe for development and tests: its objects, events, signatures, idempotency keys and failures, on the loopback."""
