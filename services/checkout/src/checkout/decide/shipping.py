"""Whether a cart is shipped, where to, in which ways, and for how much. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from checkout.decide.exchange import converted
from checkout.model.carts import Exchange
from checkout.model.delivery import Delivery, DeliveryTerms, DeliveryWish, Destination, Offer, ShippingOption, Way
from payments_shared.errors import FieldError, Refused

OFFERS_MAX: Final = 5
"""Source: Stripe API, "Create a Checkout Session", `shipping_options`."""

_CODES: Final = (
    "AC AD AE AF AG AI AL AM AO AQ AR AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY "
    "BZ CA CD CF CG CH CI CK CL CM CN CO CR CV CW CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FO FR GA "
    "GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HN HR HT HU ID IE IL IM IN IO IQ IS IT JE JM JO JP "
    "KE KG KH KI KM KN KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MK ML MM MN MO MQ MR MS MT "
    "MU MV MW MX MY MZ NA NC NE NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PY QA RE RO RS RU "
    "RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SZ TA TC TD TF TG TH TJ TK TL TM TN TO TR TT TV "
    "TW TZ UA UG US UY UZ VA VC VE VG VN VU WF WS XK YE YT ZA ZM ZW"
)
ADDRESSED: Final = frozenset(_CODES.split())
"""Where Stripe's page takes an address. Source: Stripe API, `shipping_address_collection.allowed_countries`."""


def is_shipped(wish: DeliveryWish, terms: DeliveryTerms, *, goods: bool) -> bool:
    """Whether the page asks for an address: somebody must want it, and something in the cart must be `goods`, which
    have to be carried."""
    return goods and (wish.asked or terms.required)


def delivery_of(
    wish: DeliveryWish, terms: DeliveryTerms, *, goods_minor: int, currency: str, exchange: Exchange | None
) -> Delivery:
    """The ways to ship a cart whose goods cost `goods_minor` after the discount.

    A way that is for some countries is offered once the country is known: the page cannot tell its options apart by
    the address that is typed there.

    Raises:
        Refused: 422 `shipping_country_not_served`, `shipping_not_offered`, or `country_needed`.
    """
    country = wish.destination.country
    ways = _offers([way for way in terms.options if _reaches(way, country)], goods_minor, currency, exchange)
    served = tuple(sorted(terms.countries or ADDRESSED))
    if country is not None and country not in served:
        raise _refused("shipping_country_not_served", "The shop does not ship there.", "/shipping/country")
    fitting = [option for option in terms.options if wish.option in (None, option.code)]
    if wish.option is not None and not fitting:
        raise _not_offered("There is no such way to ship.")
    near = [option for option in fitting if _reaches(option, country)]
    if fitting and not near:
        if country is None and len(fitting) == 1:
            near, served = fitting, tuple(sorted(set(fitting[0].countries or ()) & set(served)))
        elif country is None:
            raise _refused("country_needed", "Say where the goods shall go.", "/shipping/country")
    offers = _offers(near, goods_minor, currency, exchange)
    if (terms.options and not offers) or not served:
        raise _not_offered("Nothing in the cart can be shipped there in this way.")
    return Delivery(offers[:OFFERS_MAX], (country,) if country else served, tuple(map(Way, ways)))


def is_converted(option: ShippingOption, *, base: str, currency: str) -> bool:
    """Whether the option has its price, or the amount above which it is free, in the shop's own currency alone."""
    return any(currency not in named and base in named for named in (option.amounts, option.free_above))


def wish_again(tax: Mapping[str, Any] | None, shipping: Mapping[str, Any] | None) -> DeliveryWish:  # Any: jsonb
    """What was said of delivery when an order was placed, from what it keeps."""
    place = tax or {}
    destination = Destination(place.get("country"), place.get("region"))
    return DeliveryWish(destination, asked=shipping is not None, option=(shipping or {}).get("wanted"))


def address_of(destination: Destination) -> dict[str, str]:
    """A place as Stripe's addresses name it."""
    given = {"country": destination.country, "state": destination.region, "postal_code": destination.postal_code}
    return {name: value for name, value in given.items() if value}


def _reaches(option: ShippingOption, country: str | None) -> bool:
    return option.countries is None or country in option.countries


def _offers(
    options: Sequence[ShippingOption], goods_minor: int, currency: str, exchange: Exchange | None
) -> tuple[Offer, ...]:
    """What these ways cost, the cheapest first; without those that have no price in the currency."""
    found = (_offer(option, goods_minor, currency, exchange) for option in options)
    return tuple(sorted((one for one in found if one is not None), key=lambda one: (one.amount_minor, one.code)))


def _offer(option: ShippingOption, goods_minor: int, currency: str, exchange: Exchange | None) -> Offer | None:
    price = _in(option.amounts, currency, exchange)
    if price is None:
        return None
    free = _in(option.free_above, currency, exchange)
    amount = 0 if free is not None and goods_minor >= free else price
    return Offer(option.code, option.name, amount, option.days_min, option.days_max, option.tax_code)


def _in(amounts: Mapping[str, int], currency: str, exchange: Exchange | None) -> int | None:
    named = amounts.get(currency)
    if named is not None or exchange is None or exchange.base not in amounts:
        return named
    base = amounts[exchange.base]
    return converted(base, currency, exchange) if base else 0


def _not_offered(detail: str) -> Refused:
    return _refused("shipping_not_offered", detail, "/shipping/option")


def _refused(code: str, detail: str, pointer: str) -> Refused:
    return Refused(code, detail, status=422, errors=[FieldError(pointer, detail, code)])
