"""Settings come from the environment, are checked once at the start, and never change."""

import re
import sys
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

S = TypeVar("S", bound="ServiceSettings")
EXIT_CONFIG = 78  # EX_CONFIG
_STRIPE_KEY: Final = re.compile(r"^(?:sk|rk)(?:_org)?_(?P<mode>live|test)_")
_UNREADABLE: Final = re.compile(r'field "(?P<name>\w+)"')


class ServiceSettings(BaseSettings):
    """What every service needs. Variables are `PAYMENTS_` plus the field's name in capitals.

    A key of Stripe is of the mode that `livemode` says, and in live mode nothing stands in for Stripe's own address:
    it would be shown the key.
    """

    model_config = SettingsConfigDict(env_prefix="PAYMENTS_", frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    internal_port: int = Field(default=0, ge=0, le=65535)
    database_url: SecretStr = Field(min_length=12)
    amqp_url: SecretStr = Field(min_length=12)
    management_url: SecretStr | None = Field(default=None, min_length=12)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    livemode: bool = False
    jwks_file: Path | None = None
    jwt_issuer: str = Field(default="payments", min_length=1)
    retry_tiers_ms: Annotated[tuple[int, ...], NoDecode] = (5_000, 30_000, 120_000, 600_000)
    leave_seconds: float = Field(default=0.0, ge=0, le=60)  # not ready and still serving, until nobody sends more
    drain_seconds: float = Field(default=25.0, gt=0, le=300)
    otlp_endpoint: AnyHttpUrl | None = None  # of a collector, to which spans go; none are recorded without it
    otlp_sample_ratio: float = Field(default=1.0, ge=0, le=1)  # of the traces that begin here
    batch_max: int = Field(default=50, ge=1, le=500)  # messages that share one transaction

    @field_validator("retry_tiers_ms", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("otlp_endpoint", mode="before")
    @classmethod
    def _or_none(cls, value: object) -> object:
        return value or None

    @field_validator("otlp_endpoint")
    @classmethod
    def _without_login(cls, value: AnyHttpUrl | None) -> AnyHttpUrl | None:
        if value is not None and (value.username or value.password):
            raise ValueError("must carry no login: a collector near by takes spans from everybody here")
        return value

    @field_validator("database_url")
    @classmethod
    def _of_postgres(cls, value: SecretStr) -> SecretStr:
        return _beginning_with(value, "postgresql://", "postgres://")

    @field_validator("amqp_url")
    @classmethod
    def _of_amqp(cls, value: SecretStr) -> SecretStr:
        return _beginning_with(value, "amqp://", "amqps://")

    @field_validator("jwks_file", "service_key_file", check_fields=False)
    @classmethod
    def _named(cls, value: Path | None) -> Path | None:
        if value == Path():
            raise ValueError("must name a file")
        return value

    @field_validator("stripe_api_key", check_fields=False)
    @classmethod
    def _of_its_mode(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None or "livemode" not in info.data:
            return value
        key = _STRIPE_KEY.match(value.get_secret_value())
        if key is None:
            raise ValueError("must be a secret or restricted key, sk_... or rk_...")
        if (key["mode"] == "live") != info.data["livemode"]:
            raise ValueError(f"is a key of {key['mode']} mode, and PAYMENTS_LIVEMODE says otherwise")
        return value

    @field_validator("stripe_api_base", check_fields=False)
    @classmethod
    def _of_stripe_alone(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("livemode"):
            raise ValueError("must not be set in live mode: it is for the simulator")
        return value


def _beginning_with(value: SecretStr, *schemes: str) -> SecretStr:
    if not value.get_secret_value().startswith(schemes):
        raise ValueError(f"must begin with {schemes[0]}")
    return value


def load_settings(settings_type: type[S]) -> S:
    """Read the settings, or refuse to start with a line per variable that is missing or wrong, never its value."""
    try:
        return settings_type()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False, include_context=False):
            name = "PAYMENTS_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"{name}: {problem['msg']}\n")
        raise SystemExit(EXIT_CONFIG) from None
    except SettingsError as error:
        unreadable = _UNREADABLE.search(str(error))
        if unreadable is None:
            raise
        sys.stderr.write(f"PAYMENTS_{unreadable['name'].upper()}: must be JSON\n")
        raise SystemExit(EXIT_CONFIG) from None
