"""Settings of the compose file's helpers; variables are `SANDBOX_COMPOSE_` plus the field's name in capitals."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Folders(BaseSettings):
    """Where each key goes: a folder per reader, so that a service is given its own key and no other."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_COMPOSE_", frozen=True)

    jwks_dir: Path
    checkout_key_dir: Path
    people_key_dir: Path


class Shelf(BaseSettings):
    """Which services' administrators' ports to fill. `key_file` signs the token for it."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_COMPOSE_", frozen=True)

    checkout_url: str
    inventory_url: str
    key_file: Path


class Operator(BaseSettings):
    """`key_file` signs the operator's token."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_COMPOSE_", frozen=True)

    key_file: Path
