"""The story of an order as operators read it, and how they find the orders of a customer; of real purchases."""

import re
import secrets
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from operations.decide import telling
from sandbox.services.resolver import Servers
from tests.checkout.fraud import charge_of
from tests.operations.desk import desk_at
from tests.operations.visitors import Visitor
from tests.support.people import Person
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.servers
NAMES: Final = (
    "stripe", "mailbox", "identity", "frontdoor", "shop", "webhook-ingest", "checkout", "inventory", "fulfillment",
    "refunds", "notifications", "operations",
)  # fmt: skip
LINE: Final = re.compile(r'<li id="message-([0-9a-f-]{36})">(.*?)</li>', re.DOTALL)
CAUSE: Final = re.compile(r'because of <a href="#message-([0-9a-f-]{36})">')


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def buyer(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shopper]:
    """A buyer at a shop whose console people can sign in to."""
    folder, mark = tmp_path_factory.mktemp("stories"), "t" + secrets.token_hex(4)
    async with desk_at(servers, folder, names=NAMES, mark=mark) as desk, Shopper.of(desk.deployment) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def vera(buyer: Shopper) -> Visitor:
    """Who only looks."""
    made = Visitor(buyer.deployment, buyer.http)
    await made.sign_in("vera")
    return made


async def told(buyer: Shopper, order: Json, *types: str) -> list[Json]:
    """What was said about an order, once `types` were."""

    async def probe() -> list[Json] | None:
        answer = await buyer.admin("GET", "operations", f"/admin/orders/{order['order_id']}/timeline")
        messages = list(answer.body["messages"])
        return messages if set(types) <= {one["type"] for one in messages} else None

    found: list[Json] = await eventually(probe, within=60, what=f"{types} of {order['order_id']}")
    return found


async def test_every_cause_on_an_orders_page_is_a_line_of_it(buyer: Shopper, vera: Visitor) -> None:
    sku = await buyer.offer()
    order = await buyer.bought(sku)
    await told(buyer, order, "order.paid.v1", "shipment.created.v1", "notification.sent.v1")
    await buyer.stripe("POST", f"/_sim/charges/{await charge_of(buyer, order)}/dispute", {})
    await told(buyer, order, "dispute.opened.v1")
    await buyer.quiet()
    messages = await told(buyer, order, "dispute.opened.v1")

    page = (await vera.look(f"/console/orders/{order['order_id']}")).text

    lines = dict(LINE.findall(page))
    assert set(lines) == {one["message_id"] for one in messages}
    types = {one["message_id"]: one["type"] for one in messages}
    rootless: dict[str, str] = {}
    for message_id, text in lines.items():
        cause = CAUSE.search(text)
        if cause:
            assert cause[1] in lines
        else:
            rootless[types[message_id]] = text
    assert {name for name in rootless if not name.startswith("stripe.")} == {"order.placed.v1"}
    assert all("Stripe said so" in text for name, text in rootless.items() if name.startswith("stripe."))
    assert "at a request" in rootless["order.placed.v1"]
    assert "because of <span" not in page
    (opened,) = [one for one in messages if one["type"] == "dispute.opened.v1"]
    assert types[opened["causation_id"]].startswith("stripe.charge.dispute."), "an event that names no order"
    (sent,) = [one for one in messages if one["type"] == "notification.sent.v1" and one["data"]["kind"] == "order_confirmation"]  # fmt: skip
    assert types[sent["causation_id"]] == "order.paid.v1", "and not the command to deliver it"
    story = telling.story(messages, [])
    assert {line.cause.type is None for line in story if line.cause} == {False}


async def test_the_orders_of_a_customer_are_found_by_who_he_is_to_stripe_and_to_the_sign_in(
    buyer: Shopper, vera: Visitor
) -> None:
    ada = Person(buyer, "customer-" + secrets.token_hex(6))
    await ada.saves()
    sku = await buyer.offer()
    bought = [(await ada.buys(sku)).body for _ in range(2)]
    strangers = await buyer.bought(sku)
    await buyer.until(strangers, "paid")
    customer = await ada.stripe_customer()
    for order in bought:
        await told(buyer, order, "order.paid.v1", "stripe.payment_intent.succeeded", "notification.sent.v1")

    for term in (customer, ada.subject):
        found = (await vera.look(f"/console/search?q={term}")).text
        for order in bought:
            assert f'href="/console/orders/{order["order_id"]}"' in found, term
        assert strangers["order_id"] not in found
    nobody = (await vera.look(f"/console/search?q={ada.subject}@example.com")).plain
    assert "Nobody is found by an address" in nobody
    kept = await buyer.owner.fetchval(
        "SELECT string_agg(data::text, ' ') FROM operations.timeline WHERE order_ref = ANY ($1)",
        [order["order_id"] for order in bought],
    )
    assert ada.subject in kept
    assert f"{ada.subject}@example.com" not in kept
