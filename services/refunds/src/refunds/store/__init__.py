"""The SQL door of refunds."""
