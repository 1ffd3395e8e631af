"""Which parameters a request may carry: whatever else comes is refused, as Stripe does."""

from collections.abc import Iterable
from typing import Any, Final

from sandbox.stripe.errors import invalid, unknown_param
from sandbox.stripe.machine import Machine

ADDRESS: Final = ("city", "country", "line1", "line2", "postal_code", "state")

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


def change_texts(value: dict[str, Any], given: dict[str, Any]) -> None:
    """Change the metadata of an object: given keys are set, an empty value deletes its key."""
    changes = group(given, "metadata") if given.get("metadata") != "" else dict.fromkeys(value["metadata"], "")
    texts({"metadata": changes}, "metadata")
    merged = {**value["metadata"], **changes}
    value["metadata"] = {key: text for key, text in merged.items() if text != ""}


def update(machine: Machine, value: dict[str, Any], given: dict[str, Any], event: str) -> dict[str, Any]:
    """Set the plain fields and the metadata that were given, and say so in an event with what they were before."""
    before = dict(value)
    for name in given.keys() - {"metadata", "active"}:
        value[name] = given[name] or None
    if "active" in given:
        value["active"] = flag(given["active"])
    change_texts(value, given)
    machine.store.put(value["object"], value)
    machine.emit(event, value, previous={name: before[name] for name in given if before[name] != value[name]})
    return value


def matching(rows: Iterable[dict[str, Any]], given: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that agree with every filter in `given` that is not about paging."""
    wanted = {name: value for name, value in given.items() if name not in LISTING}
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def shipping(given: dict[str, Any], where: str) -> dict[str, Any]:
    """A shipping address as an intent keeps it."""
    value = group(given, "shipping")
    address = group(value, "address")
    only(value, ("address", "name", "phone", "carrier", "tracking_number"), where)
    only(address, ADDRESS, f"{where}[address]")
    return {
        "address": {name: address.get(name) for name in ADDRESS},
        "carrier": value.get("carrier"),
        "name": value.get("name"),
        "phone": value.get("phone"),
        "tracking_number": value.get("tracking_number"),
    }
