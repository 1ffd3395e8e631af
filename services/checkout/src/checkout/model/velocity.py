"""How often cards were tried, by whom and from where."""

from dataclasses import dataclass
from uuid import UUID

from checkout.model.limits import Limit


@dataclass(frozen=True, slots=True)
class Limits:
    """When it is too much: at `most` of something in the window of its `seconds`, which is how long nothing is taken
    then; None: there is no such limit. Declines of one order count for as long as the order lives."""

    declines_per_order: Limit | None = None
    declines_per_address: Limit | None = None
    cards_per_address: Limit | None = None
    declines_per_buyer: Limit | None = None
    cards_per_buyer: Limit | None = None
    declines_per_card: Limit | None = None


@dataclass(frozen=True, slots=True)
class Openings:
    """How many orders that may still be paid one buyer may have, and how many guests at one address together; 0: as
    many as they like."""

    per_customer: int = 0
    per_address: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What was tried before and with a declined attempt. Marks are keyed hashes; `email` None: it was for no order."""

    charge: str
    address: str | None
    email: str | None
    subject: str | None
    card: str | None
    order_declines: int
    address_declines: int
    address_cards: int
    buyer_declines: int
    buyer_cards: int
    card_declines: int


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that was reached, with how much it counted, and the marks that place nothing while its window lasts.
    `own`: by the order, its buyer or his card, not only by others at the same address."""

    limit: Limit
    counted: int
    marks: tuple[str, ...]
    own: bool = True

    @property
    def reason(self) -> str:
        return f"{self.limit.name}: {self.counted} of {self.limit.most} in {self.limit.seconds} s"


@dataclass(frozen=True, slots=True)
class Block:
    """Who has the mark places nothing for so long, for the sake of `rule`."""

    mark: str
    rule: str
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Marked:
    """An attempt with the marks of its card and its buyer. `order_id` and `email` None: it was to save the card."""

    charge: str
    order_id: UUID | None
    declined: bool
    card: str | None
    email: str | None
    subject: str | None
