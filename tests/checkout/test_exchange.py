"""Prices in currencies that the catalogue does not name, and in which currency a buyer is asked to pay."""

import secrets
from datetime import date, timedelta
from decimal import Decimal

import asyncpg
import pytest

from checkout.decide.currencies import currencies_of
from checkout.decide.exchange import converted, exchange_of
from checkout.gateway.rates import FEED_BYTES_MAX, _rates
from checkout.model.carts import Exchange, Rates
from payments_shared.errors import Refused
from payments_shared.money import SUPPORTED, Money, exponent, payable_unit, to_decimal
from tests.support.shopping import Answer, Shopper, eventually

DAY = date(2026, 5, 1)
RATES = Rates(DAY, "ecb", {"usd": Decimal("1.0832"), "jpy": Decimal("162.41"), "huf": Decimal("389.75")})


def rate(value: str, base: str = "usd") -> Exchange:
    return Exchange(base, Decimal(value), DAY, "ecb")


@pytest.mark.parametrize(
    ("amount", "base", "currency", "value", "price"),
    [
        (1800, "usd", "eur", "0.9231", 1699),  # 16.6158
        (1700, "usd", "eur", "1", 1799),  # 17.00 is no price that ends in 99; the next is 17.99
        (1799, "usd", "eur", "1", 1799),
        (1800, "usd", "eur", "0.99945", 1899),  # 17.9901
        (450, "usd", "eur", "0.9231", 419),  # 4.15
        (1000, "usd", "gbp", "1", 1099),
        (999, "usd", "gbp", "1", 999),
        (1800, "usd", "jpy", "149.93", 2700),  # 2698.74
        (1800, "usd", "krw", "1391.5", 25100),  # 25047
        (1800, "usd", "huf", "359.81", 647900),  # 6476.58 Ft
        (1800, "usd", "isk", "139.2", 250900),  # 2505.60
        (1800, "usd", "twd", "32.5", 58900),
        (2700, "jpy", "usd", "0.00667", 1899),  # 18.009
        (1, "usd", "eur", "0.0001", 9),
        (1800, "usd", "kwd", "0.3071", 5590),  # 5.528; the last of three digits is zero
        (5000, "usd", "kwd", "0.3071", 15990),
    ],
)
def test_a_converted_price_is_rounded_up_to_a_likely_one(
    amount: int, base: str, currency: str, value: str, price: int
) -> None:
    assert converted(amount, currency, rate(value, base)) == price


@pytest.mark.parametrize("currency", sorted(SUPPORTED))
def test_a_shop_never_sells_below_its_own_price(currency: str) -> None:
    for amount in (1, 49, 999, 1000, 1799, 123_456):
        for value in ("0.0123", "0.97", "1", "31.7", "15342.11"):
            exact = to_decimal(Money(amount, "usd")) * Decimal(value)
            price = converted(amount, currency, rate(value))

            assert to_decimal(Money(price, currency)) >= exact
            assert price > 0
            assert price % payable_unit(currency) == 0
            assert price - exact.scaleb(exponent(currency)) <= 1000


def test_rates_go_by_way_of_the_euro() -> None:
    assert exchange_of(RATES, base="usd", currency="eur", today=DAY).rate == 1 / Decimal("1.0832")
    assert exchange_of(RATES, base="eur", currency="jpy", today=DAY).rate == Decimal("162.41")
    assert exchange_of(RATES, base="usd", currency="jpy", today=DAY).rate == Decimal("162.41") / Decimal("1.0832")


@pytest.mark.parametrize(
    ("rates", "currency", "days", "code"),
    [
        (None, "jpy", 0, "currency_not_offered"),
        (RATES, "gbp", 0, "currency_not_offered"),
        (RATES, "jpy", 5, "rate_too_old"),
        (RATES, "jpy", 4, None),
        (RATES, "jpy", -1, None),
    ],
)
def test_nothing_is_sold_by_a_rate_older_than_four_days(
    rates: Rates | None, currency: str, days: int, code: str | None
) -> None:
    today = DAY + timedelta(days=days)
    if code is None:
        assert exchange_of(rates, base="usd", currency=currency, today=today).day == DAY
        return
    with pytest.raises(Refused) as refusal:
        exchange_of(rates, base="usd", currency=currency, today=today)
    assert (refusal.value.code, refusal.value.errors[0].pointer) == (code, "/currency")


@pytest.mark.parametrize(
    ("wanted", "country", "languages", "tried"),
    [
        ("gbp", "JP", "de-DE", ("gbp",)),
        (None, "JP", "de-DE", ("jpy", "usd")),
        (None, "US", "de-DE", ("usd",)),
        (None, None, "de-DE,de;q=0.9", ("eur", "usd")),
        (None, None, "de, en-GB;q=0.5, fr-CH;q=0.8", ("chf", "usd")),
        (None, None, "zh-Hant-TW", ("twd", "usd")),
        (None, None, "de", ("usd",)),
        (None, None, "de-DE;q=0, ja-JP;q=0.1", ("jpy", "usd")),
        (None, None, "de-DE;q=oops, *", ("usd",)),
        (None, "AQ", "", ("usd",)),
        (None, "XX", "en-XX", ("usd",)),
        (None, None, "," * 10_000, ("usd",)),
        (None, "HR", "", ("eur", "usd")),
    ],
)
def test_the_currency_is_asked_for_or_follows_the_country_and_then_the_language(
    wanted: str | None, country: str | None, languages: str, tried: tuple[str, ...]
) -> None:
    assert currencies_of(wanted, country, languages, "usd") == tried


FEED = (
    '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" '
    'xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref"><Cube><Cube time="2026-05-01">{}</Cube></Cube>'
    "</gesmes:Envelope>"
)


def test_the_daily_feed_is_read() -> None:
    raw = FEED.format(
        '<Cube currency="USD" rate="1.0832"/><Cube currency="JPY" rate="162.41"/><Cube currency="X-1" rate="2"/>'
    ).encode()

    assert _rates(raw, "ecb") == Rates(DAY, "ecb", {"usd": Decimal("1.0832"), "jpy": Decimal("162.41")})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>Down for maintenance</html>",
        FEED.format("").encode(),
        FEED.format('<Cube currency="USD" rate="-1"/>').encode(),
        FEED.format('<Cube currency="USD" rate="NaN"/>').encode(),
        FEED.format('<Cube currency="USD" rate="1E+200000"/>').encode(),
        FEED.format('<Cube currency="USD" rate="much"/>').encode(),
        FEED.format('<Cube currency="USD"/>').encode(),
        b'<!DOCTYPE b [<!ENTITY a "a">]>' + FEED.format('<Cube currency="USD" rate="1"/>').encode(),
        FEED.format('<Cube currency="USD" rate="1"/>').encode() + b" " * FEED_BYTES_MAX,
    ],
)
def test_what_is_no_rates_is_refused(raw: bytes) -> None:
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever it is, it is told as one thing below
        _rates(raw, "ecb")

    assert isinstance(error.value, ValueError | ArithmeticError | KeyError | SyntaxError)


async def rates_known(shopper: Shopper) -> None:
    async def known() -> int:
        return await shopper.count("SELECT count(*) FROM checkout.exchange_rates")

    await eventually(known, within=30, what="exchange rates")


async def localised(shopper: Shopper, sku: str, languages: str, **given: object) -> Answer:
    body = {"lines": [{"sku": sku, "quantity": 2}], "email": "ada@example.com", **given}
    return await shopper.call(
        "POST",
        shopper.deployment.front_door_url + "/api/payments/checkout-session",
        body,
        **{"Idempotency-Key": secrets.token_hex(12), "Accept-Language": languages},
    )


async def test_an_order_says_by_what_rate_its_prices_were_converted(shopper: Shopper) -> None:
    await rates_known(shopper)
    sku = await shopper.offer(prices={"usd": 1800})

    order = await shopper.bought(sku, currency="gbp", quantity=2)
    seen = await shopper.until(order, "paid")

    per_euro = {
        row["currency"]: row["per_euro"]
        for row in await shopper.owner.fetch("SELECT currency, per_euro FROM checkout.exchange_rates")
    }
    expected = converted(1800, "gbp", rate(str(per_euro["gbp"] / per_euro["usd"])))
    assert (seen["currency"], seen["total_minor"], seen["lines"][0]["unit_amount_minor"]) == (
        "gbp", 2 * expected, expected,
    )  # fmt: skip
    assert seen["exchange"].keys() == {"base", "rate", "day", "source"}
    assert (seen["exchange"]["base"], Decimal(seen["exchange"]["rate"])) == ("usd", per_euro["gbp"] / per_euro["usd"])
    await shopper.audited()


async def test_a_price_of_the_catalogue_is_never_converted(shopper: Shopper) -> None:
    await rates_known(shopper)
    sku = await shopper.offer(prices={"usd": 1800, "gbp": 1234})

    order = await shopper.placed(sku, currency="gbp")

    assert (order["total_minor"], (await shopper.order(order))["exchange"]) == (1234, None)


async def test_the_language_chooses_the_currency_where_everything_is_offered_in_it(shopper: Shopper) -> None:
    await rates_known(shopper)
    sku = await shopper.offer(prices={"usd": 1800, "jpy": 2400})

    japanese = await localised(shopper, sku, "ja-JP,ja;q=0.9")
    british = await localised(shopper, sku, "en-GB")
    kenyan = await localised(shopper, sku, "en-KE")  # no rate is published for its currency
    asked = await localised(shopper, sku, "en-KE", currency="kes")

    assert [answer.body["currency"] for answer in (japanese, british, kenyan)] == ["jpy", "gbp", "usd"]
    assert (asked.status, asked.body["code"]) == (422, "currency_not_offered")


async def test_a_coupon_chooses_with_the_currency(shopper: Shopper) -> None:
    """A minimum in dollars was none at all in a currency that nobody had thought of."""
    await rates_known(shopper)
    sku = await shopper.offer(prices={"usd": 1800})
    minimum = await shopper.coupon(percent_off=20, minimum_minor={"usd": 5000})
    amount = await shopper.coupon(amounts_off={"usd": 500})

    asked = await shopper.checkout(sku, currency="sek", coupon=minimum)
    local = await localised(shopper, sku, "de-CH", coupon=amount)

    assert (asked.status, asked.body["code"]) == (422, "coupon_not_in_currency")
    assert (local.status, local.body["currency"], local.body["discount_minor"]) == (201, "usd", 500)


async def put_rates(shopper: Shopper, rows: list[asyncpg.Record], age: timedelta) -> None:
    """`rows` in the place of all, so much older. What the service asks for meanwhile may stand there already."""
    insert = "INSERT INTO checkout.exchange_rates VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
    older = [tuple({**row, "day": row["day"] - age}.values()) for row in rows]
    async with shopper.owner.acquire() as connection, connection.transaction():
        await connection.execute("DELETE FROM checkout.exchange_rates")
        await connection.executemany(insert, older)


async def test_old_rates_sell_nothing_and_say_so(shopper: Shopper) -> None:
    await rates_known(shopper)
    sku = await shopper.offer(prices={"usd": 1800})
    kept = await shopper.owner.fetch("SELECT * FROM checkout.exchange_rates")
    try:
        await shopper.stripe("POST", "/_sim/rates", {"days_old": 6})
        await put_rates(shopper, kept, timedelta(days=6))

        refused = await shopper.checkout(sku, currency="gbp")
        dollars = await shopper.checkout(sku, currency="usd")

        assert (refused.status, refused.body["code"]) == (422, "rate_too_old")
        assert refused.body["errors"][0]["pointer"] == "/currency"
        assert dollars.status == 201
        assert (await localised(shopper, sku, "en-GB")).body["currency"] == "usd"
    finally:
        await shopper.stripe("POST", "/_sim/rates", {"days_old": 0})
        await put_rates(shopper, kept, timedelta())
