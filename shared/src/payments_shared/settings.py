"""Settings come from the environment, are checked once at the start, and never change."""

import sys
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

S = TypeVar("S", bound="ServiceSettings")
EXIT_CONFIG = 78  # EX_CONFIG


class ServiceSettings(BaseSettings):
    """What every service needs. Variables are `PAYMENTS_` plus the field's name in capitals."""

    model_config = SettingsConfigDict(env_prefix="PAYMENTS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    internal_port: int = Field(default=0, ge=0, le=65535)
    database_url: SecretStr = Field(min_length=12)
    amqp_url: SecretStr = Field(min_length=12)
    management_url: SecretStr | None = None
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    livemode: bool = False
    jwks_file: Path | None = None
    jwt_issuer: str = "payments"
    retry_tiers_ms: Annotated[tuple[int, ...], NoDecode] = (5_000, 30_000, 120_000, 600_000)
    drain_seconds: float = Field(default=25.0, gt=0, le=300)
    batch_max: int = Field(default=50, ge=1, le=500)  # messages that share one transaction

    @field_validator("retry_tiers_ms", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return tuple(int(part) for part in value.split(",")) if isinstance(value, str) else value


def load_settings(settings_type: type[S]) -> S:
    """Read the settings, or refuse to start with a line per variable that is missing or wrong, never its value."""
    try:
        return settings_type()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = "PAYMENTS_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{name}: {problem['msg']}\n")
        raise SystemExit(EXIT_CONFIG) from None
