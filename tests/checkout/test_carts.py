"""Carts of every currency come to what Stripe says they come to, and everything that is split sums to what it was."""

import random
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Final

import pytest

from checkout.decide import asking, pricing
from checkout.gateway import Payments
from checkout.model.carts import Cart, Coupon, Exchange, Price, Quote, Standing, Wanted
from checkout.model.delivery import (
    DeliveryTerms,
    DeliveryWish,
    Destination,
    ShippingOption,
    TaxRate,
    TaxSource,
)
from checkout.model.options import PageRules
from checkout.model.orders import Placement
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.ids import new_id
from payments_shared.money import MAXIMUM_MINOR, MINIMUM_MINOR, SUPPORTED, exponent, payable_unit
from payments_shared.stripe_client import open_stripe
from payments_shared.sweeper import some_at_once
from tests.faults import evidence
from tests.support.shopping import Json, Shopper

CURRENCIES: Final = sorted(SUPPORTED)
BOOK: Final = "txcd_35010000"
AT_ONCE: Final = 16
REFUSALS: Final = {"total_too_small", "total_too_large", "coupon_invalid", "currency_not_offered", "nothing to pay"}
"""What a lawful cart may meet: it costs next to nothing or too much, its coupon is for none of its products or takes
all of it off, or one of them has no price."""


def _amount(chance: random.Random, currency: str, most: int) -> int:
    unit = payable_unit(currency)
    scale = max(1, MINIMUM_MINOR.get(currency, 1) // 50)
    return max(1, chance.randint(1, most * scale) // unit) * unit


def _price(chance: random.Random, number: int, currency: str) -> Price:
    named = chance.random() < 0.7
    return Price(
        sku=f"SKU-{number}",
        name=f"Product {number}",
        active=True,
        tax_code=BOOK if chance.random() < 0.3 else None,
        unit_amount_minor=_amount(chance, currency, 40_000) if named else None,
        parts={},
        base_amount_minor=_amount(chance, "eur", 40_000),
        digital=chance.random() < 0.2,
    )


def _coupon(chance: random.Random, skus: list[str], currency: str) -> Coupon | None:
    some = chance.sample(skus, chance.randint(1, len(skus))) if chance.random() < 0.5 else None
    match chance.randint(0, 3):
        case 0:
            return Coupon("PART", chance.randint(1, 100) * 100, None, skus=some)
        case 1:
            return Coupon("OFF", None, {currency: _amount(chance, currency, 9_000)}, skus=some)
    return None


def _terms(chance: random.Random, currency: str) -> DeliveryTerms:
    rates = [
        TaxRate("DE", None, None, "VAT", chance.randint(0, 270_000), inclusive=chance.random() < 0.5),
        TaxRate("DE", None, BOOK, "VAT", chance.randint(0, 90_000), inclusive=False),
    ]
    options = [
        ShippingOption(code, code.title(), {currency: _amount(chance, currency, 2_000)}, days_min=1)
        for code in ("post", "express")
    ]
    source = chance.choice((TaxSource.NONE, TaxSource.TABLE))
    return DeliveryTerms(options=options, source=source, rates=rates if source is TaxSource.TABLE else [])


def some_quote(chance: random.Random, currency: str) -> Quote:
    """What some cart costs in `currency`.

    Raises:
        Refused: as `decide.pricing`.
    """
    prices = {price.sku: price for price in (_price(chance, n, currency) for n in range(chance.randint(1, 6)))}
    wish = DeliveryWish(Destination("DE"), asked=chance.random() < 0.6)
    cart = Cart(
        tuple(Wanted(sku, chance.randint(1, 9)) for sku in prices),
        _coupon(chance, list(prices), currency),
        Standing(),
        utc_now(),
        delivery=wish,
    )
    rate = Decimal(chance.randint(1, 4_000_000)).scaleb(-4)
    exchange = Exchange("eur", rate, utc_now().date(), "a test")
    return pricing.quote(
        cart,
        prices,
        currency=currency,
        exchange=exchange if currency != "eur" else None,
        maximum_minor=MAXIMUM_MINOR,
        terms=_terms(chance, currency),
    )


def check_sums(quote: Quote) -> None:
    """Everything that is split sums to what it was, and every sum can be paid."""
    unit = payable_unit(quote.currency)
    assert sum(line.amount_minor for line in quote.lines) == quote.subtotal_minor
    assert sum(quote.off_minor) == quote.discount_minor
    assert all(0 <= off <= line.amount_minor for off, line in zip(quote.off_minor, quote.lines, strict=True))
    shares = quote.tax.shares
    assert sum(share.amount_minor for share in shares if not share.inclusive) == quote.tax.added_minor
    assert sum(share.amount_minor for share in shares if share.inclusive) == quote.tax.included_minor
    if quote.tax.source is TaxSource.TABLE:
        assert sum(quote.tax.lines_minor) + quote.tax.shipping_minor == quote.tax.added_minor + quote.tax.included_minor
    for amount in (quote.subtotal_minor, quote.discount_minor, quote.shipping_minor, quote.total_minor):
        assert amount % unit == 0, (quote.currency, amount)
    assert quote.total_minor >= MINIMUM_MINOR.get(quote.currency, 1)


async def _agreed(shopper: Shopper, carts: int, seed: int) -> Counter[str]:
    """How many carts of each currency Stripe's total was compared for."""
    chance, compared, refused = random.Random(seed), Counter[str](), Counter[str]()
    until = await shopper.owner.fetchval("SELECT payments.business_now()") + timedelta(hours=1)
    async with open_stripe(api_key="sk_test_carts", api_base=shopper.deployment.stripe_url) as stripe:
        payments = Payments(stripe)

        async def compare(number: int) -> None:
            currency = CURRENCIES[number % len(CURRENCIES)]
            try:
                quote = some_quote(chance, currency)
            except Refused as refusal:
                refused[refusal.code] += 1
                return
            if quote.covered:
                refused["nothing to pay"] += 1
                return
            check_sums(quote)
            session = await _session(payments, quote, until)
            assert session["amount_total"] == quote.total_minor, (quote, session)
            assert session["total_details"]["amount_discount"] == quote.discount_minor
            assert session["total_details"]["amount_shipping"] == quote.shipping_minor
            compared[currency] += 1

        await some_at_once(compare, range(carts), limit=AT_ONCE)
    assert refused.keys() <= REFUSALS, refused
    assert sum(refused.values()) < carts / 5, refused
    return compared


async def _session(payments: Payments, quote: Quote, until: datetime) -> Json:
    """The session that the cart would be paid on, as Stripe makes it."""
    order_id = new_id()
    wanted = Placement(
        lines=(),
        currencies=(quote.currency,),
        coupon=quote.coupon,
        email="ada@example.com",
        customer_subject=None,
        account_email=None,
        locale="",
        success_path="/",
        cancel_path="/",
        delivery=quote.wish,
    )
    params = asking.session_of(order_id, quote, wanted, "https://shop.example", until, rules=PageRules(3600))
    if quote.discount_minor:
        (named,) = params["discounts"]
        coupon = {"id": named["coupon"], "amount_off": quote.discount_minor, "currency": quote.currency}
        create = partial(payments.stripe.v1.coupons.create_async, {**coupon, "duration": "once"})
        await payments.stripe.call("coupons.create", create)
    # It names no order: when a test moves the clock, hundreds expire at once and are nobody's.
    unnamed = {name: value for name, value in params.items() if name not in ("client_reference_id", "metadata")}
    create = partial(payments.stripe.v1.checkout.sessions.create_async, unnamed)
    made = await payments.stripe.call("checkout.sessions.create", create)
    return dict(made.to_dict())


@pytest.mark.servers
async def test_what_a_cart_costs_is_what_stripe_asks_for_in_every_currency(shopper: Shopper) -> None:
    compared = await _agreed(shopper, 3 * len(CURRENCIES), seed=1)

    assert compared.keys() == set(CURRENCIES)


@pytest.mark.servers
@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_ten_thousand_carts_cost_what_stripe_asks_for(shopper: Shopper) -> None:
    compared = await _agreed(shopper, 12_000, seed=2)

    rows = [
        (currency.upper(), exponent(currency), payable_unit(currency), compared[currency]) for currency in CURRENCIES
    ]
    table = evidence.table(("currency", "decimals", "charged in steps of", "carts"), rows)
    evidence.keep(
        "Carts",
        [f"{sum(compared.values())} carts, seed 2: every total is Stripe's.", *table],
        document=evidence.CHECKOUT,
    )
    assert sum(compared.values()) >= 10_000
    assert compared.keys() == set(CURRENCIES)
