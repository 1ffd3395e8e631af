"""Settings of operations."""

from pydantic import Field

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Times in seconds."""

    measure_seconds: float = Field(default=5.0, gt=0)
