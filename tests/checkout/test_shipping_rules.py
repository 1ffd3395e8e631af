"""Whether a cart is shipped, where to, in which ways, and for how much."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from checkout.decide.pricing import quote
from checkout.decide.shipping import ADDRESSED, delivery_of, is_converted, is_shipped
from checkout.model.carts import Cart, Exchange, Price, Standing, Wanted
from checkout.model.delivery import DeliveryTerms, DeliveryWish, Destination, ShippingOption
from payments_shared.errors import Refused

POST = ShippingOption("post", "Post", {"usd": 500, "jpy": 800}, {"usd": 5000}, days_min=3, days_max=5)
EXPRESS = ShippingOption("express", "Express", {"usd": 1500, "eur": 1400}, countries=["US", "DE"])
LOCAL = ShippingOption("local", "By bicycle", {"usd": 300}, countries=["DE"])
TERMS = DeliveryTerms(countries=("DE", "FR", "US"), options=(POST, EXPRESS, LOCAL))
EUROS = Exchange("usd", Decimal("0.9"), date(2026, 5, 1), "ecb")


def offered(wish: DeliveryWish, terms: DeliveryTerms = TERMS, **given: object) -> list[tuple[str, int]]:
    found = delivery_of(wish, terms, **{"goods_minor": 1000, "currency": "usd", "exchange": None, **given})  # type: ignore[arg-type]
    return [(offer.code, offer.amount_minor) for offer in found.offers]


def to(country: str | None, option: str | None = None) -> DeliveryWish:
    return DeliveryWish(Destination(country), asked=True, option=option)


def test_an_address_is_asked_for_where_somebody_wants_it_and_something_is_carried() -> None:
    assert is_shipped(to(None), TERMS, goods=True)
    assert is_shipped(DeliveryWish(), replace(TERMS, required=True), goods=True)
    assert not is_shipped(DeliveryWish(), TERMS, goods=True)
    assert not is_shipped(to("DE"), replace(TERMS, required=True), goods=False)


def test_the_cheapest_way_comes_first_and_free_counts_after_the_discount() -> None:
    assert offered(to("DE")) == [("local", 300), ("post", 500), ("express", 1500)]
    assert offered(to("US")) == [("post", 500), ("express", 1500)]
    assert offered(to("US"), goods_minor=5000) == [("post", 0), ("express", 1500)]
    assert offered(to("US"), goods_minor=4999) == [("post", 500), ("express", 1500)]


def test_a_way_that_is_for_some_countries_waits_until_the_country_is_known() -> None:
    assert offered(to(None)) == [("post", 500)]
    assert delivery_of(to(None), TERMS, goods_minor=1, currency="usd", exchange=None).countries == ("DE", "FR", "US")
    assert delivery_of(to("DE"), TERMS, goods_minor=1, currency="usd", exchange=None).countries == ("DE",)


def test_the_wanted_way_is_the_only_one_and_ships_where_it_may() -> None:
    found = delivery_of(to(None, "express"), TERMS, goods_minor=1, currency="usd", exchange=None)

    assert [offer.code for offer in found.offers] == ["express"]
    assert [way.offer.code for way in found.ways] == ["post"], "of the others, what may go anywhere"
    assert found.countries == ("DE", "US")
    assert offered(to("FR", "post")) == [("post", 500)]


def test_a_price_in_the_shops_own_currency_is_converted_like_any_other() -> None:
    assert offered(to("DE"), currency="eur", exchange=EUROS) == [("local", 279), ("post", 459), ("express", 1400)]
    assert offered(to("DE"), currency="eur") == [("express", 1400)]
    assert offered(to("DE"), currency="eur", exchange=EUROS, goods_minor=4599)[0] == ("post", 0)


def test_free_above_an_amount_in_the_shops_own_currency_is_converted_whatever_else_is_sold() -> None:
    named = replace(POST, amounts={"usd": 500, "eur": 450})

    assert is_converted(named, base="usd", currency="eur")
    assert not is_converted(replace(named, free_above={}), base="usd", currency="eur")
    assert not is_converted(named, base="usd", currency="usd")


@pytest.mark.parametrize(("wanted", "is_used"), [("post", True), ("express", False)])
def test_a_quote_names_the_exchange_rate_that_it_used(wanted: str, is_used: bool) -> None:
    mug = Price("MUG", "Mug", active=True, tax_code=None, unit_amount_minor=1700, parts={}, base_amount_minor=1800)
    cart = Cart((Wanted("MUG", 1),), None, Standing(), datetime(2026, 5, 1, tzinfo=UTC), delivery=to("DE", wanted))

    found = quote(cart, {"MUG": mug}, currency="eur", exchange=EUROS, maximum_minor=99_999_999, terms=TERMS)

    assert (found.exchange is not None) is is_used


def test_without_ways_to_ship_the_address_alone_is_asked_for() -> None:
    found = delivery_of(to(None), DeliveryTerms(), goods_minor=1, currency="usd", exchange=None)

    assert (found.offers, len(found.countries), found.amount_minor) == ((), len(ADDRESSED), 0)


def test_stripe_is_offered_five_ways_at_most() -> None:
    many = tuple(ShippingOption(f"way-{n}", "Way", {"usd": 900 - n}) for n in range(9))

    assert [code for code, _ in offered(to("DE"), replace(TERMS, options=many))] == [
        f"way-{n}" for n in range(8, 3, -1)
    ]


@pytest.mark.parametrize(
    ("wish", "terms", "currency", "code", "pointer"),
    [
        (to("GB"), TERMS, "usd", "shipping_country_not_served", "/shipping/country"),
        (to("CU"), DeliveryTerms(), "usd", "shipping_country_not_served", "/shipping/country"),
        (to("FR", "express"), TERMS, "usd", "shipping_not_offered", "/shipping/option"),
        (to("DE", "drone"), TERMS, "usd", "shipping_not_offered", "/shipping/option"),
        (to("DE", "local"), TERMS, "jpy", "shipping_not_offered", "/shipping/option"),
        (to("DE"), TERMS, "krw", "shipping_not_offered", "/shipping/option"),
        (to(None), replace(TERMS, options=(EXPRESS, LOCAL)), "usd", "country_needed", "/shipping/country"),
        (
            to(None),
            replace(TERMS, countries=("FR",), options=(LOCAL,)),
            "usd",
            "shipping_not_offered",
            "/shipping/option",
        ),
    ],
)
def test_where_nothing_can_be_shipped_it_is_said(
    wish: DeliveryWish, terms: DeliveryTerms, currency: str, code: str, pointer: str
) -> None:
    with pytest.raises(Refused) as refusal:
        offered(wish, terms, currency=currency)

    assert (refusal.value.code, refusal.value.errors[0].pointer, refusal.value.status) == (code, pointer, 422)
