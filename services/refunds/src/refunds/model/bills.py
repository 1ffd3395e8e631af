"""What an order cost, and what of it may still go back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

STORE_CREDIT = "store_credit"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. `amount_minor` before any discount; `goods`: SKUs and quantities of one piece of it."""

    sku: str
    name: str
    quantity: int
    amount_minor: int
    goods: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """`subtotal - discount + tax + shipping == total`; `total` is what was captured and what store credit paid."""

    currency: str
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    shipping_minor: int
    total_minor: int
    store_credit_minor: int
    lines: tuple[Line, ...]
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Shares:
    """An amount by what it stands for. Goods are net of their discount, and tax is that of goods and of shipping."""

    goods_minor: int
    tax_minor: int
    shipping_minor: int

    @property
    def total_minor(self) -> int:
        return self.goods_minor + self.tax_minor + self.shipping_minor

    def __add__(self, other: "Shares") -> "Shares":
        return Shares(
            self.goods_minor + other.goods_minor,
            self.tax_minor + other.tax_minor,
            self.shipping_minor + other.shipping_minor,
        )

    def __sub__(self, other: "Shares") -> "Shares":
        return Shares(
            self.goods_minor - other.goods_minor,
            self.tax_minor - other.tax_minor,
            self.shipping_minor - other.shipping_minor,
        )


NOTHING = Shares(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Returned:
    """So many pieces of the line with that index. `restock`: they may be sold again once they are back."""

    line: int
    quantity: int
    restock: bool
    goods_minor: int = 0
    tax_minor: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """What active refunds of an order gave back together: pieces and money by line, and money by share. `fees_minor`:
    what they kept for restocking."""

    shares: Shares = NOTHING
    lines: tuple[Returned, ...] = ()
    fees_minor: int = 0

    def pieces(self, line: int) -> int:
        """How many pieces of a line were given back."""
        return sum(one.quantity for one in self.lines if one.line == line)

    def money(self, line: int) -> tuple[int, int]:
        """Goods and tax of a line that were given back with its pieces."""
        of_line = [one for one in self.lines if one.line == line]
        return sum(one.goods_minor for one in of_line), sum(one.tax_minor for one in of_line)


@dataclass(frozen=True, slots=True)
class Tender:
    """Money that paid an order: a capture by its payment intent, or store credit.

    `spent_minor`: refunded, or on its way; `disputed_minor`: withheld by disputes that are open or lost.
    """

    name: str
    taken_minor: int
    spent_minor: int = 0
    disputed_minor: int = 0

    @property
    def left_minor(self) -> int:
        """What may still go back to it: nothing, where a dispute speaks of money that was refunded before."""
        return max(self.taken_minor - self.spent_minor - self.disputed_minor, 0)


# -- what is asked for -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Everything:
    """All that is left. `restock`: what was not sent, or comes back, may be sold again."""

    restock: bool = True
    fee_minor: int = 0


@dataclass(frozen=True, slots=True)
class Amount:
    """So much, for no particular piece."""

    amount_minor: int


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces of lines by index, each line once, and what is left of shipping where it is asked for. `fee_minor` is kept
    for restocking."""

    lines: tuple[Returned, ...]
    shipping: bool = False
    fee_minor: int = 0


Wish = Everything | Amount | Pieces


@dataclass(frozen=True, slots=True)
class Sum:
    """What a refund gives back. `fee_minor` was kept: it is in none of the shares."""

    shares: Shares
    lines: tuple[Returned, ...] = ()
    fee_minor: int = 0

    @property
    def amount_minor(self) -> int:
        return self.shares.total_minor


@dataclass(frozen=True, slots=True)
class Active:
    """What a request gives back, and how much of it is active: a refund of it may have failed."""

    sum: Sum
    amount_minor: int
    active_minor: int


Apportioned = Mapping[str, int]
