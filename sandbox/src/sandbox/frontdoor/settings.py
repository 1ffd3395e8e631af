"""Settings of the front door; variables are `SANDBOX_FRONTDOOR_` plus the field's name in capitals."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where each route leads."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_FRONTDOOR_", frozen=True)

    host: str = "127.0.0.1"
    port: int
    checkout_url: str
    ingest_url: str
    refunds_url: str
    notifications_url: str
    shop_url: str
