"""Facts of refunds."""
