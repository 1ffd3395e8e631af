"""What the services really say, and what they really declared at the broker, is what the contracts promise."""

import json
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import pytest

from payments_shared.contracts.catalog import CATALOG, CONSUMERS, SERVICES, schema_name
from payments_shared.messaging.envelope import routing_key
from payments_shared.messaging.topology import Topology
from sandbox.services.deployment import Deployment
from tests.contracts.snapshots import faults
from tests.support.shopping import Shopper, eventually

RETRY_TIERS_MS = (300, 1_000, 3_000)  # those of the deployment under test

SAID_IN_THE_PURCHASES = {
    "stripe.checkout.session.completed",
    "stripe.checkout.session.expired",
    "stripe.payment_intent.succeeded",
    "stripe.payment_intent.payment_failed",
    "order.placed.v1",
    "order.paid.v1",
    "order.payment_failed.v1",
    "order.expired.v1",
    "stock.committed.v1",
    "stock.released.v1",
    "shipment.created.v1",
    "notifications.cmd.deliver.v1",
    "notification.sent.v1",
    "checkout.cmd.abandon_order.v1",
    "stock.shortfall.v1",
    "refunds.cmd.submit.v1",
    "refund.requested.v1",
    "refund.approved.v1",
    "refund.succeeded.v1",
}


async def _said(shopper: Shopper) -> list[tuple[str, str, str, dict[str, Any]]]:
    """(service, declared type, routing key, body) of everything in every outbox."""
    found = []
    for service in SERVICES:
        rows = await shopper.owner.fetch(f"SELECT type, routing_key, body FROM {schema_name(service)}.outbox")
        found += [(service, row["type"], row["routing_key"], json.loads(row["body"])) for row in rows]
    return found


async def _buy_in_several_ways(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=50)
    code = await shopper.coupon(percent_off=10)
    await shopper.until(await shopper.bought(sku, coupon=code), "paid")
    second_card = await shopper.placed(sku)
    assert await shopper.pay(second_card, card="4000000000000002") == 402
    await shopper.until(second_card, "failed")
    assert await shopper.pay(second_card) == 303
    await shopper.until(second_card, "paid")
    left = await shopper.placed(sku)
    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(left)}/expire")
    await shopper.until(left, "expired")
    await _pay_too_late(shopper)
    await shopper.quiet()


async def _pay_too_late(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=1)
    late = await shopper.placed(sku)
    assert await shopper.pay(late, card="4000000000000002") == 402
    await shopper.until(late, "failed")
    await shopper.advance(601)
    await eventually(lambda: shopper.mails(late, "payment_retry"), what="the late order to be given up")
    await shopper.until(await shopper.bought(sku), "paid")
    assert await shopper.pay(late) == 303
    await eventually(lambda: shopper.mails(late, "refund_succeeded"), within=60, what="the late money back")


@pytest.mark.servers
async def test_every_message_of_real_purchases_is_valid_against_its_snapshot(shopper: Shopper) -> None:
    await _buy_in_several_ways(shopper)

    said = await _said(shopper)

    wrong = [f"{who}: {line}" for who, type_, _, body in said for line in faults("envelope", body)]
    wrong += [f"{who}: {line}" for who, type_, _, body in said for line in faults(type_, body["data"])]
    assert not wrong, "\n".join(wrong[:20])
    types = {type_ for _, type_, _, _ in said}
    assert types >= SAID_IN_THE_PURCHASES, f"never said: {SAID_IN_THE_PURCHASES - types}"


@pytest.mark.servers
async def test_services_say_only_what_is_theirs_and_route_it_by_type_and_bucket(shopper: Shopper) -> None:
    await shopper.until(await shopper.bought(await shopper.offer(stock=1)), "paid")
    await shopper.quiet()

    for service, type_, key, body in await _said(shopper):
        assert service in CATALOG[type_].speakers, f"{service} says {type_}"
        assert body["type"] == type_
        assert body["source"] == f"payments/{service}"
        assert key == routing_key(type_, body["partitionkey"])


def test_a_message_with_an_unknown_or_a_wrong_field_is_not_valid() -> None:
    """The judge itself can say no."""
    good = {"order_id": "ord_" + "0" * 32, "lines": [{"sku": "A", "quantity": 1}]}

    assert faults("stock.committed.v1", good) == []
    assert faults("stock.committed.v1", {**good, "colour": "red"})
    assert faults("stock.committed.v1", {**good, "lines": [{"sku": "A", "quantity": "1"}]})
    assert faults("stock.committed.v1", {"lines": good["lines"]})
    assert faults("envelope", {"specversion": "1.0"})


# -- the broker ------------------------------------------------------------------------------------------------------


async def _declared(deployment: Deployment, what: str) -> list[dict[str, Any]]:
    parts = urlsplit(deployment.servers.management_url)
    login = aiohttp.encode_basic_auth(parts.username or "", parts.password or "")
    url = f"http://{parts.hostname}:{parts.port}/api/{what}/{quote(deployment.provisioned.vhost, safe='')}"
    async with aiohttp.ClientSession(headers={"Authorization": login}) as http, http.get(url) as answer:
        answer.raise_for_status()
        rows: list[dict[str, Any]] = await answer.json()
        return rows


@pytest.mark.servers
async def test_the_queues_at_the_broker_are_those_of_the_catalogue_and_no_others(deployment: Deployment) -> None:
    declared = {row["name"]: row["arguments"] for row in await _declared(deployment, "queues")}

    wanted = {q.name: q.arguments for service in CONSUMERS for q in Topology.of(service, RETRY_TIERS_MS).queues}
    assert declared.keys() == wanted.keys()
    for name, arguments in wanted.items():
        assert declared[name].items() >= arguments.items(), name


@pytest.mark.servers
async def test_the_bindings_at_the_broker_are_those_of_the_catalogue_and_no_others(deployment: Deployment) -> None:
    declared = {
        (row["source"], row["routing_key"], row["destination"])
        for row in await _declared(deployment, "bindings")
        if row["source"]  # the default exchange binds every queue by its name
    }

    events = {
        ("pay.events", f"{name}.*", f"{service}.{'work' if entry.command else 'events'}")
        for name, entry in CATALOG.items()
        for service in entry.hearers
    }
    returns = {
        (exchange, key, queue.name)
        for service in CONSUMERS
        for queue in Topology.of(service, RETRY_TIERS_MS).queues
        for exchange, key in queue.bindings
        if exchange != "pay.events"
    }
    assert declared == events | returns
