"""Checkout dies between two steps of a placement: the buyer who asks again has the payment page within seconds."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import pytest_asyncio

from payments_shared.lease import LEASE_SECONDS
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of
from tests.support.striking import armed, brought_back

pytestmark = [pytest.mark.servers, pytest.mark.faults]

RECOVERY_SECONDS: Final = 10.0
POINTS: Final = (
    "after_commit",
    "after_hold",
    "before_stripe_call",
    "after_stripe_call",
    "before_answer_kept",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crashing(servers: Servers) -> AsyncIterator[Deployment]:
    """Only what a placement needs."""
    names = ("stripe", "frontdoor", "inventory", "checkout")
    async with deploy(servers, namespace="t" + secrets.token_hex(4), names=names) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(crashing: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of it."""
    await brought_back(crashing)
    async with Shopper.of(crashing) as made:
        yield made


async def _sessions_of(shopper: Shopper, order: Json) -> list[Json]:
    truth = await shopper.stripe("GET", "/_sim/truth")
    return [session for session in truth["sessions"] if session["order_ref"] == order["order_id"]]


async def _asked(shopper: Shopper, sku: str, key: str) -> Answer | None:
    try:
        return await shopper.checkout(sku, key=key)
    except (aiohttp.ClientError, OSError):
        return None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", POINTS)
async def test_the_buyers_repeat_goes_through_within_ten_seconds_of_the_restart(
    shopper: Shopper, crashing: Deployment, point: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sku, key, log = await shopper.offer(stock=3), secrets.token_hex(12), tmp_path / "failpoints"
    crashing.kill("checkout")
    await armed(crashing, f"{point}=kill:1", log)

    first = await _asked(shopper, sku, key)
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
    ready = time.monotonic()

    async def placed() -> Json | None:
        answer = await _asked(shopper, sku, key)
        assert answer is None or answer.status in (201, 409, 503), answer
        return answer.body if answer is not None and answer.status == 201 else None

    order: Json = await eventually(placed, within=60, every=0.25, what="the same request goes through")
    waited = time.monotonic() - ready
    record_property("struck", f"checkout died {point}, in flight 1 placement, placed {waited:.1f} s after the restart")

    assert log.read_text().startswith(f"{point} kill")
    assert first is None or first.status >= 500
    assert waited < RECOVERY_SECONDS
    (session,) = await _sessions_of(shopper, order)
    assert order["checkout_url"].endswith(session["id"])
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku) == 1
    assert (await shopper.stock_of(sku))["held"] == 1


@pytest.mark.timeout(120)
async def test_a_customer_whose_making_a_crash_interrupted_is_the_one_that_the_repeat_gets(
    shopper: Shopper, crashing: Deployment, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Checkout dies after Stripe made the customer, and before that is stored."""
    key, log, subject = secrets.token_hex(12), tmp_path / "failpoints", "sub-" + secrets.token_hex(4)
    token = crashing.keys.token(subject, "customer", email=f"{subject}@example.com")
    headers = {"Idempotency-Key": key, "Authorization": f"Bearer {token}"}
    crashing.kill("checkout")
    await armed(crashing, "after_stripe_call=kill:1", log)

    async def add() -> Answer | None:
        try:
            return await shopper.call("POST", f"{crashing.front_door_url}/api/payments/methods", {}, **headers)
        except (aiohttp.ClientError, OSError):
            return None

    async def added() -> Answer | None:
        answer = await add()
        assert answer is None or answer.status in (201, 409, 503), answer
        return answer if answer is not None and answer.status == 201 else None

    first = await add()
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
    await eventually(added, within=60, every=0.25, what="the same request goes through")
    record_property("struck", "checkout died after_stripe_call, in flight 1 customer, one at Stripe afterwards")

    assert first is None or first.status >= 500
    listed = (await shopper.stripe("GET", f"/v1/customers?email={subject}@example.com"))["data"]
    kept = await shopper.owner.fetchval("SELECT stripe_customer_id FROM checkout.customers WHERE subject = $1", subject)
    assert [customer["id"] for customer in listed] == [kept]


@pytest.mark.timeout(120)
async def test_orders_whose_buyers_never_ask_again_are_finished_as_soon(
    shopper: Shopper, crashing: Deployment, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Twenty placements die with checkout; its sweep brings all of them to their payment pages."""
    sku, log = await shopper.offer(stock=20), tmp_path / "failpoints"
    crashing.kill("checkout")
    await armed(crashing, "before_answer_kept=kill:1", log)
    await shopper.stripe(
        "POST", "/_sim/faults", {"kind": "hold", "path": "/v1/checkout/sessions", "count": 19, "seconds": 3}
    )
    unfinished = (
        "SELECT count(*) FROM checkout.orders WHERE state = 'pending' AND stripe_session_id IS NULL "
        "AND lines -> 0 ->> 'sku' = $1"
    )

    async def all_began() -> bool:
        return await shopper.count(unfinished, sku) >= 19

    asked = [asyncio.ensure_future(_asked(shopper, sku, secrets.token_hex(12))) for _ in range(20)]
    await eventually(all_began, what="twenty placements under way")
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    await asyncio.gather(*asked)
    left = await shopper.count(unfinished, sku)
    await shopper.stripe("DELETE", "/_sim/faults")
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
    ready = time.monotonic()

    async def finished() -> bool:
        return await shopper.count(unfinished, sku) == 0

    await eventually(finished, within=60, what="no order without a session")
    waited = time.monotonic() - ready
    record_property(
        "struck", f"checkout died before_answer_kept, in flight {left} orders, all finished in {waited:.1f} s"
    )

    assert log.read_text().startswith("before_answer_kept kill")
    assert left > 0
    assert waited < RECOVERY_SECONDS
    assert (await shopper.stock_of(sku))["held"] == 20


async def test_work_that_takes_longer_than_a_lease_is_taken_over_by_nobody(
    shopper: Shopper, crashing: Deployment
) -> None:
    """The lease is renewed while Stripe takes its time: a repeat meets the first request, and so does the sweep."""
    sku, key = await shopper.offer(stock=3), secrets.token_hex(12)
    slow = {"kind": "delay", "path": "/v1/checkout/sessions", "count": 1, "seconds": LEASE_SECONDS}
    slower = {"kind": "delay", "path": "/v1/coupons", "count": 1, "seconds": LEASE_SECONDS}
    code = await shopper.coupon(percent_off=10)
    for fault in (slower, slow):
        await shopper.stripe("POST", "/_sim/faults", fault)
    log = crashing.children["checkout"].log
    lease = "SELECT lease_until - now() FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"

    first = asyncio.ensure_future(shopper.checkout(sku, key=key, coupon=code))
    repeats, leases = [], []
    while not first.done():
        left = await shopper.owner.fetchval(lease, sku)
        if left is not None and not first.done():
            leases.append(left.total_seconds())
            repeats.append((await shopper.checkout(sku, key=key, coupon=code)).status)
        await asyncio.wait({first}, timeout=0.3)
    answer = await first
    await shopper.stripe("DELETE", "/_sim/faults")

    assert answer.status == 201
    assert set(repeats[:-1]) <= {409}
    assert len(repeats) > 2 * LEASE_SECONDS
    assert min(leases) > 0
    assert len(await _sessions_of(shopper, answer.body)) == 1
    requests = (await shopper.stripe("GET", "/_sim/requests"))["requests"]
    name = answer.body["order_id"]
    made = [r for r in requests if r["method"] == "POST" and r["path"] == "/v1/checkout/sessions" and name in r["form"]]
    assert len(made) == 1
    assert uuid_of(answer.body).hex not in "".join(
        line for line in log.read_text().splitlines() if "order.not_resumed" in line
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", ["after_hold", "after_stripe_call", "before_answer_kept"])
async def test_taking_an_order_up_again_goes_on_after_a_crash(
    shopper: Shopper, crashing: Deployment, point: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sku, key, log = await shopper.offer(stock=3), secrets.token_hex(12), tmp_path / "failpoints"
    left = await shopper.placed(sku)
    await shopper.advance(4300)
    await shopper.until(left, "expired")
    url = f"{crashing.front_door_url}/api/payments/orders/{left['order_id']}/recover"
    crashing.kill("checkout")
    await armed(crashing, f"{point}=kill:1", log)

    async def recover(value: str) -> Answer | None:
        try:
            return await shopper.call("POST", url, **{"Order-Token": left["order_token"], "Idempotency-Key": value})
        except (aiohttp.ClientError, OSError):
            return None

    async def recovered() -> Json | None:
        answer = await recover(key)
        assert answer is None or answer.status in (201, 409, 503), answer
        return answer.body if answer is not None and answer.status == 201 else None

    first = await recover(key)
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
    made: Json = await eventually(recovered, within=60, every=0.25, what="the same request goes through")
    another = await recover(secrets.token_hex(12))
    record_property("struck", f"checkout died {point}, in flight 1 order taken up again, one made")

    assert log.read_text().startswith(f"{point} kill")
    assert first is None or first.status >= 500
    assert another is not None
    assert another.body == made
    assert len(await _sessions_of(shopper, made)) == 1
    count = "SELECT count(*) FROM checkout.orders WHERE recovered_from = $1"
    assert await shopper.count(count, uuid_of(left)) == 1
    assert (await shopper.stock_of(sku))["held"] == 1
