"""Settings of webhook-ingest."""

import json
from datetime import date, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator
from pydantic_settings import NoDecode

from payments_shared.settings import ServiceSettings

SECRET_MIN = 16


class WebhookSecret(BaseModel):
    """One signing secret; `not_after` ends it."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    secret: SecretStr = Field(min_length=SECRET_MIN)
    not_after: datetime | None = None


class Settings(ServiceSettings):
    """`stripe_webhook_secrets`: one secret, several by commas, or a JSON list of `{secret, not_after}`.

    `stripe_api_key` may read events and need do nothing else; without one, events whose webhooks were lost are not
    asked for. `stripe_webhook_secrets_created_on` is the day on which the oldest secret that is in use was made, and
    `stripe_api_key_created_on` that of the key: Stripe does not tell, and what nobody says is not watched.

    `pull_seconds` is how often they are, `pull_grace_seconds` how long a webhook may take before that. Every
    `look_through_seconds` all events are asked for that somebody hears, delivered or not.
    """

    public_port: int = Field(default=0, ge=0, le=65535)
    stripe_webhook_secrets: Annotated[tuple[WebhookSecret, ...], NoDecode] = Field(min_length=1)
    stripe_webhook_secrets_created_on: date | None = None
    stripe_accounts: Annotated[tuple[str, ...], NoDecode] = ()

    stripe_api_key: SecretStr | None = Field(default=None, min_length=20)
    stripe_api_key_created_on: date | None = None
    stripe_api_base: HttpUrl | None = None
    pull_seconds: float = Field(default=3600.0, gt=0)
    pull_grace_seconds: float = Field(default=600.0, ge=0)
    look_through_seconds: float = Field(default=3600.0, gt=0, le=604_800)  # a dispute may be due after a week

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
