"""Ways in which messages fail: for each that a service hears, some exceptions, with a trace as Python prints it."""

from itertools import product
from typing import Final

from payments_shared.contracts.catalog import CATALOG

_OURSELVES: Final = "operations"  # keeps no dead letters of its own
_EXCEPTIONS: Final = (
    ("payments_shared.errors.Poison", "The amounts of the lines do not add up to the total of the order"),
    ("asyncpg.exceptions.CheckViolationError", 'new row for relation "orders" violates check constraint "paid_once"'),
    ("pydantic_core._pydantic_core.ValidationError", "1 validation error for Fact: currency must be of three letters"),
)
_FRAMES: Final = 18


def ways() -> list[dict[str, str]]:
    """(service, type, exception, message, handler, stack), as the fill of the bench takes them."""
    heard = [(service, type_) for type_, entry in sorted(CATALOG.items()) for service in sorted(entry.hearers)]
    return [
        _way(service, type_, exception, text)
        for (service, type_), (exception, text) in product(heard, _EXCEPTIONS)
        if service != _OURSELVES
    ]


def _way(service: str, type_: str, exception: str, text: str) -> dict[str, str]:
    handler = f"{service}.handlers.{type_.replace('.', '_')}"
    frames = "".join(
        f'  File "/app/services/{service}/src/{service}/handlers/keeping.py", line {40 + 7 * depth}, in step_{depth}\n'
        f"    await self._store.keep(connection, fact, before=known[{depth}])\n"
        for depth in range(_FRAMES)
    )
    stack = f"Traceback (most recent call last):\n{frames}{exception}: {text} in {type_}\n"
    return {
        "service": service,
        "type": type_,
        "exception": exception,
        "message": f"{text}:",
        "handler": handler,
        "stack": stack,
    }
