"""SQL that every schema shares. Migrations include the tables; provisioning applies the platform's functions."""

from importlib import resources


def platform_sql() -> str:
    """The schema `payments`."""
    return resources.files(__name__).joinpath("platform.sql").read_text(encoding="utf-8")


def bindings_sql() -> str:
    """The table `payments.bindings`, with what was heard before there was one."""
    return resources.files(__name__).joinpath("bindings.sql").read_text(encoding="utf-8")


def truth_sql() -> str:
    """The schema `stripe_truth`."""
    return resources.files(__name__).joinpath("stripe_truth.sql").read_text(encoding="utf-8")
