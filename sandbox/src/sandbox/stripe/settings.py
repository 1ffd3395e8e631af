"""Settings of the simulator; variables are `SANDBOX_STRIPE_` plus the field's name in capitals."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`public_url` is where browsers reach the hosted page."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_STRIPE_", frozen=True)

    host: str = "127.0.0.1"
    port: int
    public_url: str
    data_dir: Path
    webhook_url: str | None = None
    webhook_secret: SecretStr = SecretStr("")
