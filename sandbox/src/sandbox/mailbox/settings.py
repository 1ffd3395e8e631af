"""Settings of the mailbox; variables are `SANDBOX_MAILBOX_` plus the field's name in capitals."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Two ports and a folder."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_MAILBOX_", frozen=True)

    host: str = "127.0.0.1"
    smtp_port: int
    http_port: int
    data_dir: Path
