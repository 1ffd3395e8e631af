"""Settings of the shop; variables are `SANDBOX_SHOP_` plus the field's name in capitals."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`api_url` is the platform's front door. `key_file` signs the tokens with which the shop reads prices and stock
    at the administrators' ports. `secret` signs the buyer's cookie. Spans go to `otlp_endpoint`, where there is one."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_SHOP_", frozen=True)

    host: str = "127.0.0.1"
    port: int
    api_url: str
    checkout_admin_url: str
    inventory_admin_url: str
    key_file: Path
    secret: SecretStr = Field(min_length=32)
    otlp_endpoint: str = ""
