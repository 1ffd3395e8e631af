"""Stripe keeps a 500 under its key, and what came of the request may show later than one looks for it: before another
key is used one looks again."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from payments_shared.ids import external_id
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.checkout.test_one_click import INTENTS, intents_of
from tests.checkout.test_splitting import buys, cards
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually

SESSIONS = "/v1/checkout/sessions"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_time(servers: Servers) -> AsyncIterator[Deployment]:
    """Whose clocks nobody has moved: what was made at Stripe is looked for around the time at which it was asked for."""
    async with deploy(servers, namespace="t" + secrets.token_hex(4)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(own_time: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of it."""
    async with Shopper.of(own_time) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    """Somebody without a saved method."""
    yield Person(shopper, "ada-" + secrets.token_hex(4))


@pytest_asyncio.fixture(loop_scope="session")
async def sku(shopper: Shopper) -> AsyncIterator[str]:
    """Goods, five pieces."""
    yield await shopper.offer(stock=5)


@contextlib.asynccontextmanager
async def shows_late(shopper: Shopper, path: str) -> AsyncIterator[None]:
    """The next request to `path` is executed and answered with a 500; whoever looks once afterwards does not see what
    it made, and no event tells of it."""
    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.stripe("POST", "/_sim/chaos", {"paused": True})
    await shopper.stripe("POST", "/_sim/faults", {"kind": "error_500_after", "path": path})
    await shopper.stripe("POST", "/_sim/faults", {"kind": "empty_list", "method": "GET", "path": path})
    yield
    faults = (await shopper.stripe("GET", "/_sim/faults"))["faults"]
    assert [fault["struck"] for fault in faults] == [1, 1]
    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.stripe("POST", "/_sim/chaos", {})


async def in_the_end(asks: Callable[[], Awaitable[Answer]]) -> Json:
    """The answer of a request that is repeated until it is made."""

    async def made() -> Json | None:
        answer = await asks()
        assert answer.status in (201, 409, 503), answer
        return answer.body if answer.status == 201 else None

    found: Json = await eventually(made, every=0.3, what="the request is made")
    return found


async def test_a_saved_card_is_charged_once(shopper: Shopper, ada: Person, sku: str) -> None:
    await ada.saves()
    key = secrets.token_hex(12)

    async with shows_late(shopper, INTENTS):
        first = await ada.buys(sku, key=key)
        order = await in_the_end(lambda: ada.buys(sku, key=key))

    assert (first.status, order["status"]) == (503, "paid")
    assert [intent["amount_received"] for intent in await intents_of(shopper, sku)] == [1800]
    await shopper.until(order, "paid")
    await shopper.audited()


async def test_a_500_to_the_question_is_no_reason_for_another_key(shopper: Shopper, ada: Person, sku: str) -> None:
    """The second key's request is executed, and its answer lost; who looks gets a 500, and later an empty list."""
    await ada.saves()
    key = secrets.token_hex(12)
    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.stripe("POST", "/_sim/chaos", {"paused": True})
    await shopper.stripe("POST", "/_sim/faults", {"kind": "error_500", "path": INTENTS})
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_after", "path": INTENTS, "count": 2})
    told = [(await ada.buys(sku, key=key)).status for _ in range(2)]
    await shopper.stripe("POST", "/_sim/faults", {"kind": "error_500", "method": "GET", "path": INTENTS})
    await shopper.stripe("POST", "/_sim/faults", {"kind": "empty_list", "method": "GET", "path": INTENTS, "count": 2})

    told.append((await ada.buys(sku, key=key)).status)
    order = await in_the_end(lambda: ada.buys(sku, key=key))

    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.stripe("POST", "/_sim/chaos", {})
    assert (told, order["status"]) == ([503, 503, 503], "paid")
    assert [intent["amount_received"] for intent in await intents_of(shopper, sku)] == [1800]
    await shopper.until(order, "paid")
    await shopper.audited()


async def test_two_cards_pay_their_parts_once(shopper: Shopper, ada: Person, sku: str) -> None:
    methods = await cards(ada, "4242424242424242", "5555555555554444")
    key = secrets.token_hex(12)

    async with shows_late(shopper, INTENTS):
        first = await buys(ada, sku, methods, key=key)
        order = await in_the_end(lambda: buys(ada, sku, methods, key=key))

    assert (first.status, order["status"]) == (503, "paid")
    assert [intent["amount_received"] for intent in await intents_of(shopper, sku)] == [1000, 2600]
    await shopper.until(order, "paid")
    await shopper.audited()


async def test_a_page_is_opened_once(shopper: Shopper, sku: str) -> None:
    key = secrets.token_hex(12)

    async with shows_late(shopper, SESSIONS):
        first = await shopper.checkout(sku, key=key)
        order = await in_the_end(lambda: shopper.checkout(sku, key=key))

    assert first.status == 503
    order_id = await shopper.owner.fetchval("SELECT id FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    assert order["order_id"] == external_id("ord", order_id)
    truth = await shopper.stripe("GET", "/_sim/truth")
    (session,) = [session for session in truth["sessions"] if session["order_ref"] == order["order_id"]]
    assert session["status"] == "open"
