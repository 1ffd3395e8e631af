"""Use cases of refunds: know what was captured, owe what must go back, ask Stripe for it, follow what becomes of it."""
