"""What somebody searches for. Pure."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

TEXT_MAX: Final = 255
_ORDER: Final = re.compile(r"ord_[0-9a-f]{32}", re.ASCII)
_REFERENCE: Final = re.compile(r"[a-z]{2,12}_[A-Za-z0-9_]{8,250}", re.ASCII)


class Kind(StrEnum):
    """`reference`: an identifier with a prefix, ours or Stripe's, that may stand in a message. `account`: whatever else
    may be the subject of a customer who was signed in; references and ids may be one, too."""

    ORDER = "order"
    ID = "id"
    REFERENCE = "reference"
    ACCOUNT = "account"
    ADDRESS = "address"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Term:
    """What was typed, and what it can be. `id` is there for the kind of that name."""

    text: str
    kind: Kind
    id: UUID | None = None


def read(text: str) -> Term:
    """What `text`, as people type or paste it, can name."""
    plain = text.strip()
    if len(plain) > TEXT_MAX:
        return Term(plain[:TEXT_MAX], Kind.NOTHING)
    if _ORDER.fullmatch(plain):
        return Term(plain, Kind.ORDER)
    if _REFERENCE.fullmatch(plain):
        return Term(plain, Kind.REFERENCE)
    try:
        return Term(plain, Kind.ID, UUID(plain))
    except ValueError:
        return Term(plain, _kind_of_other(plain))


def _kind_of_other(plain: str) -> Kind:
    if "@" in plain:
        return Kind.ADDRESS
    return Kind.ACCOUNT if plain.isprintable() and plain and " " not in plain else Kind.NOTHING
