"""Where goods go, how they get there, and what tax is due on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the buyer is, or wants his goods: ISO 3166-1 and the part of it after the country in ISO 3166-2. `pointer`
    is the part of the request that named the country, as an RFC 6901 pointer."""

    country: str | None = None
    region: str | None = None
    postal_code: str | None = None
    pointer: str = ""


NOWHERE: Final = Destination()


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets a parcel, and where in the destination: what is typed on a page otherwise."""

    name: str
    line1: str
    line2: str | None = None
    city: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True, slots=True)
class DeliveryWish:
    """What a request says of delivery. `asked`: the page asks for an address; `option`: the code of a way to ship."""

    destination: Destination = NOWHERE
    asked: bool = False
    option: str | None = None


UNDELIVERED: Final = DeliveryWish()


@dataclass(frozen=True, slots=True)
class ShippingOption:
    """A way to ship. Free where the goods cost `free_above` or more after the discount; `countries` None: any."""

    code: str
    name: str
    amounts: Mapping[str, int]
    free_above: Mapping[str, int] = field(default_factory=dict)
    countries: Sequence[str] | None = None
    days_min: int | None = None
    days_max: int | None = None
    tax_code: str | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class Offer:
    """A way to ship one order, at its price."""

    code: str
    name: str
    amount_minor: int
    days_min: int | None = None
    days_max: int | None = None
    tax_code: str | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A way that may be chosen, with the tax by the table that its price adds; None: another says what is due."""

    offer: Offer
    added_minor: int | None = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the page offers, the cheapest first, and the countries to which it ships. What the cart costs is told with
    the first; without any the address alone is asked for. `ways` are all that the cart could be sent by, also where
    the page offers one."""

    offers: tuple[Offer, ...]
    countries: tuple[str, ...]
    ways: tuple[Way, ...] = ()

    @property
    def amount_minor(self) -> int:
        return self.offers[0].amount_minor if self.offers else 0

    @property
    def dearest_minor(self) -> int:
        """What the dearest way costs: the buyer chooses on the page."""
        return max((offer.amount_minor for offer in self.offers), default=0)


class TaxSource(StrEnum):
    """Who says what tax is due: nobody, our own table, or Stripe Tax."""

    NONE = "none"
    TABLE = "table"
    STRIPE = "stripe"


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A rate of the table, in millionths: 88750 is 8.875 %. `region` and `tax_code` None: all that no other row is for.
    Inclusive: catalogue prices contain it already."""

    country: str
    region: str | None
    tax_code: str | None
    name: str
    rate_millionths: int
    inclusive: bool


@dataclass(frozen=True, slots=True)
class TaxShare:
    """What one rate makes of an order."""

    name: str
    rate_millionths: int
    inclusive: bool
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Tax:
    """The tax of an order: `added_minor` comes on top of the prices, `included_minor` is in them. `lines_minor` is for
    each line of the order, `shipping_minor` the tax on shipping; both are of the table. `inclusive`: Stripe finds what
    is contained in the prices."""

    source: TaxSource = TaxSource.NONE
    added_minor: int = 0
    included_minor: int = 0
    shares: tuple[TaxShare, ...] = ()
    lines_minor: tuple[int, ...] = ()
    shipping_minor: int = 0
    inclusive: bool = False


UNTAXED: Final = Tax()


@dataclass(frozen=True, slots=True)
class DeliveryTerms:
    """What the shop says of delivery and tax. `required`: the page asks for an address whenever goods are in the cart.
    `countries`: where the shop ships, none named means wherever Stripe takes an address. `options` and `rates` are what
    its catalogue has for the cart. `inclusive`: Stripe Tax takes catalogue prices to contain their tax."""

    required: bool = False
    countries: Sequence[str] = ()
    options: Sequence[ShippingOption] = ()
    source: TaxSource = TaxSource.NONE
    rates: Sequence[TaxRate] = ()
    inclusive: bool = False


NO_TERMS: Final = DeliveryTerms()
