"""Stripe's door: verify, store once, publish."""
