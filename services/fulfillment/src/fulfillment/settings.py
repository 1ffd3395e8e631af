"""Settings of fulfillment."""

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Nothing of its own yet."""
