"""Events of types that we act on, well signed, with objects that cannot be: answered 200, and no order is touched."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.shopping import Json, Shopper, eventually
from tests.webhook_ingest.deliveries import event, post_event

NAMES = (
    "stripe", "mailbox", "frontdoor", "webhook-ingest", "checkout", "inventory", "fulfillment", "refunds",
    "notifications", "operations",
)  # fmt: skip
GONE = object()
HUGE = 2**53

Change = tuple[str, Any]  # the path of a field, parts joined by dots, and its new value; Any: JSON
UNREADABLE_SESSIONS: tuple[Change, ...] = (
    ("id", GONE), ("id", None), ("id", 5), ("id", {"id": "cs_test_1"}),
    ("payment_status", GONE), ("payment_status", None), ("payment_status", 1),
    ("payment_intent", 5), ("payment_intent", {"id": "pi_1"}),
    ("amount_total", "all of it"), ("amount_total", [1800]), ("amount_total", 1.5), ("amount_subtotal", {}),
    ("currency", "dollars"), ("currency", "USD"), ("currency", ""), ("currency", 840),
    ("total_details", []), ("total_details.amount_discount", None), ("total_details.amount_tax", "none"),
    ("metadata", ["ord"]), ("metadata", {"order_id": 5}), ("customer_details", "Ada"), ("status", []),
)  # fmt: skip
FALSE_SESSIONS: tuple[Change, ...] = (
    ("amount_total", GONE), ("amount_total", None), ("amount_total", 0), ("amount_total", -1), ("amount_total", -1800),
    ("amount_total", HUGE), ("amount_total", -HUGE), ("amount_subtotal", -1800), ("amount_subtotal", GONE),
    ("total_details.amount_discount", 1800), ("total_details.amount_tax", -1), ("total_details.amount_shipping", HUGE),
    ("currency", "xxx"), ("currency", "eur"), ("currency", GONE), ("payment_status", "perhaps"),
)  # fmt: skip
FALSE_INTENTS: tuple[Change, ...] = (
    ("id", GONE), ("id", 5), ("status", GONE), ("amount", GONE), ("amount", "1800 USD"), ("amount", -1800),
    ("amount_received", -1800), ("amount_received", HUGE), ("amount_received", None), ("currency", "xxx"),
    ("currency", "dollars"), ("currency", GONE), ("metadata", []), ("metadata.order_id", "ord_" + "0" * 32),
)  # fmt: skip
BEYOND_JSON: tuple[Change, ...] = (("amount_total", HUGE + 1), ("amount_total", -(2**63)), ("amount_total", 10**400))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment whose orders nobody audits against what Stripe really said."""
    namespace = f"o{secrets.token_hex(4)}"
    async with deploy(servers, namespace=namespace, names=NAMES, retry_tiers_ms=(100, 200)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(own: Deployment) -> AsyncIterator[Shopper]:
    async with Shopper.of(own) as made:
        yield made


def changed(value: Json, change: Change) -> Json:
    """`value` with one field changed or gone."""
    path, new = change
    *parents, name = path.split(".")
    inner = value
    for parent in parents:
        inner = inner[parent]
    inner.pop(name, None)
    if new is not GONE:
        inner[name] = new
    return value


async def paid_session(shopper: Shopper, order: Json) -> Json:
    """The order's session as Stripe would show it once it is paid in full."""
    session: Json = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    return {
        **session,
        "status": "complete",
        "payment_status": "paid",
        "payment_intent": f"pi_{secrets.token_hex(12)}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
    }


def succeeded_intent(order: Json) -> Json:
    return {
        "id": f"pi_{secrets.token_hex(12)}", "object": "payment_intent", "status": "succeeded", "amount": 1800,
        "amount_received": 1800, "currency": "usd", "metadata": {"order_id": order["order_id"]},
    }  # fmt: skip


async def dealt_with(shopper: Shopper, event_ids: list[str]) -> None:
    """Wait until checkout has taken, or given up, what webhook-ingest said of these events."""
    sql = """
        SELECT count(*) FROM webhook_ingest.outbox AS o
         WHERE convert_from(o.body, 'UTF8')::jsonb #>> '{data,id}' = ANY($1::text[])
           AND (EXISTS (SELECT FROM checkout.inbox AS i WHERE i.message_id = o.message_id)
                OR EXISTS (SELECT FROM operations.dead_letters AS d
                            WHERE d.message_id = o.message_id::text AND d.service = 'checkout'))
    """

    async def all_of_them() -> bool:
        return await shopper.count(sql, event_ids) == len(event_ids)

    await eventually(all_of_them, within=60, what=f"{len(event_ids)} events dealt with")


async def deliver(shopper: Shopper, type_: str, objects: list[Json]) -> tuple[list[str], list[int]]:
    """One event for each of `objects`: (ids, statuses)."""
    events = [event(id=f"evt_{secrets.token_hex(12)}", type=type_, data={"object": subject}) for subject in objects]
    return [value["id"] for value in events], await asyncio.gather(*(post_event(shopper, value) for value in events))


async def states(shopper: Shopper, event_ids: list[str]) -> set[str]:
    sql = "SELECT DISTINCT state FROM webhook_ingest.stripe_events WHERE event_id = ANY($1::text[])"
    return {row["state"] for row in await shopper.owner.fetch(sql, event_ids)}


async def test_sessions_that_cannot_be_read_change_nothing_and_their_orders_can_still_be_bought(
    shopper: Shopper,
) -> None:
    sku = await shopper.offer()
    orders = [await shopper.placed(sku) for _ in UNREADABLE_SESSIONS]
    before = [await shopper.order(order) for order in orders]
    sessions = [
        changed(await paid_session(shopper, order), change)
        for order, change in zip(orders, UNREADABLE_SESSIONS, strict=True)
    ]

    ids, statuses = await deliver(shopper, "checkout.session.completed", sessions)
    await dealt_with(shopper, ids)

    assert statuses == [200] * len(UNREADABLE_SESSIONS)
    assert await states(shopper, ids) == {"processed"}
    assert [await shopper.order(order) for order in orders] == before
    assert {await shopper.effects(order) for order in orders} == {(0, 0, 0, 0)}
    assert await shopper.pay(orders[0]) == 303
    await shopper.until(orders[0], "paid")


async def test_the_session_that_the_others_differ_from_in_one_field_pays_for_its_order(shopper: Shopper) -> None:
    """Else the tests around it would prove nothing."""
    order = await shopper.placed(await shopper.offer())

    _, statuses = await deliver(shopper, "checkout.session.completed", [await paid_session(shopper, order)])

    assert statuses == [200]
    assert not (await shopper.until(order, "paid"))["held"]


async def test_sessions_that_cannot_be_true_ship_and_tell_nothing(shopper: Shopper) -> None:
    """A sum that is not the order's is held for a person; nothing is committed, shipped or confirmed meanwhile."""
    sku = await shopper.offer()
    orders = [await shopper.placed(sku) for _ in FALSE_SESSIONS]
    sessions = [
        changed(await paid_session(shopper, order), change)
        for order, change in zip(orders, FALSE_SESSIONS, strict=True)
    ]

    ids, statuses = await deliver(shopper, "checkout.session.completed", sessions)
    await dealt_with(shopper, ids)

    assert statuses == [200] * len(FALSE_SESSIONS)
    seen = [await shopper.order(order) for order in orders]
    taken = [
        change
        for change, view in zip(FALSE_SESSIONS, seen, strict=True)
        if view["status"] == "paid" and not view["held"]
    ]
    assert taken == []
    assert {await shopper.effects(order) for order in orders} == {(0, 0, 0, 0)}


@pytest.mark.parametrize("type_", ["payment_intent.succeeded", "payment_intent.payment_failed"])
async def test_intents_that_cannot_be_pay_for_nothing(shopper: Shopper, type_: str) -> None:
    sku = await shopper.offer()
    orders = [await shopper.placed(sku) for _ in FALSE_INTENTS]
    intents = [changed(succeeded_intent(order), change) for order, change in zip(orders, FALSE_INTENTS, strict=True)]

    ids, statuses = await deliver(shopper, type_, intents)
    await dealt_with(shopper, ids)

    assert statuses == [200] * len(FALSE_INTENTS)
    assert "paid" not in {(await shopper.order(order))["status"] for order in orders}
    assert {await shopper.effects(order) for order in orders} == {(0, 0, 0, 0)}


async def test_amounts_beyond_what_json_holds_exactly_stay_at_the_door(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    before = await shopper.order(order)
    sessions = [changed(await paid_session(shopper, order), change) for change in BEYOND_JSON]

    ids, statuses = await deliver(shopper, "checkout.session.completed", sessions)

    dead = (
        "SELECT count(*) FROM webhook_ingest.stripe_events WHERE state = 'dead' AND convert_from(raw, 'UTF8') LIKE $1"
    )
    said = "SELECT count(*) FROM webhook_ingest.outbox WHERE convert_from(body, 'UTF8') LIKE $1"
    assert statuses == [200] * len(BEYOND_JSON)
    assert [await shopper.count(dead, f"%{id_}%") for id_ in ids] == [1] * len(ids)
    assert [await shopper.count(said, f"%{id_}%") for id_ in ids] == [0] * len(ids)
    assert await shopper.order(order) == before


async def test_an_event_of_the_wrong_mode_or_a_foreign_account_pays_for_nothing(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    before = await shopper.order(order)
    session = await paid_session(shopper, order)
    forged = [
        event(id=f"evt_{secrets.token_hex(12)}", type="checkout.session.completed", data={"object": session}, **given)
        for given in ({"livemode": True}, {"account": "acct_other"})
    ]

    statuses = [await post_event(shopper, value) for value in forged]

    said = "SELECT count(*) FROM webhook_ingest.outbox WHERE convert_from(body, 'UTF8') LIKE $1"
    assert statuses == [200, 200]
    assert await states(shopper, [value["id"] for value in forged]) == {"ignored"}
    assert [await shopper.count(said, f"%{value['id']}%") for value in forged] == [0, 0]
    assert await shopper.order(order) == before
