"""The shop's server: a cart nobody else can write, one order however often the button is pressed."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from yarl import URL

from payments_shared.ids import parse_external_id
from sandbox.shop import address
from sandbox.shop.address import Address
from sandbox.shop.cart import CURRENCIES, QUANTITY_MAX, Cart, opened
from sandbox.shop.forms import filled
from sandbox.shop.person import Person, signed_in
from sandbox.shop.problems import problem
from sandbox.shop.progress import milestones, progress
from tests.support.shopping import Shopper, eventually

SECRET = b"s" * 32


def test_a_cart_comes_back_from_its_cookie_as_it_was() -> None:
    cart = Cart({"MUG": 2, "TEE": 1}, "eur", "WELCOME10", "ada@example.com", country="DE", way="express", credit=True)

    assert opened(cart.sealed(SECRET), SECRET) == cart


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "x" + text,
        lambda text: text[:-1] + ("1" if text[-1] == "0" else "0"),
        lambda _: "",
        lambda _: "a.b",
    ],
)
def test_a_cart_that_somebody_else_wrote_is_empty(spoil: object) -> None:
    assert callable(spoil)
    sealed = Cart({"MUG": 2}).sealed(SECRET)

    assert opened(spoil(sealed), SECRET).lines == {}
    assert opened(Cart({"MUG": 2}).sealed(b"t" * 32), SECRET).lines == {}


def test_another_content_is_another_order_and_the_same_content_the_same() -> None:
    cart = Cart({"MUG": 1})
    others = [
        cart.with_quantity("MUG", 2),
        replace(cart, email="ada@example.com"),
        replace(cart, coupon="WELCOME10"),
        replace(cart, currency="jpy"),
        replace(cart, country="DE"),
        replace(cart, way="express"),
        replace(cart, credit=True),
        replace(cart, later=True),
        cart.renewed(),
        Cart({"MUG": 1}),
    ]

    assert len({cart.key, *(other.key for other in others)}) == 11
    assert cart.with_quantity("MUG", 2).with_quantity("MUG", 1).key == cart.key
    assert opened(cart.sealed(SECRET), SECRET).key == cart.key


def test_a_cart_from_before_anything_was_sent_is_still_good() -> None:
    cart = Cart({"MUG": 2})
    content = [dict(cart.lines), cart.currency, cart.coupon, cart.email, cart.nonce]
    text = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    signature = hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()

    assert opened(f"{text}.{signature}", SECRET) == cart


@pytest.mark.parametrize(
    ("typed", "country", "way"),
    [
        ({"country": "DE", "way": "express"}, "DE", "express"),
        ({"country": "XX", "way": "by/air"}, "US", "post"),
        ({"country": "", "way": ""}, "US", "post"),
        ({}, "US", "post"),
    ],
)
def test_where_to_and_how_are_taken_from_what_is_offered(typed: dict[str, str], country: str, way: str) -> None:
    found = filled(Cart({"A": 1}, country="US", way="post"), typed)

    assert (found.country, found.way) == (country, way)


def test_a_box_is_unticked_only_where_it_is_shown() -> None:
    cart = Cart({"A": 1}, credit=True, later=True)

    assert filled(cart, {"may-credit": "yes", "credit": "on"}) == cart
    assert filled(cart, {"may-credit": "yes"}) == replace(cart, credit=False)
    assert filled(cart, {}) == cart


def test_quantities_stay_within_bounds_and_lines_keep_their_place() -> None:
    cart = Cart({"A": 1, "B": 1}).with_quantity("A", 500)

    assert list(cart.lines.items()) == [("A", QUANTITY_MAX), ("B", 1)]
    assert list(cart.with_quantity("A", 0).lines) == ["B"]


def test_what_is_out_of_stock_is_said_at_its_line() -> None:
    cart = Cart({"A": 3, "B": 1, "C": 2})
    available = [{"sku": "A", "available": 2}, {"sku": "C", "available": 0}]

    found = problem(cart, 409, {"code": "out_of_stock", "available": available})

    assert found.lines == {"A": "Only 2 left.", "C": "Sold out, please remove it."}
    assert found.settled


def test_what_a_currency_does_not_buy_is_said_at_its_line() -> None:
    errors = [{"pointer": "/lines/1/sku", "detail": "B is not sold in jpy.", "code": "currency_not_offered"}]

    found = problem(Cart({"A": 1, "B": 1}), 422, {"code": "currency_not_offered", "errors": errors})

    assert found.lines == {"B": "B is not sold in jpy."}


@pytest.mark.parametrize(
    ("pointer", "code", "field", "words"),
    [
        ("/shipping/option", "shipping_not_offered", "way", "We do not send it there in this way."),
        ("/shipping/country", "shipping_country_not_served", "country", "We do not send parcels there."),
        ("/country", "validation_failed", "country", "Please choose a country from the list."),
        ("/coupon", "coupon_invalid", "coupon", "as the platform says"),
        ("/email", "validation_failed", "email", "Please give an e-mail address"),
    ],
)
def test_a_refusal_is_said_beside_the_field_it_speaks_of(pointer: str, code: str, field: str, words: str) -> None:
    errors = [{"pointer": pointer, "detail": "as the platform says", "code": code}]

    found = problem(Cart({"A": 1}), 422, {"code": code, "errors": errors})

    assert list(found.fields) == [field]
    assert found.fields[field].startswith(words)


@pytest.mark.parametrize(
    ("status", "code", "settled"),
    [
        (409, "coupon_exhausted", True),
        (502, "stripe_refused", True),
        (409, "idempotency_in_flight", False),
        (503, "stripe_unavailable", False),
        (502, "upstream_unavailable", False),
        (500, None, False),
    ],
)
def test_only_a_settled_refusal_lets_the_next_try_be_another_order(
    status: int, code: str | None, settled: bool
) -> None:
    assert problem(Cart({"A": 1}), status, {"code": code}).settled is settled


def test_who_is_signed_in_comes_back_from_the_cookie_and_from_no_other() -> None:
    ada = Person("Ada@example.com")
    spoilt = ada.sealed(SECRET).replace(".", "x.", 1)

    assert signed_in(ada.sealed(SECRET), SECRET) == ada
    assert [signed_in(text, SECRET) for text in ("", "a.b", spoilt, ada.sealed(b"t" * 32))] == [None] * 4
    assert signed_in(Cart({"MUG": 1}).sealed(SECRET), SECRET) is None
    assert Person("ada@example.com").subject == ada.subject != Person("bob@example.com").subject


def test_an_address_is_its_owners_alone() -> None:
    home = Address("Ada", "12 Torstraße", "Berlin", "10119", "DE")
    ada, bob = Person("ada@example.com").subject, Person("bob@example.com").subject
    sealed = home.sealed(ada, SECRET)

    assert address.opened(sealed, ada, SECRET) == home
    assert [address.opened(text, ada, SECRET) for text in ("", "a.b", sealed + "0")] == [None] * 3
    assert address.opened(sealed, bob, SECRET) is None


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        ({"name": "  "}, "name"),
        ({"line1": ""}, "line1"),
        ({"city": ""}, "city"),
        ({"postal_code": "10119 Berlin-Mitte"}, "postal_code"),
        ({"country": "XX"}, "country"),
    ],
)
def test_an_address_is_whole(spoilt: dict[str, str], field: str) -> None:
    form = {"name": "Ada", "line1": " 12  Torstraße", "city": "Berlin", "postal_code": "10119", "country": "DE"}
    wrong = address.typed(form | spoilt)

    assert isinstance(wrong, dict)
    assert list(wrong) == [field]
    assert address.typed(form) == Address("Ada", "12 Torstraße", "Berlin", "10119", "DE")


# -- what an order's page says -----------------------------------------------------------------------------------------


def an_order(**given: object) -> dict[str, object]:
    """As the platform answers: waiting for money, unless told otherwise."""
    order = {"status": "pending", "held": False, "shipment": None, "refunded_minor": 0, "total_minor": 1800}
    order |= {"paid_at": None, "checkout_url": "https://pay.example", "next_attempt_at": None}
    return order | {"shipping": {"option": "post", "name": "Post"}} | given


PAID = {"status": "paid", "paid_at": "2026-01-01T00:00:00Z", "checkout_url": None}


@pytest.mark.parametrize(
    ("given", "state", "reached", "final"),
    [
        ({}, "pending", 1, False),
        ({"next_attempt_at": "2026-01-01T01:00:00Z", "checkout_url": None}, "retrying", 1, False),
        ({"status": "failed"}, "declined", 1, False),
        ({"status": "failed", "checkout_url": None}, "failed", 1, True),
        ({"status": "processing", "checkout_url": None}, "processing", 1, False),
        ({"status": "expired", "checkout_url": None}, "expired", 1, True),
        ({"status": "canceled", "checkout_url": None}, "canceled", 1, True),
        (PAID, "paid", 2, False),
        (PAID | {"shipment": {"status": "created"}}, "paid", 3, False),
        (PAID | {"shipment": {"status": "shipped"}}, "paid", 4, False),
        (PAID | {"shipment": {"status": "delivered"}}, "paid", 5, True),
        (PAID | {"shipment": {"status": "canceled"}}, "paid", 2, False),
        (PAID | {"refunded_minor": 1}, "partly refunded", 2, False),
        (PAID | {"refunded_minor": 1800}, "refunded", 2, True),
    ],
)
def test_every_answer_has_words_for_the_buyer(given: dict[str, object], state: str, reached: int, final: bool) -> None:
    at = progress(an_order(**given))

    assert (at.state, at.reached, at.final) == (state, reached, final)
    assert at.title


def test_what_is_not_sent_is_over_once_it_is_paid() -> None:
    order = an_order(**PAID, shipping=None, shipment={"status": "created"})

    assert milestones(order) == ("placed", "paid")
    assert (progress(order).reached, progress(order).final) == (2, True)
    assert not progress(an_order(shipping=None)).final


def test_a_held_order_asks_nothing_of_the_buyer() -> None:
    assert "need not do anything" in progress(an_order(**PAID, held=True)).note


# -- against the platform ----------------------------------------------------------------------------------------------


def a_browser() -> aiohttp.ClientSession:
    """Keeps cookies, also those of the loopback address."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def on_shelf(shopper: Shopper, **given: Any) -> str:
    """Goods that the shop shows already: its shelf is up to half a second old."""
    sku = await shopper.offer(**given)

    async def shown() -> bool:
        return f"Product {sku}" in await (await shopper.http.get(shopper.deployment.shop_url)).text()

    await eventually(shown, within=5, what=f"{sku} on the shelf")
    return sku


async def ordered(browser: aiohttp.ClientSession, url: str, sku: str) -> tuple[str, str]:
    """The order's name and its hosted page."""
    await browser.post(f"{url}/cart", data={"add": sku})
    click = await browser.post(f"{url}/checkout", data={"email": "ada@example.com"}, allow_redirects=False)
    assert click.status == 303, await click.text()
    return next(name for name in click.cookies if name.startswith("ord_")), click.headers["Location"]


async def pieces(browser: aiohttp.ClientSession, url: str) -> int:
    """What the page's head says of the cart."""
    found = re.search(r'data-part="count">(\d+)<', await (await browser.get(f"{url}/cart")).text())
    assert found is not None
    return int(found[1])


async def test_a_double_click_on_a_form_just_filled_places_one_order(shopper: Shopper) -> None:
    sku = await on_shelf(shopper)
    url = shopper.deployment.shop_url

    async with a_browser() as browser:
        await browser.post(f"{url}/cart", data={"add": sku})
        form = {"email": "ada@example.com", f"quantity-{sku}": "2"}
        clicks = await asyncio.gather(
            *(browser.post(f"{url}/checkout", data=form, allow_redirects=False) for _ in range(3))
        )

    orders = {name for click in clicks for name in click.cookies if name.startswith("ord_")}
    assert {click.status for click in clicks} == {303}
    assert len({click.headers["Location"] for click in clicks}) == 1
    assert len(orders) == 1
    lines = "SELECT (lines -> 0 ->> 'quantity')::int FROM checkout.orders WHERE id = $1"
    assert await shopper.count(lines, parse_external_id("ord", orders.pop())) == 2
    assert (await shopper.stock_of(sku))["held"] == 2


async def test_the_cart_is_kept_until_it_is_paid_for_and_a_newer_one_after_that(shopper: Shopper) -> None:
    sku, another = await on_shelf(shopper), await on_shelf(shopper)
    url = shopper.deployment.shop_url

    async with a_browser() as browser:
        order_id, hosted = await ordered(browser, url, sku)
        await browser.get(f"{url}/cart?order_id={order_id}")
        assert await pieces(browser, url) == 1, "the buyer came back without paying"

        token = browser.cookie_jar.filter_cookies(URL(url))[order_id].value.partition(".")[0]
        order = {"order_id": order_id, "order_token": token, "checkout_url": hosted}
        await shopper.pay(order)
        await shopper.until(order, "paid")
        again = await browser.post(f"{url}/checkout", data={"email": "ada@example.com"}, allow_redirects=False)
        assert again.headers["Location"] == f"/shop/success?order_id={order_id}", "what is paid for is not paid twice"
        await browser.get(f"{url}/success?order_id={order_id}")
        assert await pieces(browser, url) == 0

        await browser.post(f"{url}/cart", data={"add": another})
        await browser.get(f"{url}/success?order_id={order_id}")
        assert await pieces(browser, url) == 1, "a look at the old order leaves the new cart alone"


async def test_what_is_not_sold_any_more_leaves_the_cart_with_a_word(shopper: Shopper) -> None:
    sku, kept = await on_shelf(shopper), await on_shelf(shopper)
    url = shopper.deployment.shop_url

    async with a_browser() as browser:
        await browser.post(f"{url}/cart", data={"add": sku})
        await browser.post(f"{url}/cart", data={"add": kept})
        product = {"name": "Gone", "prices": {"usd": 1}, "active": False}
        await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", product)

        async def told() -> bool:
            answer = await browser.post(f"{url}/checkout", data={"email": "no"}, allow_redirects=False)
            return "no longer sold" in await answer.text()

        await eventually(told, within=5, what="the word")
        assert await pieces(browser, url) == 1


async def test_an_order_without_stock_is_refused_at_its_line_and_holds_nothing(shopper: Shopper) -> None:
    sku = await on_shelf(shopper, stock=2)
    url = shopper.deployment.shop_url

    async with a_browser() as browser:
        await browser.post(f"{url}/cart", data={"add": sku})
        form = {"email": "ada@example.com", f"quantity-{sku}": "3"}
        refused = await browser.post(f"{url}/checkout", data=form, allow_redirects=False)
        page = await refused.text()
        form[f"quantity-{sku}"] = "2"
        taken = await browser.post(f"{url}/checkout", data=form, allow_redirects=False)

    assert refused.status == 422
    assert "Only 2 left." in page
    assert taken.status == 303


async def test_what_is_sent_is_not_bought_without_being_asked_where_to(shopper: Shopper) -> None:
    sku = await on_shelf(shopper)
    url = shopper.deployment.shop_url

    async with a_browser() as browser:
        await browser.post(f"{url}/cart", data={"add": sku})
        await browser.post(f"{url}/account", data={"email": "ada@example.com"})
        answer = await browser.post(f"{url}/buy", data={}, allow_redirects=False)

    assert (answer.status, answer.headers["Location"]) == (303, "/shop/cart")
    assert (await shopper.stock_of(sku))["held"] == 0


async def test_pages_allow_nothing_from_elsewhere(shopper: Shopper) -> None:
    for path in ("", "/cart", "/success?order_id=ord_1", "/nothing"):
        answer = await shopper.http.get(shopper.deployment.shop_url + path)
        policy = answer.headers["Content-Security-Policy"]
        page = await answer.text()

        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page), "no asset of a third party"
        assert not re.findall(r"<style| style=| onclick=", page)


async def test_there_is_a_page_for_what_is_not_there(shopper: Shopper) -> None:
    answer = await shopper.http.get(f"{shopper.deployment.shop_url}/nothing")

    assert answer.status == 404
    assert "There is no such page" in await answer.text()


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
async def test_a_page_of_another_site_cannot_change_the_cart(shopper: Shopper, origin: str) -> None:
    answer = await shopper.http.post(
        f"{shopper.deployment.shop_url}/cart", data={"add": "MUG"}, headers={"Origin": origin}
    )

    assert answer.status == 403


async def test_prices_of_every_currency_are_on_the_shelf(shopper: Shopper) -> None:
    sku = await on_shelf(shopper, prices={"usd": 1234, "eur": 1111, "gbp": 999, "jpy": 2400})
    url = shopper.deployment.shop_url
    seen = []

    async with a_browser() as browser:
        for currency in CURRENCIES:
            page = await (await browser.post(f"{url}/cart", data={"currency": currency})).text()
            ware = page[page.index(f"Product {sku}") :]
            found = re.search(r"<strong>(.*?)</strong>", ware)
            assert found is not None
            seen.append(found[1])

    assert seen == ["$12.34", "€11.11", "£9.99", "¥2,400"]


async def test_an_order_is_shown_to_the_browser_that_placed_it_alone(shopper: Shopper) -> None:
    order = await shopper.placed(await on_shelf(shopper))

    answer = await shopper.http.get(f"{shopper.deployment.shop_url}/success?order_id={order['order_id']}")

    assert answer.status == 404
