"""The only module that makes identifiers.

Inside they are UUIDs; at the edge they carry a prefix that says what they name: `ord_0198…`.
"""

import random
import secrets
from typing import Final
from uuid import UUID

import uuid_utils.compat

_UNGUARDED: Final = random.Random(secrets.randbits(128))  # noqa: S311 - for names, see random_hex
_NAMESPACE: Final = UUID("6f2f4b1e-6c0f-5a53-9a57-0f9d0e6f7a11")


def new_id() -> UUID:
    """A UUIDv7: unique, and in rough order of creation, which keeps index pages warm."""
    return uuid_utils.compat.uuid7()


def derived_id(*parts: str) -> UUID:
    """The same UUID for the same `parts`, so that a repeated cause names the same effect."""
    return uuid_utils.compat.uuid5(_NAMESPACE, "\x1f".join(parts))


def new_secret(bits: int = 128) -> str:
    """A random lower-case hex string of `bits` bits, fit for a token."""
    return secrets.token_hex(bits // 8)


def random_hex(bits: int) -> str:
    """Random lower-case hex digits for what need only be unique, such as trace ids. Never for a secret: this asks the
    system for randomness once, not each time, and can be guessed by who sees enough of it."""
    return f"{_UNGUARDED.getrandbits(bits):0{bits // 4}x}"


def external_id(prefix: str, value: UUID) -> str:
    """`ord_` plus 32 hex digits: how an id is shown outside."""
    return f"{prefix}_{value.hex}"


def parse_external_id(prefix: str, text: str) -> UUID:
    """Read back what `external_id` wrote.

    Raises:
        ValueError: another prefix, another length, or not lower-case hex.
    """
    head, separator, digits = text.partition("_")
    if head != prefix or not separator or len(digits) != 32 or digits != digits.lower():
        raise ValueError(f"not an identifier of the form {prefix}_<32 hex digits>")
    return UUID(hex=digits)
