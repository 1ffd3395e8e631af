"""Orders that are paid with two saved methods: both are authorized, then both captured, or neither."""

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """How far a part has come at Stripe. `refused`: declined, or its bank asks for its owner."""

    NEW = "new"
    AUTHORIZED = "authorized"
    REFUSED = "refused"
    CLOSED = "closed"
    CAPTURED = "captured"


@dataclass(frozen=True, slots=True)
class Leg:
    """One part of a payment, minor units. From `asked` on its intent may exist, also while it is not known. `refused`:
    it was declined once, whatever became of its intent."""

    method: str
    amount_minor: int
    payment_intent: str | None = None
    standing: Standing = Standing.NEW
    asked: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """The parts of a payment. `releasing`: it will not come about, and what is authorized is given back."""

    legs: tuple[Leg, ...]
    releasing: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A wish to pay so much with one method; without an amount, the rest."""

    method_id: str
    amount_minor: int | None
