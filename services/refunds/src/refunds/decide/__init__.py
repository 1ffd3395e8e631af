"""What must become true of refunds. Pure."""
