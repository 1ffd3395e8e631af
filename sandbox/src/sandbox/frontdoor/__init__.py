"""The front door of the demo: a small reverse proxy with the routes that a real one would have."""
