"""A Django project that does nothing but serve dj-stripe's webhook endpoint. It runs in its own environment."""
