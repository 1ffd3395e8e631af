"""The HTTP doors of refunds."""
