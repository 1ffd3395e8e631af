"""What is wanted, what it costs, and what is taken off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from checkout.model.delivery import UNDELIVERED, UNTAXED, Delivery, DeliveryWish, Tax, Way


@dataclass(frozen=True, slots=True)
class Wanted:
    """A line that a buyer asks for."""

    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Price:
    """A product and what one costs in one currency, and in the shop's own (`base_amount_minor`); None: not offered in
    it. `parts` are the SKUs and quantities that one of it consists of, if it is a bundle, and `digital_parts` those of
    them that are not sent; of anything else says `digital` that it is not.
    """

    sku: str
    name: str
    active: bool
    tax_code: str | None
    unit_amount_minor: int | None
    parts: Mapping[str, int]
    base_amount_minor: int | None = None
    digital: bool = False
    digital_parts: Sequence[str] = ()

    @property
    def is_sent(self) -> bool:
        """Whether any of it has to be carried to the buyer; of a bundle its parts tell."""
        return bool(self.parts.keys() - set(self.digital_parts)) if self.parts else not self.digital


@dataclass(frozen=True, slots=True)
class Coupon:
    """A coupon and its uses. Exactly one of `percent_basis_points` and `amounts_off` (by currency) is set.

    `skus` are the products that it takes something off; None means all.
    """

    code: str
    percent_basis_points: int | None
    amounts_off: Mapping[str, int] | None
    minimums: Mapping[str, int] = field(default_factory=dict)
    max_redemptions: int | None = None
    per_customer: int | None = None
    first_order_only: bool = False
    skus: Sequence[str] | None = None
    active: bool = True
    held: int = 0
    redeemed: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """A code that stands for a coupon, for fewer people or carts. `uses` are those that count. With an address in lower
    case or a subject it is for that customer alone."""

    code: str
    coupon: str
    active: bool = True
    max_redemptions: int | None = None
    first_order_only: bool = False
    minimums: Mapping[str, int] = field(default_factory=dict)
    email: str | None = None
    customer_subject: str | None = None
    valid_until: datetime | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a customer stands to a coupon: `uses` of it that count, `first_order_uses` of all that are for a first order,
    and whether he has ordered before."""

    uses: int = 0
    first_order_uses: int = 0
    has_ordered: bool = False


@dataclass(frozen=True, slots=True)
class Cart:
    """What a customer wants, one line per SKU, with his coupon, how he stands to it, and how he wants it delivered.
    `promotion` is the code that stood for the coupon. `now` is the business clock."""

    lines: tuple[Wanted, ...]
    coupon: Coupon | None
    standing: Standing
    now: datetime
    delivery: DeliveryWish = UNDELIVERED
    promotion: Promotion | None = None


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line at the price of the catalogue. `parts` are what one of it consists of, if it is a bundle, and
    `digital_parts` those that are not sent. `digital`: nothing of it is."""

    sku: str
    name: str
    quantity: int
    unit_amount_minor: int
    tax_code: str | None = None
    parts: Mapping[str, int] = field(default_factory=dict)
    digital: bool = False
    digital_parts: Sequence[str] = ()

    @property
    def amount_minor(self) -> int:
        return self.quantity * self.unit_amount_minor


@dataclass(frozen=True, slots=True)
class Rates:
    """What one euro was worth on `day`, by currency, as `source` published it."""

    day: date
    source: str
    per_euro: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Exchange:
    """How prices in `base` became prices in another currency: at `rate`, published for `day` by `source`."""

    base: str
    rate: Decimal
    day: date
    source: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a cart costs. `exchange`: some of its prices were converted. `off_minor` is what the discount takes off each
    line; `delivery` None: nothing is shipped. `store_credit_minor` of the total is paid with store credit."""

    currency: str
    lines: tuple[PricedLine, ...]
    subtotal_minor: int
    discount_minor: int
    coupon: str | None = None
    exchange: Exchange | None = None
    off_minor: tuple[int, ...] = ()
    delivery: Delivery | None = None
    tax: Tax = UNTAXED
    promotion: str | None = None
    wish: DeliveryWish = UNDELIVERED
    store_credit_minor: int = 0

    @property
    def shipping_minor(self) -> int:
        return self.delivery.amount_minor if self.delivery else 0

    @property
    def total_minor(self) -> int:
        return self.subtotal_minor - self.discount_minor + self.shipping_minor + self.tax.added_minor

    @property
    def largest_minor(self) -> int:
        """The total with the dearest way to ship; what Stripe Tax adds to it on the page is not known before."""
        return self.total_minor + (self.delivery.dearest_minor - self.delivery.amount_minor if self.delivery else 0)

    def total_with(self, way: Way) -> int | None:
        """The total with another way to ship; None where Stripe says what tax is due with it."""
        if way.added_minor is None or self.delivery is None:
            return None
        taxed = next((one.added_minor or 0 for one in self.delivery.ways if one.offer in self.delivery.offers[:1]), 0)
        return self.total_minor - self.shipping_minor - taxed + way.offer.amount_minor + way.added_minor

    @property
    def due_minor(self) -> int:
        """What is asked of Stripe."""
        return self.total_minor - self.store_credit_minor

    @property
    def covered(self) -> bool:
        """Nothing is left to pay, since store credit pays it or a coupon takes it off: Stripe is not asked."""
        return self.due_minor == 0


@dataclass(frozen=True, slots=True)
class Redemption:
    """An order's use of a coupon: held, redeemed, released, or honoured although no use was left.

    A customer is known by his address in lower case or, signed in, by the subject of his token. `promotion` is the code
    that stood for the coupon.
    """

    order_id: UUID
    code: str
    state: str
    email: str | None = None
    customer_subject: str | None = None
    promotion: str | None = None
