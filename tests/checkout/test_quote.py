"""What a cart would cost is what Stripe charges, to the minor unit."""

import json
import random
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio

from tests.support.deadline import eventually
from tests.support.instances import another_checkout
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper

BOOK: Final = "txcd_35010000"
CURRENCIES: Final = ("usd", "eur", "gbp", "jpy", "isk", "huf", "twd", "mga", "krw", "ugx", "chf")
RATES: Final[dict[str, list[Json]]] = {
    "DE": [
        {"name": "VAT", "rate_millionths": 190_000},
        {"name": "VAT", "rate_millionths": 70_000, "tax_code": BOOK},
    ],
    "GB": [{"name": "VAT", "rate_millionths": 200_000, "inclusive": True}],
    "US": [
        {"name": "Sales tax", "rate_millionths": 88_750, "region": "NY"},
        {"name": "Sales tax", "rate_millionths": 0, "region": "OR"},
    ],
}
PLACES: Final = (("DE", None), ("GB", None), ("US", "NY"), ("US", "OR"), ("FR", None))


@dataclass(frozen=True, slots=True)
class Till:
    """An instance of checkout with settings of its own."""

    shopper: Shopper
    url: str

    async def quote(self, lines: list[Json], **given: object) -> Answer:
        return await self.shopper.call("POST", f"{self.url}/api/payments/quote", {"lines": lines, **given})

    async def place(self, lines: list[Json], **given: object) -> Answer:
        body = {"lines": lines, "email": "ada@example.com", **given}
        key = {"Idempotency-Key": secrets.token_hex(12)}
        return await self.shopper.call("POST", f"{self.url}/api/payments/checkout-session", body, **key)

    async def session_of(self, order: Json) -> Json:
        path = f"/v1/checkout/sessions/{await self.shopper.session_of(order)}"
        return dict(await self.shopper.stripe("GET", path))


@pytest_asyncio.fixture(loop_scope="session")
async def catalogue(shopper: Shopper) -> AsyncIterator[list[str]]:
    """Five products in many currencies, one of them a book and one a download; two ways to ship; tax rates."""
    skus = [await _offer(shopper, n) for n in range(5)]
    amounts = {currency: 100 * (5 + n) for n, currency in enumerate(CURRENCIES)}
    free = dict.fromkeys(CURRENCIES, 300000)
    await _put_option(shopper, "post", {"name": "Post", "amounts": amounts, "free_above": free, "days_min": 2})
    dear = {currency: 3 * amount for currency, amount in amounts.items()}
    await _put_option(shopper, "express", {"name": "Express", "amounts": dear, "countries": ["DE", "US"]})
    for country, rates in RATES.items():
        await shopper.admin("PUT", "checkout", f"/admin/tax-rates/{country}", {"rates": rates})
    yield skus
    for code in ("post", "express"):
        await _put_option(shopper, code, {"name": "Gone", "amounts": {"usd": 1}, "active": False})
    for country in RATES:
        await shopper.admin("PUT", "checkout", f"/admin/tax-rates/{country}", {"rates": []})


async def _put_option(shopper: Shopper, code: str, option: Json) -> None:
    await shopper.admin("PUT", "checkout", f"/admin/shipping-options/{code}", option)


async def _offer(shopper: Shopper, number: int) -> str:
    sku = "Q-" + secrets.token_hex(5)
    prices = {currency: 100 * random.Random(sku + currency).randint(9, 400) for currency in CURRENCIES}
    prices |= {currency: prices[currency] + 37 * number for currency in ("usd", "eur", "gbp", "jpy", "chf")}
    product: Json = {"name": f"Product {sku}", "prices": prices, "digital": number == 4}
    if number == 3:
        product["tax_code"] = BOOK
    await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", product)
    await shopper.admin("PUT", "inventory", f"/admin/stock/{sku}", {"total": 1_000_000})
    return sku


async def _coupons(shopper: Shopper, skus: list[str]) -> list[str | None]:
    off = dict.fromkeys(CURRENCIES, 700)
    return [
        None,
        await shopper.coupon(percent_off=15),
        await shopper.coupon(percent_off=33, skus=skus[2:4]),
        await shopper.coupon(amounts_off=off),
    ]


def _cart(chance: random.Random, skus: list[str], coupons: list[str | None]) -> tuple[list[Json], Json]:
    chosen = chance.sample(skus, chance.randint(1, len(skus)))
    lines = [{"sku": sku, "quantity": chance.randint(1, 7)} for sku in chosen]
    country, region = chance.choice(PLACES)
    given: Json = {"currency": chance.choice(CURRENCIES), "country": country}
    if region:
        given["region"] = region
    if coupon := chance.choice(coupons):
        given["coupon"] = coupon
    if chance.random() < 0.7:
        given["shipping"] = chance.choice([{}, {"option": "post"}, {"option": "express"}])
    return lines, given


@pytest.mark.parametrize("tax", ["none", "table"])
async def test_what_is_quoted_is_what_stripe_asks_the_buyer_for(
    shopper: Shopper, catalogue: list[str], tax: str
) -> None:
    chance, coupons, placed = random.Random(tax), await _coupons(shopper, catalogue), 0
    async with another_checkout(shopper.deployment, f"quote-{tax}", PAYMENTS_TAX=tax) as instance:
        till = Till(shopper, instance.public_url)
        for _ in range(60):
            lines, given = _cart(chance, catalogue, coupons)

            quoted, answer = await till.quote(lines, **given), await till.place(lines, **given)

            if answer.status != 201:
                assert _same_refusal(quoted, answer), (lines, given, quoted, answer)
                continue
            placed += 1
            _adds_up(quoted.body)
            session = await till.session_of(answer.body)
            assert quoted.body["total_minor"] == answer.body["total_minor"] == session["amount_total"], (lines, given)
            assert quoted.body["shipping_minor"] == session["total_details"]["amount_shipping"]
    assert placed > 40


def _same_refusal(quoted: Answer, answer: Answer) -> bool:
    """A coupon that does not apply is a verdict of the quote; everything else refuses it too."""
    if quoted.status == 200:
        reason = (quoted.body["coupon"] or {}).get("reason") or {}
        return bool(reason.get("code") == answer.body["code"])
    return (quoted.status, quoted.body["code"]) == (answer.status, answer.body["code"])


def _adds_up(quote: Json) -> None:
    assert quote["total_minor"] == (
        quote["subtotal_minor"] - quote["discount_minor"] + quote["shipping_minor"] + quote["tax_minor"]
    )
    assert sum(line["amount_minor"] for line in quote["lines"]) == quote["subtotal_minor"]
    assert sum(line["discount_minor"] for line in quote["lines"]) == quote["discount_minor"]
    rates = quote["tax"]["rates"]
    assert sum(rate["amount_minor"] for rate in rates if not rate["inclusive"]) == quote["tax_minor"]
    assert sum(rate["amount_minor"] for rate in rates if rate["inclusive"]) == quote["tax"]["included_minor"]


@pytest.mark.parametrize("inclusive", ["false", "true"])
async def test_what_stripe_tax_says_beforehand_is_what_it_charges(
    shopper: Shopper, catalogue: list[str], inclusive: str
) -> None:
    chance, coupons, paid = random.Random(inclusive), await _coupons(shopper, catalogue), 0
    settings = {"PAYMENTS_TAX": "stripe", "PAYMENTS_TAX_INCLUSIVE": inclusive}
    async with another_checkout(shopper.deployment, f"quote-stripe-{inclusive}", **settings) as instance:
        till = Till(shopper, instance.public_url)
        for _ in range(25):
            lines, given = _cart(chance, catalogue, coupons)
            quoted, answer = await till.quote(lines, **given), await till.place(lines, **given)
            if answer.status != 201:
                continue

            await _pay_from(shopper, answer.body, given)

            session = await till.session_of(answer.body)
            seen = await shopper.until(answer.body, "paid")
            assert quoted.body["tax"]["source"] == seen["tax"]["source"] == "stripe"
            assert quoted.body["total_minor"] == seen["total_minor"] == session["amount_total"], (lines, given)
            assert quoted.body["tax_minor"] == seen["tax_minor"]
            assert quoted.body["tax"]["included_minor"] == seen["tax"]["included_minor"]
            assert (
                quoted.body["tax_minor"] + quoted.body["tax"]["included_minor"]
                == (session["total_details"]["amount_tax"])
            )
            paid += 1
    assert paid > 10


async def _pay_from(shopper: Shopper, order: Json, given: Json) -> None:
    form = {"number": "4242424242424242", "email": "ada@example.com", "name": "Ada", "country": given["country"]}
    form["state"] = given.get("region") or ""
    if "shipping_rate" in given:
        form["shipping_rate"] = given["shipping_rate"]
    async with shopper.http.post(order["checkout_url"], data=form, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()


async def test_an_order_keeps_its_tax_and_its_way_to_the_buyer(shopper: Shopper, catalogue: list[str]) -> None:
    lines = [{"sku": catalogue[0], "quantity": 2}, {"sku": catalogue[3], "quantity": 1}]
    given: Json = {"currency": "eur", "shipping": {"country": "DE", "option": "express"}}
    async with another_checkout(shopper.deployment, "kept", PAYMENTS_TAX="table") as instance:
        till = Till(shopper, instance.public_url)
        quoted, order = (await till.quote(lines, **given)).body, (await till.place(lines, **given)).body
        by_post = (await till.quote(lines, currency="eur", shipping={"country": "DE", "option": "post"})).body
        session = await till.session_of(order)
        assert await shopper.pay(order) == 303
        seen = await shopper.until(order, "paid")

        moved = (
            await till.place(lines, currency="usd", shipping={"country": "US", "region": "NY", "option": "post"})
        ).body
        await _pay_from(shopper, moved, {"country": "US", "region": "OR"})
        assert (await shopper.until(moved, "paid"))["tax"]["elsewhere"] is True, "counted for New York, sent to Oregon"

    assert seen["tax"]["elsewhere"] is False
    for name in ("subtotal_minor", "tax_minor", "shipping_minor", "total_minor"):
        assert seen[name] == quoted[name] == order.get(name, seen[name]), name
    assert seen["tax"] == quoted["tax"]
    assert [(rate["percent"], rate["amount_minor"] > 0) for rate in seen["tax"]["rates"]] == [("19", True), ("7", True)]
    assert seen["shipping"] == {"option": "express", "name": "Express"}
    assert quoted["ways"] == by_post["ways"]
    assert {way["option"]: way["total_minor"] for way in quoted["ways"]} == {
        "express": quoted["total_minor"],
        "post": by_post["total_minor"],
    }
    assert session["shipping_address_collection"] == {"allowed_countries": ["DE"]}
    said = await _said(shopper, order)
    assert said["shipping_address"]["country"] == "DE"
    for name in ("subtotal_minor", "tax_minor", "shipping_minor", "total_minor"):
        assert said[name] == seen[name], name
    await shopper.audited()


async def test_one_click_sends_the_goods_where_the_customer_says(shopper: Shopper, catalogue: list[str]) -> None:
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves()
    street = {"name": "Ada Lovelace", "line1": "Hauptstr. 1", "city": "Berlin", "postal_code": "10115"}
    async with another_checkout(shopper.deployment, "sent", PAYMENTS_TAX="table") as instance:
        till = Till(shopper, instance.public_url)
        lines = [{"sku": catalogue[0], "quantity": 2}, {"sku": catalogue[4], "quantity": 1}]
        wish = {"country": "DE", "option": "express"}
        quoted = (await till.quote(lines, currency="eur", shipping=wish)).body
        bought = await ada.buys(
            catalogue[0], url=instance.public_url, lines=lines, currency="eur", shipping=street | wish
        )
        nowhere = await ada.buys(catalogue[0], url=instance.public_url, currency="eur", shipping=street)
        seen = await shopper.until(bought.body, "paid")

    assert (bought.status, nowhere.status) == (201, 422)
    assert quoted["tax_minor"] > 0
    for name in ("subtotal_minor", "tax_minor", "shipping_minor", "total_minor"):
        assert seen[name] == quoted[name] == bought.body[name], name
    intent = await shopper.stripe("GET", f"/v1/payment_intents/{bought.body['payment_intent']}")
    assert intent["amount_received"] == quoted["total_minor"]
    assert intent["shipping"]["address"]["line1"] == "Hauptstr. 1"
    said = await _said(shopper, bought.body)
    assert said["shipping_address"] == {
        "name": "Ada Lovelace", "line1": "Hauptstr. 1", "line2": None, "city": "Berlin", "state": None,
        "postal_code": "10115", "country": "DE",
    }  # fmt: skip
    assert said["shipping_option"] == {"code": "express", "name": "Express"}
    await shopper.audited()


async def test_the_way_to_ship_that_is_chosen_on_the_page_is_the_orders(shopper: Shopper, catalogue: list[str]) -> None:
    till = Till(shopper, shopper.deployment.front_door_url)
    given: Json = {"currency": "usd", "shipping": {"country": "DE"}}
    order = (await till.place([{"sku": catalogue[0], "quantity": 1}], **given)).body
    first = await shopper.order(order)
    session = await till.session_of(order)

    await _pay_from(shopper, order, {"country": "DE", "shipping_rate": session["shipping_options"][1]["shipping_rate"]})

    seen, express = await shopper.until(order, "paid"), {"code": "express", "name": "Express"}
    assert first["shipping"] == {"option": "post", "name": "Post"}
    assert seen["shipping"] == {"option": express["code"], "name": express["name"]}
    assert (seen["shipping_minor"], seen["total_minor"]) == (1500, first["total_minor"] + 1000)
    assert (await _said(shopper, order))["shipping_option"] == express

    async def parcel() -> Json:
        return (await shopper.admin("GET", "fulfillment", f"/admin/shipments?order_id={order['order_id']}")).body

    async def is_packed() -> bool:
        return bool((await parcel())["shipments"])

    await eventually(is_packed)
    assert (await parcel())["shipping_option"] == express


async def _said(shopper: Shopper, order: Json) -> Json:
    """What checkout told everybody of the paid order."""
    sql = "SELECT body FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    return dict(json.loads(await shopper.owner.fetchval(sql, order["order_id"]))["data"])


async def test_whoever_is_signed_in_pays_the_tax_of_where_he_says_he_is(shopper: Shopper, catalogue: list[str]) -> None:
    token = shopper.deployment.keys.token("sub-" + secrets.token_hex(4), "customer", email="ada@example.com")
    mine = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
    body = {"lines": [{"sku": catalogue[0], "quantity": 1}], "currency": "eur", "shipping": {"country": "DE"}}
    async with another_checkout(shopper.deployment, "stripe-tax-known", PAYMENTS_TAX="stripe") as instance:
        url = f"{instance.public_url}/api/payments"
        quoted = (await shopper.call("POST", f"{url}/quote", body, Authorization=mine["Authorization"])).body
        order = (await shopper.call("POST", f"{url}/checkout-session", body, **mine)).body
    session = await Till(shopper, "").session_of(order)

    await _pay_from(shopper, order, {"country": "DE"})

    seen = await shopper.until(order, "paid")
    assert session["customer"].startswith("cus_")
    assert (seen["total_minor"], seen["tax_minor"] > 0) == (quoted["total_minor"], True)


async def test_a_place_that_is_not_known_well_enough_says_so(shopper: Shopper, catalogue: list[str]) -> None:
    lines = [{"sku": catalogue[0], "quantity": 1}]
    async with another_checkout(shopper.deployment, "stripe-tax-lost", PAYMENTS_TAX="stripe") as instance:
        till = Till(shopper, instance.public_url)
        nowhere, america, oregon = (
            await till.quote(lines, currency="usd"),
            await till.quote(lines, currency="usd", country="US"),
            await till.quote(lines, currency="usd", country="US", region="OR", postal_code="97201"),
        )

    assert (nowhere.status, nowhere.body["code"]) == (422, "country_needed")
    assert (america.status, america.body["code"]) == (422, "tax_location_invalid")
    assert (oregon.status, oregon.body["tax_minor"]) == (200, 0)


async def test_nobody_asks_without_end(shopper: Shopper, catalogue: list[str]) -> None:
    limit = {"PAYMENTS_QUOTES_PER_ADDRESS": "2", "PAYMENTS_TRUSTED_PROXIES": "127.0.0.0/8"}
    lines = [{"sku": catalogue[0], "quantity": 1}]
    address = ".".join(str(number) for number in (100, *secrets.token_bytes(3)))
    async with another_checkout(shopper.deployment, "quotes-limited", **limit) as instance:
        url = f"{instance.public_url}/api/payments/quote"
        answers = [await shopper.call("POST", url, {"lines": lines}, **{"X-Forwarded-For": address}) for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[0].headers["RateLimit"].startswith('"quotes";r=1;t=')


async def test_what_is_taken_up_again_goes_the_same_way_with_the_same_code(
    shopper: Shopper, catalogue: list[str]
) -> None:
    coupon, code = await shopper.coupon(percent_off=10), "P" + secrets.token_hex(4)
    await shopper.admin("PUT", "checkout", f"/admin/promotion-codes/{code}", {"coupon": coupon, "max_redemptions": 1})
    lines = [{"sku": catalogue[0], "quantity": 2}]
    given: Json = {"currency": "eur", "shipping": {"country": "DE", "option": "express"}, "metadata": {"till": "7"}}
    async with another_checkout(shopper.deployment, "again", PAYMENTS_TAX="table") as instance:
        till = Till(shopper, instance.public_url)
        left = (await till.place(lines, coupon=code, payment_methods=["card"], **given)).body
        before = await till.session_of(left)
        await shopper.stripe("POST", f"/v1/checkout/sessions/{before['id']}/expire")
        await shopper.until(left, "expired")
        url = f"{instance.public_url}/api/payments/orders/{left['order_id']}"
        offer = (await shopper.call("GET", f"{url}/recovery", **{"Order-Token": left["order_token"]})).body
        keys = {"Order-Token": left["order_token"], "Idempotency-Key": secrets.token_hex(12)}
        again = (await shopper.call("POST", f"{url}/recover", **keys)).body
        taken_up = (await shopper.call("GET", f"{url}/recovery", **{"Order-Token": left["order_token"]})).body

    after = await till.session_of(again)
    assert (offer["total_minor"], offer["changes"]) == (left["total_minor"], [])
    assert offer["shipping"] == taken_up["shipping"] == {"option": "express", "name": "Express"}
    assert offer["tax"] == taken_up["tax"]
    assert sum(rate["amount_minor"] for rate in offer["tax"]["rates"]) == offer["tax_minor"] > 0
    assert again["total_minor"] == after["amount_total"] == before["amount_total"]
    for name in ("shipping_address_collection", "payment_method_types"):
        assert after[name] == before[name], name
    assert after["metadata"] == {"till": "7", "order_id": again["order_id"]}
    uses = (await shopper.admin("GET", "checkout", f"/admin/promotion-codes/{code}")).body["uses"]
    assert uses == 1


async def test_the_shops_own_currency_is_taken_where_nothing_is_shipped_at_a_price_in_the_buyers(
    shopper: Shopper, catalogue: list[str]
) -> None:
    way, lines = "own-" + secrets.token_hex(4), [{"sku": catalogue[0], "quantity": 1}]
    await _put_option(shopper, way, {"name": "Own", "amounts": {"usd": 900}})

    answer = await Till(shopper, shopper.deployment.front_door_url).quote(
        lines, country="TW", shipping={"country": "TW", "option": way}
    )

    await _put_option(shopper, way, {"name": "Own", "amounts": {"usd": 900}, "active": False})
    assert (answer.status, answer.body["currency"], answer.body["shipping_minor"]) == (200, "usd", 900)


@pytest.mark.parametrize("currency", ["isk", "ugx"])
async def test_no_price_and_no_coupon_has_parts_of_a_unit_that_nobody_can_pay(shopper: Shopper, currency: str) -> None:
    parts, url = {currency: 150}, shopper.deployment.internal_url("checkout")
    admin = {"Authorization": f"Bearer {shopper.deployment.keys.token('admin-1', 'admin')}"}
    bodies: dict[str, Json] = {
        "/admin/products/PARTS": {"name": "Parts", "prices": parts},
        "/admin/coupons/PARTS": {"amounts_off": parts},
        "/admin/coupons/LEAST": {"percent_off": 10, "minimum_minor": parts},
        "/admin/shipping-options/parts": {"name": "Parts", "amounts": parts},
    }

    answers = [await shopper.call("PUT", url + path, body, **admin) for path, body in bodies.items()]

    assert [answer.status for answer in answers] == [422] * len(bodies)


async def test_what_is_not_sent_needs_no_address(shopper: Shopper, catalogue: list[str]) -> None:
    async with another_checkout(shopper.deployment, "required", PAYMENTS_SHIPPING_REQUIRED="true") as instance:
        till = Till(shopper, instance.public_url)
        sent = (await till.place([{"sku": catalogue[0], "quantity": 1}], country="DE")).body
        loaded = (await till.place([{"sku": catalogue[4], "quantity": 1}], country="DE", shipping={})).body

        addressed = [(await till.session_of(order))["shipping_address_collection"] for order in (sent, loaded)]

    assert addressed == [{"allowed_countries": ["DE"]}, None]
    assert (sent["shipping_minor"] > 0, loaded["shipping_minor"]) == (True, 0)


async def test_a_coupon_that_does_not_apply_is_a_verdict(shopper: Shopper, catalogue: list[str]) -> None:
    url = shopper.deployment.front_door_url
    till = Till(shopper, url)
    coupon = await shopper.coupon(percent_off=10, minimum_minor={"usd": 90_000_000})
    lines = [{"sku": catalogue[0], "quantity": 1}]

    objected = await till.quote(lines, currency="usd", coupon=coupon)
    unknown = await till.quote(lines, currency="usd", coupon="NOPE")
    taken = await till.quote(lines, currency="usd", coupon=await shopper.coupon(percent_off=10))

    assert objected.body["coupon"]["reason"]["code"] == "coupon_invalid"
    assert (objected.body["coupon"]["applies"], objected.body["discount_minor"]) == (False, 0)
    assert (unknown.status, unknown.body["coupon"]["applies"]) == (200, False)
    assert (taken.body["coupon"]["applies"], taken.body["coupon"]["reason"]) == (True, None)
    assert taken.body["tax"] == {"source": "none", "included_minor": 0, "elsewhere": False, "rates": []}


async def test_a_quote_uses_nothing_up(shopper: Shopper, catalogue: list[str]) -> None:
    till = Till(shopper, shopper.deployment.front_door_url)
    coupon = await shopper.coupon(percent_off=10, max_redemptions=1)
    before = await shopper.count("SELECT count(*) FROM checkout.orders")

    for _ in range(3):
        answer = await till.quote([{"sku": catalogue[0], "quantity": 1}], coupon=coupon, currency="usd")
        assert (answer.status, answer.body["coupon"]["applies"]) == (200, True)

    assert await shopper.count("SELECT count(*) FROM checkout.orders") == before
    assert (await shopper.admin("GET", "checkout", f"/admin/coupons/{coupon}")).body["held"] == 0
