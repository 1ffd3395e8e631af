"""Settings of the identity provider; variables are `SANDBOX_IDENTITY_` plus the field's name in capitals."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`public_url` is the issuer, as browsers reach it; `internal_url` is where clients reach it, if that differs. One
    client is known: its id, its secret, and the one address to which people are sent back. `key_file` has the key with
    which people's tokens for the services are signed."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_IDENTITY_", frozen=True)

    host: str = "127.0.0.1"
    port: int
    public_url: str
    internal_url: str | None = None
    client_id: str
    client_secret: SecretStr = Field(min_length=16)
    redirect_uri: str
    key_file: Path
