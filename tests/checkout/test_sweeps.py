"""What checkout finds out by asking when nobody tells it."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from typing import Final

import pytest
import pytest_asyncio

from checkout.decide.recovering import Links
from checkout.gateway import Payments
from checkout.handlers.asking import Asking
from checkout.handlers.facts import Delays, Facts
from checkout.model.orders import Patience
from operations.audit import run_audit
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from payments_shared.stripe_client import BREAKER_FAILURES, OutcomeUnknown, open_stripe
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.judged import judge_requests
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers

ORDERS: Final = 110  # more than two pages of the sweep
AT_ONCE: Final = 10
SWEEP: Final = "checkout:ask-after-waiting"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet_shop(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment in which no order of another test waits for the sweep."""
    async with deploy(servers, namespace="t" + secrets.token_hex(4), extra={"PAYMENTS_HEAL_SECONDS": "1"}) as running:
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


async def _rounds(shopper: Shopper, outcome: str) -> float:
    """How many rounds of the sweep came to this."""
    return await _sampled(shopper, f'payments_sweeps_total{{outcome="{outcome}",sweep="{SWEEP}"}}')


async def _asked_after(shopper: Shopper, order: Json) -> int:
    """How often Stripe was asked for the order's session."""
    path = f"/v1/checkout/sessions/{await shopper.session_of(order)}"
    requests = (await shopper.stripe("GET", "/_sim/requests"))["requests"]
    return [(r["method"], r["path"]) for r in requests].count(("GET", path))


async def _rounds_go_by(shopper: Shopper, count: int = 2) -> None:
    """Wait until so many more rounds looked at everything and found nothing."""
    before = await _rounds(shopper, "clean")

    async def gone_by() -> bool:
        return await _rounds(shopper, "clean") >= before + count

    await eventually(gone_by, within=60, what=f"{count} rounds")


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
    auditor = shopper.deployment.provisioned.database_urls["auditor"]
    return not (await run_audit(auditor, only={"I22", "I23"})).violated


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
async def test_a_blackout_of_webhooks_is_healed_in_one_round_and_late_webhooks_change_nothing(
    shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    sku = await shopper.offer(stock=ORDERS)
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    orders = await _in_crowds(shopper, sku)
    await shopper.stripe("POST", "/_sim/chaos", {})
    ids = [uuid_of(order) for order in orders]
    paid = "SELECT count(*) FROM checkout.orders WHERE state = 'paid' AND id = ANY($1)"
    before = await _rounds(shopper, "healed")
    assert await shopper.count(paid, ids) == 0, "nobody told"
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events") == 0

    await shopper.advance(601)

    async def healed() -> bool:
        return await shopper.count(paid, ids) == ORDERS

    await eventually(healed, within=120, every=0.2, what="all orders paid")
    needed = await _rounds(shopper, "healed") - before

    async def confirmed() -> bool:
        sent = "SELECT count(*) FROM notifications.mails WHERE kind = 'order_confirmation' AND state = 'sent'"
        shipped = "SELECT count(*) FROM fulfillment.shipments WHERE order_id = ANY($1)"
        return await shopper.count(sent) == await shopper.count(shipped, ids) == ORDERS

    await eventually(confirmed, within=60, every=0.2, what="all orders shipped and confirmed")
    await eventually(lambda: _all_heard(shopper), within=60, every=0.5, what="rest")
    known = await _what_is_known(shopper)
    record_property("struck", f"no webhook delivered, in flight {ORDERS} paid orders, healed in {needed:.0f} rounds")
    assert needed == 1
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


async def test_an_order_whose_money_is_on_its_way_is_asked_after_once_an_hour(shopper: Shopper) -> None:
    """Banks take days: such orders were asked after every ten minutes, and kept others from their turn."""
    order = await shopper.placed(await shopper.offer(stock=1))
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(order, "processing")
    await shopper.quiet()
    asked = await _asked_after(shopper, order)

    await shopper.advance(1800)
    await _rounds_go_by(shopper)
    after_half_an_hour = await _asked_after(shopper, order)
    await shopper.advance(1801)
    await _rounds_go_by(shopper)

    assert after_half_an_hour == asked
    assert await _asked_after(shopper, order) == asked + 1


async def test_a_round_that_stripe_did_not_answer_has_failed(shopper: Shopper) -> None:
    """Nobody looked, and it counted as a look that found nothing."""
    await shopper.stripe("POST", "/_sim/chaos", {"drop": 1.0})
    order = await shopper.bought(await shopper.offer(stock=1))
    await shopper.stripe("POST", "/_sim/chaos", {})
    fault = {"kind": "html_502", "method": "GET", "path": "/v1/checkout/sessions", "count": 1000}
    await shopper.stripe("POST", "/_sim/faults", fault)
    failed = await _rounds(shopper, "failed")
    await shopper.advance(601)

    async def fails(times: int) -> bool:
        return await _rounds(shopper, "failed") >= failed + times

    await eventually(lambda: fails(1), within=60, what="a round that failed")
    clean = await _rounds(shopper, "clean")
    await eventually(lambda: fails(2), within=60, what="another one")
    still_clean = await _rounds(shopper, "clean")
    await shopper.stripe("DELETE", "/_sim/faults")

    await shopper.until(order, "paid", within=60)
    assert still_clean == clean
    await _tell_late(shopper)
    await shopper.audited()


async def test_a_round_that_could_not_finish_a_placement_has_failed(shopper: Shopper) -> None:
    fault = {"kind": "html_502", "method": "POST", "path": "/v1/checkout/sessions", "count": 1000}
    await shopper.stripe("POST", "/_sim/faults", fault)
    key, sku = secrets.token_hex(12), await shopper.offer(stock=1)
    failed = 'payments_sweeps_total{outcome="failed",sweep="checkout:resume-unfinished"}'
    before = await _sampled(shopper, failed)

    away = await shopper.checkout(sku, key=key)

    async def fails() -> bool:
        return await _sampled(shopper, failed) > before

    async def placed() -> bool:
        return (await shopper.checkout(sku, key=key)).status == 201

    await eventually(fails, within=60, what="a round that failed")
    await shopper.stripe("DELETE", "/_sim/faults")
    await eventually(placed, within=60, every=0.5, what="the same request goes through")
    assert away.status == 503


async def test_nobody_is_asked_after_while_stripe_is_known_to_be_away(quiet_shop: Deployment) -> None:
    dsn = quiet_shop.provisioned.database_urls["checkout"]
    pool = await open_pool(dsn, schema="checkout", application_name="test", max_size=1)
    outbox, patience = Outbox(pool, service="checkout", livemode=False), Patience(600, 3600)
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        nobody = f"http://127.0.0.1:{refusing.getsockname()[1]}"
    async with open_stripe(api_key="sk_test_of_nobody_at_all", api_base=nobody) as stripe:
        asking = Asking(outbox, Facts(outbox, Delays(600, 600), Links(b"secret", 600)), Payments(stripe), patience)

        answering = await asking.ask_after_waiting(asyncio.Event())
        for _ in range(BREAKER_FAILURES):
            with pytest.raises(OutcomeUnknown):
                await stripe.ask()
        resting = await asking.ask_after_waiting(asyncio.Event())

    await pool.close()
    assert answering is not None, "it is asked as long as it may be there"
    assert resting is None


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
