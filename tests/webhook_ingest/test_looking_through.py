"""Events that Stripe counts as delivered, though nobody here has ever had them, are found in its list by the service."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qs

import pytest
import pytest_asyncio

from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.checkout.fraud import charge_of, held
from tests.support.exposition import Exposition
from tests.support.shopping import Json, Shopper, eventually

pytestmark = pytest.mark.servers

NAMES: Final = ("stripe", "frontdoor", "inventory", "checkout", "webhook-ingest", "refunds")
YOUNG_SECONDS: Final = 86_500  # with the pause between two looks for undelivered ones, a little more than the grace
BACK: Final = {"disabled": {"disabled": "false"}, "unsubscribed": {"enabled_events[]": "*"}}
GONE: Final = {"disabled": {"disabled": "true"}, "unsubscribed": {"enabled_events[]": "customer.created"}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told_little(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment whose service looks every second, and finds only what its clock has left a day behind."""
    extra = {
        "PAYMENTS_PULL_GRACE_SECONDS": "86400",
        "PAYMENTS_PULL_SECONDS": "1",
        "PAYMENTS_LOOK_THROUGH_SECONDS": "1",
        "PAYMENTS_WAIT_SECONDS": "864000",
    }
    async with deploy(servers, namespace="t" + secrets.token_hex(4), names=NAMES, extra=extra) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(told_little: Deployment) -> AsyncIterator[Shopper]:
    """A buyer at that deployment."""
    async with Shopper.of(told_little) as made:
        yield made


@asynccontextmanager
async def endpoint(shopper: Shopper, gone: str) -> AsyncIterator[None]:
    """Stripe's endpoint is disabled, or subscribed to nothing of ours, until the end of the block."""
    (one,) = (await shopper.stripe("GET", "/v1/webhook_endpoints"))["data"]
    url = f"{shopper.deployment.stripe_url}/v1/webhook_endpoints/{one['id']}"
    headers = {"Authorization": "Bearer sk_test_looking"}
    async with shopper.http.post(url, data=GONE[gone], headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    try:
        yield
    finally:
        async with shopper.http.post(url, data=BACK[gone], headers=headers) as answer:
            assert answer.status == 200, await answer.text()


async def unseen(shopper: Shopper, order: Json, control: str, type_: str, gone: str) -> Json:
    """Something happens to the payment of an order at Stripe that no endpoint is told of; the event."""
    async with endpoint(shopper, gone):
        made = await shopper.stripe("POST", f"/_sim/charges/{await charge_of(shopper, order)}/{control}", {})

        async def delivered() -> bool:
            return not (await shopper.stripe("GET", "/_sim/deliveries"))["waiting"]

        await eventually(delivered, what="Stripe has nothing left to deliver")
    undelivered = (await shopper.stripe("GET", "/v1/events?delivery_success=false&limit=100"))["data"]
    assert not [one for one in undelivered if one["data"]["object"]["id"] == made["id"]]
    listed = (await shopper.stripe("GET", f"/v1/events?type={type_}&limit=100"))["data"]
    (event,) = [one for one in listed if one["data"]["object"]["id"] == made["id"]]
    assert event["pending_webhooks"] == 0
    return dict(event)


async def undelivered(shopper: Shopper, order: Json) -> Json:
    """A dispute about an order that Stripe cannot tell its endpoint of; the event."""
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    try:
        made = await shopper.stripe("POST", f"/_sim/charges/{await charge_of(shopper, order)}/dispute", {})
    finally:
        await shopper.stripe("POST", "/_sim/chaos", {})
    listed = (await shopper.stripe("GET", "/v1/events?delivery_success=false&type=charge.dispute.created"))["data"]
    (event,) = [one for one in listed if one["data"]["object"]["id"] == made["id"]]
    return dict(event)


async def looks_come_to(shopper: Shopper, outcome: str, *, sweep: str = "look-through", times: int = 2) -> None:
    """Wait until so many more looks have come to `outcome`."""
    exposition = Exposition(shopper.http, shopper.deployment.internal_url("webhook-ingest"))
    labels = {"sweep": f"webhook-ingest:{sweep}", "outcome": outcome}
    before = await exposition.of("payments_sweeps_total", **labels)

    async def came() -> bool:
        return await exposition.of("payments_sweeps_total", **labels) >= before + times

    await eventually(came, within=40, what=f"{times} looks that are {outcome}")


async def healed(shopper: Shopper, kind: str) -> float:
    exposition = Exposition(shopper.http, shopper.deployment.internal_url("webhook-ingest"))
    return await exposition.of("payments_sweeper_healed_total", kind=kind)


async def stored(shopper: Shopper, event: Json) -> int:
    return await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = $1", event["id"])


async def comes(shopper: Shopper, event: Json) -> None:
    async def there() -> bool:
        return await stored(shopper, event) == 1

    await eventually(there, within=40, what=f"{event['type']} is stored")


async def said(shopper: Shopper, schema: str, type_: str, named: str) -> int:
    sql = f"SELECT count(*) FROM {schema}.outbox WHERE type = $1 AND convert_from(body, 'UTF8') LIKE $2"
    return await shopper.count(sql, type_, f"%{named}%")


async def looks_at_stripe(shopper: Shopper) -> list[dict[str, list[str]]]:
    """What Stripe was asked for of its list by types, as forms."""
    requests = (await shopper.stripe("GET", "/_sim/requests"))["requests"]
    return [parse_qs(one["form"]) for one in requests if one["path"] == "/v1/events" and "types" in one["form"]]


async def started(shopper: Shopper, **environment: str) -> None:
    shopper.deployment.start("webhook-ingest", **environment)
    await asyncio.to_thread(shopper.deployment.wait_ready, "webhook-ingest")


async def paid(shopper: Shopper) -> Json:
    order = await shopper.bought(await shopper.offer(stock=1))
    await shopper.until(order, "paid")
    return order


@pytest.mark.parametrize("gone", ["disabled", "unsubscribed"])
async def test_a_dispute_that_no_endpoint_was_told_of_is_known_and_said_once(shopper: Shopper, gone: str) -> None:
    event = await unseen(shopper, await paid(shopper), "dispute", "charge.dispute.created", gone)
    dispute = str(event["data"]["object"]["id"])
    await looks_come_to(shopper, "clean")
    young = await stored(shopper, event)
    before = await healed(shopper, "event"), await healed(shopper, "unseen_event")

    await shopper.advance(YOUNG_SECONDS)

    async def opened() -> bool:
        return await said(shopper, "refunds", "dispute.opened.v1", dispute) == 1

    await eventually(opened, within=60, what=f"refunds says that {dispute} was opened")
    await looks_come_to(shopper, "clean")
    assert young == 0, "it is left to its webhook for a while"
    assert await said(shopper, "refunds", "dispute.opened.v1", dispute) == 1
    assert await said(shopper, "webhook_ingest", "stripe.charge.dispute.created", dispute) == 1
    assert await healed(shopper, "event") == before[0]
    assert await healed(shopper, "unseen_event") > before[1]


@pytest.mark.parametrize(
    ("control", "type_", "reason"),
    [
        ("review", "review.opened", "review"),
        ("warn", "radar.early_fraud_warning.created", "early_fraud_warning"),
    ],
)
async def test_goods_are_held_for_a_suspicion_that_no_endpoint_was_told_of(
    shopper: Shopper, control: str, type_: str, reason: str
) -> None:
    order = await paid(shopper)
    event = await unseen(shopper, order, control, type_, "disabled")

    await shopper.advance(YOUNG_SECONDS)
    await comes(shopper, event)

    await held(shopper, order, reason)
    await looks_come_to(shopper, "clean")
    assert await said(shopper, "webhook_ingest", f"stripe.{type_}", event["id"]) == 1


async def test_a_service_that_starts_goes_on_where_the_last_look_came_to(shopper: Shopper) -> None:
    """It would otherwise ask for thirty days anew, or leave out what happened while it was away."""
    event = await unseen(shopper, await paid(shopper), "dispute", "charge.dispute.created", "disabled")
    await looks_come_to(shopper, "clean")
    shopper.deployment.stop("webhook-ingest")
    until = await shopper.owner.fetchval("SELECT looked_until FROM webhook_ingest.looks")
    before = len(await looks_at_stripe(shopper))
    await shopper.advance(3 * YOUNG_SECONDS)

    await started(shopper)
    await comes(shopper, event)

    looks = (await looks_at_stripe(shopper))[before:]
    begun = [int(form["created[gte]"][0]) for form in looks]
    assert begun[0] == int(until.timestamp()) - 3600
    assert max(int(form["created[lt]"][0]) - int(form["created[gte]"][0]) for form in looks) <= 86_400
    assert max(sum(name.startswith("types") for name in form) for form in looks) <= 20


async def test_what_came_while_the_service_was_away_is_left_to_the_look_for_undelivered_ones(shopper: Shopper) -> None:
    """Both began at once, and what this one stored first was told as something that Stripe believes delivered."""
    order = await paid(shopper)
    await looks_come_to(shopper, "clean")
    shopper.deployment.stop("webhook-ingest")
    event = await undelivered(shopper, order)
    await shopper.advance(YOUNG_SECONDS)
    async with shopper.owner.acquire() as another:
        await another.execute("SELECT pg_advisory_lock(hashtextextended('webhook-ingest:catch-up', 0))")
        await started(shopper)
        await looks_come_to(shopper, "skipped", sweep="catch-up", times=5)
        before = await stored(shopper, event)
        await another.execute("SELECT pg_advisory_unlock_all()")

    await comes(shopper, event)
    await looks_come_to(shopper, "clean")

    assert before == 0
    assert await healed(shopper, "event") > 0
    assert await healed(shopper, "unseen_event") == 0


async def test_one_look_is_enough_for_all_instances(shopper: Shopper) -> None:
    """Each would otherwise look as often as it says, and at once when it starts."""
    await looks_come_to(shopper, "clean")
    shopper.deployment.stop("webhook-ingest")
    before = await looks_at_stripe(shopper)
    await shopper.advance(YOUNG_SECONDS)

    await started(shopper, PAYMENTS_LOOK_THROUGH_SECONDS="3600")
    try:
        exposition = Exposition(shopper.http, shopper.deployment.internal_url("webhook-ingest"))
        labels = {"sweep": "webhook-ingest:look-through", "outcome": "skipped"}

        async def skipped() -> bool:
            return await exposition.of("payments_sweeps_total", **labels) >= 1

        await eventually(skipped, what="the one that starts looks no sooner than another")
        after = await looks_at_stripe(shopper)
    finally:
        shopper.deployment.stop("webhook-ingest")
        await started(shopper)

    assert after == before


async def test_the_first_look_of_a_shop_that_has_been_open_begins_with_its_oldest_event(shopper: Shopper) -> None:
    migration = files("webhook_ingest").joinpath("sql/migrations/0004_remember_looks.sql").read_text()
    async with shopper.owner.acquire() as connection:
        undone = connection.transaction()
        await undone.start()
        await connection.execute("SET LOCAL search_path = webhook_ingest, payments")
        await connection.execute("DROP TABLE looks; DELETE FROM stripe_events")
        await connection.execute(
            "INSERT INTO stripe_events (day, event_id, type, state, raw) VALUES "
            "('2026-03-02', 'evt_2', 'review.opened', 'processed', ''), "
            "('2026-03-01', 'evt_1', 'review.opened', 'processed', '')"
        )
        await connection.execute(migration)
        begins = await connection.fetchval("SELECT looked_until FROM looks")
        await undone.rollback()

    assert begins == datetime(2026, 3, 1, tzinfo=UTC)


async def test_an_event_that_is_refused_keeps_no_other_waiting_and_is_looked_for_again(shopper: Shopper) -> None:
    first = await unseen(shopper, await paid(shopper), "review", "review.opened", "disabled")
    await shopper.owner.execute(
        f"ALTER TABLE webhook_ingest.stripe_events ADD CONSTRAINT odd CHECK (event_id <> '{first['id']}') NOT VALID"
    )
    try:
        await shopper.advance(2 * YOUNG_SECONDS)
        second = await unseen(shopper, await paid(shopper), "dispute", "charge.dispute.created", "disabled")
        await shopper.advance(YOUNG_SECONDS)
        await comes(shopper, second)
        await looks_come_to(shopper, "failed")
    finally:
        await shopper.owner.execute("ALTER TABLE webhook_ingest.stripe_events DROP CONSTRAINT odd")

    await comes(shopper, first)
    await looks_come_to(shopper, "clean")


async def test_a_look_that_stripe_refuses_has_failed_and_is_made_again(shopper: Shopper) -> None:
    fault = {"kind": "refuse", "method": "GET", "path": "/v1/events", "count": 1000}
    await shopper.stripe("POST", "/_sim/faults", fault)

    await looks_come_to(shopper, "failed")
    await shopper.stripe("DELETE", "/_sim/faults")

    await looks_come_to(shopper, "clean")
