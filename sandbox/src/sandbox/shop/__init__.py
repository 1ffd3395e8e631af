"""A small shop in front of the platform, as a developer's own would be."""
