"""An OpenID Connect provider for development: whoever comes says who he is. Never let it stand where others come."""
