"""Settings of webhook-ingest."""

import json
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from payments_shared.settings import ServiceSettings

SECRET_MIN = 16


class WebhookSecret(BaseModel):
    """One signing secret; `not_after` ends it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    secret: SecretStr = Field(min_length=SECRET_MIN)
    not_after: datetime | None = None


class Settings(ServiceSettings):
    """`stripe_webhook_secrets`: one secret, several by commas, or a JSON list of `{secret, not_after}`."""

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_webhook_secrets: Annotated[tuple[WebhookSecret, ...], NoDecode] = Field(min_length=1)
    stripe_accounts: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("stripe_webhook_secrets", mode="before")
    @classmethod
    def _secrets(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [{"secret": part.strip()} for part in value.split(",") if part.strip()]

    @field_validator("stripe_accounts", mode="before")
    @classmethod
    def _accounts(cls, value: object) -> object:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value
