"""The chassis every service stands on; it knows no service."""

__version__ = "0.1.0"
