"""SQL that every schema shares. Migrations include the tables; provisioning applies the platform's functions."""

from importlib import resources


def platform_sql() -> str:
    """The schema `payments`."""
    return resources.files(__name__).joinpath("platform.sql").read_text(encoding="utf-8")
