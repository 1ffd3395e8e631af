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
    """`reference`: an identifier with a prefix, ours or Stripe's, that may stand in a message."""

    ORDER = "order"
    ID = "id"
    REFERENCE = "reference"
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
    plain = text.strip()[:TEXT_MAX]
    if _ORDER.fullmatch(plain):
        return Term(plain, Kind.ORDER)
    if _REFERENCE.fullmatch(plain):
        return Term(plain, Kind.REFERENCE)
    try:
        return Term(plain, Kind.ID, UUID(plain))
    except ValueError:
        return Term(plain, Kind.ADDRESS if "@" in plain else Kind.NOTHING)
