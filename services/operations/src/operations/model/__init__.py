"""Facts of operations."""
