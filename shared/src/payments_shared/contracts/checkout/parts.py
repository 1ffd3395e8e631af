"""What checkout's messages are made of: the parts of an order, and of what becomes of it."""

from datetime import datetime

from payments_shared.contracts.message import CurrencyCode, Minor, Part


class BundlePart(Part):
    """So many of one SKU are in one bundle. A `digital` one is not sent."""

    sku: str
    quantity: int
    digital: bool = False


class Line(Part):
    """One line of an order. `amount_minor` is quantity times unit, before any discount. A bundle has `parts`. Of a
    `digital` one nothing is sent: of a bundle, if all of its parts are digital."""

    sku: str
    name: str
    quantity: int
    unit_amount_minor: Minor
    amount_minor: Minor
    parts: tuple[BundlePart, ...] = ()
    digital: bool = False

    def goods(self) -> list[tuple[str, int]]:
        """SKUs and quantities that leave the shelves for this line."""
        return self.sent() + self.unsent()

    def sent(self) -> list[tuple[str, int]]:
        """Those of them that are carried to the buyer."""
        return [(sku, quantity) for sku, quantity, digital in self._pieces() if not digital]

    def unsent(self) -> list[tuple[str, int]]:
        """Those of them that are not."""
        return [(sku, quantity) for sku, quantity, digital in self._pieces() if digital]

    def _pieces(self) -> list[tuple[str, int, bool]]:
        parts = [(part.sku, part.quantity * self.quantity, part.digital) for part in self.parts]
        return parts or [(self.sku, self.quantity, self.digital)]


class Customer(Part):
    """Whom to write to. `locale` is a BCP 47 tag such as `en-US`; `account` the subject of whoever was signed in."""

    email: str
    name: str | None = None
    locale: str = "en-US"
    account: str | None = None


class Client(Part):
    """From where an order was placed, to prove to a bank who placed it when a payment is disputed: the buyer's public
    address, and what his browser called itself, as far as it was told.

    It is kept by refunds alone, as long as a payment can be disputed (540 days), and is in no log and no timeline.
    """

    address: str | None = None
    user_agent: str | None = None


class Address(Part):
    """A postal address as Stripe collected it."""

    name: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    state: str | None = None
    postal_code: str | None = None
    country: str | None = None


class ShippingOption(Part):
    """A way to ship: its code, and its name as the buyer saw it."""

    code: str
    name: str


class Payment(Part):
    """Money captured for an order by one payment intent."""

    payment_intent: str
    amount_minor: Minor
    currency: CurrencyCode


class RecoveryLink(Part):
    """What opens an order that ended to whoever was written to: `token` until `expires_at`. It does not show the order
    as its own token does; it shows its cart, and takes it up again."""

    token: str
    expires_at: datetime


class PaymentProblem(Part):
    """Why a payment failed, as the buyer may be told. `code` is stable, `advice` a sentence, and `retryable` says that
    the same card may well work. `alternatives`: `another_card`, `wallet`, `bank_debit`."""

    code: str
    advice: str
    retryable: bool
    alternatives: tuple[str, ...] = ()
