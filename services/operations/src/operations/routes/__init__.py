"""The operators' door, on the internal port."""
