"""The shop's server: a cart nobody else can write, one order however often the button is pressed."""

import asyncio
import re

import aiohttp
import pytest

from payments_shared.ids import parse_external_id
from sandbox.shop.cart import CURRENCIES, QUANTITY_MAX, Cart, opened
from sandbox.shop.gateway import problem
from tests.support.shopping import Shopper

SECRET = b"s" * 32


def test_a_cart_comes_back_from_its_cookie_as_it_was() -> None:
    cart = Cart({"MUG": 2, "TEE": 1}, "eur", "WELCOME10", "ada@example.com")

    assert opened(cart.sealed(SECRET), SECRET) == cart


@pytest.mark.parametrize(
    "spoil", [lambda text: "x" + text, lambda text: text[:-1] + "0", lambda _: "", lambda _: "a.b"]
)
def test_a_cart_that_somebody_else_wrote_is_empty(spoil: object) -> None:
    assert callable(spoil)
    sealed = Cart({"MUG": 2}).sealed(SECRET)[:-1] + "1"

    assert opened(spoil(sealed), SECRET).lines == {}
    assert opened(Cart({"MUG": 2}).sealed(b"t" * 32), SECRET).lines == {}


def test_each_change_is_another_order_and_the_same_cart_the_same() -> None:
    cart = Cart({"MUG": 1})

    assert cart.with_quantity("MUG", 2).key != cart.key
    assert opened(cart.sealed(SECRET), SECRET).key == cart.key


def test_quantities_stay_within_bounds_and_lines_keep_their_place() -> None:
    cart = Cart({"A": 1, "B": 1}).with_quantity("A", 500)

    assert list(cart.lines.items()) == [("A", QUANTITY_MAX), ("B", 1)]
    assert list(cart.with_quantity("A", 0).lines) == ["B"]


def test_what_is_out_of_stock_is_said_at_its_line() -> None:
    cart = Cart({"A": 3, "B": 1})

    found = problem(cart, {"code": "out_of_stock", "available": [{"sku": "A", "available": 2}]})

    assert found.lines == {"A": "Only 2 left."}


async def test_a_double_click_places_one_order(shopper: Shopper) -> None:
    sku = await shopper.offer()
    url = shopper.deployment.shop_url

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.post(f"{url}/cart", data={"add": sku})
        form = {"email": "ada@example.com", f"quantity-{sku}": "2"}
        await browser.post(f"{url}/cart", data={**form, "back": "cart"})
        clicks = await asyncio.gather(
            *(browser.post(f"{url}/checkout", data=form, allow_redirects=False) for _ in range(3))
        )

    orders = {name for click in clicks for name in click.cookies if name.startswith("ord_")}
    assert {click.status for click in clicks} == {303}
    assert len({click.headers["Location"] for click in clicks}) == 1
    assert len(orders) == 1
    lines = "SELECT (lines -> 0 ->> 'quantity')::int FROM checkout.orders WHERE id = $1"
    assert await shopper.count(lines, parse_external_id("ord", orders.pop())) == 2


async def test_a_page_of_another_site_cannot_change_the_cart(shopper: Shopper) -> None:
    answer = await shopper.http.post(
        f"{shopper.deployment.shop_url}/cart", data={"add": "MUG"}, headers={"Origin": "https://evil.example"}
    )

    assert answer.status == 403


async def test_prices_of_every_currency_are_on_the_shelf(shopper: Shopper) -> None:
    sku = await shopper.offer(prices={"usd": 1234, "eur": 1111, "gbp": 999, "jpy": 2400})
    url = shopper.deployment.shop_url
    seen = []

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        for currency in CURRENCIES:
            page = await (await browser.post(f"{url}/cart", data={"currency": currency})).text()
            ware = page[page.index(f"Product {sku}") :]
            found = re.search(r"<strong>(.*?)</strong>", ware)
            assert found is not None
            seen.append(found[1])

    assert seen == ["$12.34", "€11.11", "£9.99", "¥2,400"]


async def test_an_order_is_shown_to_the_browser_that_placed_it_alone(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    answer = await shopper.http.get(f"{shopper.deployment.shop_url}/success?order_id={order['order_id']}")

    assert answer.status == 404
