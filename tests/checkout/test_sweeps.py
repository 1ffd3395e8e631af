"""What checkout finds out by asking when nobody tells it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
import pytest_asyncio

from operations.audit import run_audit
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.judged import judge_requests
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers

ORDERS: Final = 110  # more than one round of the sweep asks after
AT_ONCE: Final = 10
SWEEP: Final = "checkout:ask-after-waiting"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet_shop(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment in which no order of another test waits for the sweep."""
    async with deploy(servers, namespace="t" + secrets.token_hex(4)) as running:
        yield running
        await judge_requests(running)


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(quiet_shop: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of it."""
    async with Shopper.of(quiet_shop) as made:
        yield made


async def _sampled(shopper: Shopper, name: str) -> float:
    """A sample of checkout's metrics; 0 when it does not exist yet."""
    text = (await shopper.call("GET", shopper.deployment.internal_url("checkout") + "/metrics")).body["raw"]
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    return values.get(name, 0.0)


async def _in_crowds(shopper: Shopper, sku: str) -> list[Json]:
    turns = asyncio.Semaphore(AT_ONCE)

    async def bought() -> Json:
        async with turns:
            return await shopper.bought(sku)

    return list(await asyncio.gather(*(bought() for _ in range(ORDERS))))


async def _tell_late(shopper: Shopper) -> int:
    """Deliver what Stripe never delivered; how many events that were."""
    events = (await shopper.stripe("GET", "/_sim/truth"))["events"]
    untold = [event["id"] for event in events if not event["delivered"]]
    resent = [shopper.stripe("POST", f"/_sim/events/{event_id}/resend", {"copies": 1}) for event_id in untold]
    assert {tuple(answer["statuses"]) for answer in await asyncio.gather(*resent)} == {(200,)}
    return len(untold)


async def _all_heard(shopper: Shopper) -> bool:
    """Whether whatever was said was published and has taken effect."""
    report = await run_audit(shopper.deployment.provisioned.database_urls["auditor"])
    return not any(finding.predicate.name[:3] in {"I22", "I23"} for finding in report.violated)


async def _what_is_known(shopper: Shopper) -> dict[str, object]:
    """Everything that a late webhook could change."""
    looks = {
        "orders": "SELECT id, state, total_minor, paid_at, stripe_session_id, refunds FROM checkout.orders ORDER BY id",
        "said": "SELECT type, count(*) FROM checkout.outbox GROUP BY type ORDER BY type",
        "stock": "SELECT order_id, state FROM inventory.reservations ORDER BY order_id",
        "shipments": "SELECT order_id, state FROM fulfillment.shipments ORDER BY order_id",
        "refunds": "SELECT id, state FROM refunds.refunds ORDER BY id",
        "mails": "SELECT kind, order_id, state FROM notifications.mails ORDER BY kind, order_id",
    }
    return {name: [tuple(row) for row in await shopper.owner.fetch(sql)] for name, sql in looks.items()}


@pytest.mark.timeout(300)
async def test_a_blackout_of_webhooks_is_healed_in_two_rounds_and_late_webhooks_change_nothing(
    shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    sku = await shopper.offer(stock=ORDERS)
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    orders = await _in_crowds(shopper, sku)
    await shopper.stripe("POST", "/_sim/chaos", {})
    ids = [uuid_of(order) for order in orders]
    paid = "SELECT count(*) FROM checkout.orders WHERE state = 'paid' AND id = ANY($1)"
    rounds = f'payments_sweeps_total{{outcome="healed",sweep="{SWEEP}"}}'
    before = await _sampled(shopper, rounds)
    assert await shopper.count(paid, ids) == 0, "nobody told"
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == 0

    await shopper.advance(601)

    async def healed() -> bool:
        return await shopper.count(paid, ids) == ORDERS

    await eventually(healed, within=120, every=0.2, what="all orders paid")
    needed = await _sampled(shopper, rounds) - before

    async def confirmed() -> bool:
        sent = "SELECT count(*) FROM notifications.mails WHERE kind = 'order_confirmation' AND state = 'sent'"
        shipped = "SELECT count(*) FROM fulfillment.shipments WHERE order_id = ANY($1)"
        return await shopper.count(sent) == await shopper.count(shipped, ids) == ORDERS

    await eventually(confirmed, within=60, every=0.2, what="all orders shipped and confirmed")
    await eventually(lambda: _all_heard(shopper), within=60, every=0.5, what="rest")
    known = await _what_is_known(shopper)
    record_property("struck", f"no webhook delivered, in flight {ORDERS} paid orders, healed in {needed:.0f} rounds")
    assert needed <= 2
    assert await _sampled(shopper, 'payments_sweeper_healed_total{kind="order"}') == ORDERS

    assert await _tell_late(shopper) >= 2 * ORDERS
    await shopper.quiet()

    assert await _what_is_known(shopper) == known
    assert {await shopper.effects(order) for order in orders} == {(1, 1, 1, 1)}
    await shopper.audited()


async def test_rounds_in_a_row_that_had_to_heal_are_measured(shopper: Shopper) -> None:
    """The alert fires on it, and a round without work ends it."""
    streak = f'payments_sweeps_healing{{sweep="{SWEEP}"}}'
    sku = await shopper.offer(stock=1)
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    order = await shopper.bought(sku)
    await shopper.stripe("POST", "/_sim/chaos", {})
    await shopper.advance(601)

    async def rising() -> bool:
        return await _sampled(shopper, streak) >= 1

    async def over() -> bool:
        return await _sampled(shopper, streak) == 0

    await eventually(rising, within=60, what="a round that healed")
    await eventually(over, within=60, what="a round with nothing to heal")
    await shopper.until(order, "paid")
    await _tell_late(shopper)
    await shopper.audited()


async def test_a_session_that_should_have_expired_is_closed_and_its_stock_given_back(shopper: Shopper) -> None:
    """Our clock alone is past its time, as if Stripe had forgotten to close it."""
    sku = await shopper.offer(stock=1)
    order = await shopper.placed(sku)
    await shopper.owner.execute("UPDATE payments.business_clock SET ahead = ahead + interval '4000 seconds'")

    await shopper.until(order, "expired", within=60)
    await shopper.stripe("POST", "/_sim/clock", {"advance_seconds": 4000})
    await shopper.quiet()

    truth = await shopper.stripe("GET", "/_sim/truth")
    assert [s["status"] for s in truth["sessions"] if s["order_ref"] == order["order_id"]] == ["expired"]
    assert (await shopper.stock_of(sku))["available"] == 1
    await shopper.audited()
