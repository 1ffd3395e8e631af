"""Which parameters a request may carry: whatever else comes is refused, as Stripe does."""

from collections.abc import Iterable
from typing import Any

from sandbox.stripe.errors import invalid, unknown_param

COMMON = frozenset({"expand"})
LISTING = frozenset({"limit", "starting_after", "ending_before", "created"}) | COMMON


def only(given: dict[str, Any], allowed: Iterable[str], prefix: str = "") -> None:
    """Refuse parameters that are not `allowed`."""
    permitted = frozenset(allowed)
    for name in given:
        if name not in permitted:
            raise unknown_param(f"{prefix}[{name}]" if prefix else name)


def group(given: dict[str, Any], name: str) -> dict[str, Any]:
    """A nested group, empty when absent."""
    value = given.get(name, {})
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=name)
    return value


def rows(given: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of groups, empty when absent."""
    value = given.get(name, [])
    if value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise invalid("Invalid array", param=name)
    return value


def texts(given: dict[str, Any], name: str) -> dict[str, str]:
    """Metadata: strings within Stripe's limits; an empty value deletes."""
    value = group(given, name)
    if len(value) > 50 or any(len(k) > 40 or not isinstance(v, str) or len(v) > 500 for k, v in value.items()):
        raise invalid("Metadata is limited to 50 keys of 40 characters with values of 500.", param=name)
    return {key: text for key, text in value.items() if text != ""}


def flag(text: Any) -> bool:  # Any: a form value
    """A form value as a boolean."""
    return text in ("true", "True", "1", True)
