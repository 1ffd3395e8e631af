"""What inventory says: what became of an order's stock."""

from typing import ClassVar, Final

from payments_shared.contracts.message import AboutOrder, Message, Part

OWNER: Final = "inventory"


class StockLine(Part):
    """A quantity of one SKU."""

    sku: str
    quantity: int


class MissingLine(Part):
    """A line that could not be had: `available` of `quantity`."""

    sku: str
    quantity: int
    available: int


class StockCommitted(AboutOrder):
    """The order's stock is sold; it may leave the house."""

    TYPE: ClassVar[str] = "stock.committed.v1"

    lines: tuple[StockLine, ...]


class StockReleased(AboutOrder):
    """The order's stock is free again."""

    TYPE: ClassVar[str] = "stock.released.v1"

    lines: tuple[StockLine, ...]
    reason: str


class StockShortfall(AboutOrder):
    """The order is paid and its stock cannot be had: the money must go back in full."""

    TYPE: ClassVar[str] = "stock.shortfall.v1"

    missing: tuple[MissingLine, ...]


class StockLow(Message):
    """A SKU fell to its threshold."""

    TYPE: ClassVar[str] = "stock.low.v1"

    sku: str
    available: int
    threshold: int

    def subject(self) -> str:
        return f"sku/{self.sku}"

    def partition_key(self) -> str:
        return self.sku


EVENTS: Final = (StockCommitted, StockReleased, StockShortfall, StockLow)
COMMANDS: Final[tuple[type[Message], ...]] = ()
