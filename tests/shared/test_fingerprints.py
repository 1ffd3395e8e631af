"""One cause makes one group of dead letters, wherever below our own code it was noticed."""

import json
from collections.abc import Callable

import pytest

from payments_shared.messaging.recoverability import fingerprint

TYPE = "order.paid.v1"
COMPILED = """
def prepare(): raise LookupError("no such column")
def execute(): raise LookupError("no such column")
"""


def compiled() -> dict[str, Callable[[], None]]:
    """Functions of an extension that was compiled: its frames name their source as it was given to the compiler."""
    found: dict[str, Callable[[], None]] = {"__name__": "driver.protocol"}  # type: ignore[dict-item] # a module's name
    exec(compile(COMPILED, "driver/protocol/protocol.pyx", "exec"), found)  # noqa: S102 - there is no other way to such a frame
    return found


def reading(text: str) -> None:
    json.loads(text)


def asking(act: Callable[[], None]) -> None:
    act()


def asking_otherwise(act: Callable[[], None]) -> None:
    act()


def print_of(act: Callable[..., None], *arguments: object) -> str:
    with pytest.raises((LookupError, ValueError)) as failed:
        act(*arguments)
    return fingerprint(failed.value, TYPE)


def test_what_is_noticed_at_two_places_of_an_extension_is_one_cause() -> None:
    driver = compiled()

    assert print_of(asking, driver["prepare"]) == print_of(asking, driver["execute"])


def test_what_is_noticed_at_two_places_of_the_standard_library_is_one_cause() -> None:
    assert print_of(reading, "nothing") == print_of(reading, "{} and more")


def test_what_fails_at_two_places_of_our_own_is_two_causes() -> None:
    driver = compiled()

    assert print_of(asking, driver["prepare"]) != print_of(asking_otherwise, driver["prepare"])


def test_errors_of_two_kinds_are_two_causes() -> None:
    assert print_of(reading, "nothing") != print_of(asking, compiled()["prepare"])
