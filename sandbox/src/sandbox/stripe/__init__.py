"""A Stripe for development and tests: objects, events, signatures, keys and failures, on the loopback."""
