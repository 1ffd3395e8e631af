"""Settings of inventory."""

from pydantic import Field

from payments_shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Thresholds in units, times in seconds."""

    stock_low_threshold: int = Field(default=5, ge=0)
    hold_grace_seconds: float = Field(default=900.0, ge=0)
    sweep_seconds: float = Field(default=10.0, gt=0)
