"""Use cases of checkout: placing an order, folding facts into it, and keeping the catalogue."""
