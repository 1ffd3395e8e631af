"""The SQL door of checkout."""
