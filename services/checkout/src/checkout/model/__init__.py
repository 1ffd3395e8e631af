"""Facts of checkout."""
