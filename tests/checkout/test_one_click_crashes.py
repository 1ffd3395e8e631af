"""Checkout dies between two steps of a charge, or of paying with store credit: whoever asks again gets his one order,
paid once."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import pytest_asyncio

from payments_shared.ids import external_id
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.checkout.test_one_click import ASKS, answers_bank, intents_of
from tests.support.credit import Holder
from tests.support.instances import another_checkout
from tests.support.people import CARD, Person
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of
from tests.support.striking import armed, brought_back

pytestmark = [pytest.mark.servers, pytest.mark.faults]

LATER: Final = "4000000000990012"
OFTEN: Final = {"PAYMENTS_SWEEP_SECONDS": "0.3"}
POINTS: Final = (
    ("after_commit", CARD),
    ("after_hold", CARD),
    ("before_stripe_call", CARD),
    ("after_stripe_call", CARD),
    ("before_answer_kept", CARD),
    ("after_answer_kept", CARD),
    ("after_stripe_call", ASKS),
    ("after_confirmation", ASKS),
    ("before_answer_kept", ASKS),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def crashing(servers: Servers) -> AsyncIterator[Deployment]:
    """Only what a charge and its webhooks need."""
    names = ("stripe", "frontdoor", "webhook-ingest", "inventory", "checkout")
    async with deploy(servers, namespace="t" + secrets.token_hex(4), names=names) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(crashing: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of it."""
    await brought_back(crashing)
    async with Shopper.of(crashing) as made:
        yield made


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("point", "card"), POINTS)
async def test_a_crash_and_a_repeat_make_one_order_and_one_charge(
    shopper: Shopper, point: str, card: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    crashing = shopper.deployment
    sku, key, log = await shopper.offer(stock=3), secrets.token_hex(12), tmp_path / "failpoints"
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves(card)
    crashing.kill("checkout")
    await armed(crashing, f"{point}=kill:1", log)

    async def asked() -> Answer | None:
        try:
            return await ada.buys(sku, key=key)
        except (aiohttp.ClientError, OSError):
            return None

    async def bought() -> Json | None:
        answer = await asked()
        assert answer is None or answer.status in (201, 202, 409, 503), answer
        return answer.body if answer is not None and answer.status in (201, 202) else None

    first = await asked()
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
    order: Json = await eventually(bought, within=60, every=0.25, what="the same request goes through")
    record_property("struck", f"checkout died {point}, in flight 1 charge, one intent afterwards")

    assert log.read_text().startswith(f"{point} kill")
    assert first is None or first.status >= 500
    if order["status"] == "requires_action":
        await answers_bank(shopper, order["action_url"])
    await shopper.until(order, "paid")
    (intent,) = await intents_of(shopper, sku)
    assert (intent["id"], intent["amount_received"]) == (order["payment_intent"], 1800)
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku) == 1
    said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    assert await shopper.count(said, order["order_id"]) == 1
    assert (
        await shopper.count("SELECT count(*) FROM checkout.payment_attempts WHERE order_id = $1", uuid_of(order)) == 1
    )


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["before_credit_spent", "after_credit_spent"])
async def test_a_crash_and_a_repeat_give_what_costs_nothing_once(
    shopper: Shopper, point: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sku, key, code = await shopper.offer(stock=3), secrets.token_hex(12), await shopper.coupon(percent_off=100)
    asked = shopper.checkout(sku, key=key, coupon=code)
    await _killed(shopper.deployment, f"{point}=kill:1", tmp_path / "failpoints", asked)
    record_property("struck", f"checkout died {point}, in flight 1 order that costs nothing, paid once afterwards")

    async def bought() -> Json | None:
        try:
            answer = await shopper.checkout(sku, key=key, coupon=code)
        except (aiohttp.ClientError, OSError):
            return None
        assert answer.status in (201, 409, 503), answer
        return answer.body if answer.status == 201 else None

    order: Json = await eventually(bought, within=60, every=0.25, what="the same request goes through")

    assert (order["status"], order["total_minor"]) == ("paid", 0)
    uses = await shopper.owner.fetchrow("SELECT held, redeemed FROM checkout.coupons WHERE code = $1", code)
    assert uses is not None
    assert (uses["held"], uses["redeemed"]) == (0, 1)
    assert await intents_of(shopper, sku) == []
    said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    assert await shopper.count(said, order["order_id"]) == 1


@pytest.mark.timeout(120)
async def test_what_was_interrupted_for_longer_than_its_time_is_not_charged_any_more(
    shopper: Shopper, crashing: Deployment, tmp_path: Path
) -> None:
    sku, log = await shopper.offer(stock=3), tmp_path / "failpoints"
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves()
    crashing.kill("checkout")
    await armed(crashing, "before_stripe_call=kill:1", log)
    await ada.buys(sku)
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)

    await shopper.advance(3600)
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")

    async def ended() -> bool:
        sql = "SELECT state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
        return bool(await shopper.owner.fetchval(sql, sku) == "canceled")

    await eventually(ended, within=60, what="the order is canceled")
    assert await intents_of(shopper, sku) == []


# -- later attempts ----------------------------------------------------------------------------------------------------


async def waiting(shopper: Shopper, sku: str) -> Json:
    """An order whose card is charged again in an hour."""
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves(LATER)
    answer = await ada.buys(sku, retry_later=True)
    assert answer.status == 202, answer
    return answer.body


async def assert_paid_once(shopper: Shopper, order: Json, sku: str) -> None:
    """One intent took the money, at its second attempt."""
    await shopper.until(order, "paid", within=60)
    (intent,) = await intents_of(shopper, sku)
    listed = await shopper.stripe("GET", f"/v1/charges?payment_intent={order['payment_intent']}&limit=100")
    said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    assert intent["amount_received"] == 1800
    assert sorted(charge["status"] for charge in listed["data"]) == ["failed", "succeeded"]
    assert await shopper.count(said, order["order_id"]) == 1


@pytest.mark.timeout(180)
async def test_crashes_at_a_later_attempt_and_another_instance_charge_once(
    shopper: Shopper, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One after the other, checkout dies at each of its steps; then two instances share it with others."""
    running = shopper.deployment
    skus = [await shopper.offer(stock=3) for _ in range(4)]
    orders = [await waiting(shopper, skus[0])]
    running.kill("checkout")
    await shopper.advance(3630)

    for point in ("before_retry_hold", "before_retry", "after_retry"):
        log = tmp_path / point
        running.start("checkout", PAYMENTS_FAILPOINT=f"{point}=kill:1", PAYMENTS_FAILPOINT_LOG=str(log), **OFTEN)
        await asyncio.to_thread(running.children["checkout"].popen.wait, 40)
        assert log.read_text().startswith(f"{point} kill")
        record_property("struck", f"checkout died {point}, in flight 1 attempt, one charge afterwards")
    running.start("checkout", **OFTEN)
    await asyncio.to_thread(running.wait_ready, "checkout")
    async with another_checkout(running, "checkout-retrying", **OFTEN):
        orders += [await waiting(shopper, sku) for sku in skus[1:]]
        await shopper.advance(3630)

        for order, sku in zip(orders, skus, strict=True):
            await assert_paid_once(shopper, order, sku)


# -- two methods -------------------------------------------------------------------------------------------------------


Asks = Callable[[], Awaitable[Answer]]


async def interrupted(shopper: Shopper, sku: str, log: Path, point: str) -> tuple[Json, Asks]:
    """An order that two cards pay, at which checkout died, and the request for it."""
    running, ada, key = shopper.deployment, Person(shopper, "ada-" + secrets.token_hex(4)), secrets.token_hex(12)
    methods = [(await ada.saves(number))["id"] for number in (CARD, "5555555555554444")]
    split = [{"method_id": methods[0], "amount_minor": 1000}, {"method_id": methods[1]}]

    async def asks() -> Answer:
        return await ada.buys(sku, key=key, split=split)

    running.kill("checkout")
    await dies(running, log, point, asks)
    return await shopper_order(shopper, sku), asks


async def dies(running: Deployment, log: Path, point: str, asks: Asks) -> None:
    """Let checkout die while somebody asks and asks again."""
    running.start("checkout", PAYMENTS_FAILPOINT=f"{point}=kill:1", PAYMENTS_FAILPOINT_LOG=str(log), **OFTEN)
    died = asyncio.ensure_future(asyncio.to_thread(running.children["checkout"].popen.wait, 40))
    while not died.done():
        with contextlib.suppress(aiohttp.ClientError, OSError):
            await asks()
        await asyncio.sleep(0.2)
    await died
    assert (await asyncio.to_thread(log.read_text)).startswith(f"{point} kill")


async def shopper_order(shopper: Shopper, sku: str) -> Json:
    order_id = await shopper.owner.fetchval("SELECT id FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    return {"order_id": external_id("ord", order_id)}


async def is_in(shopper: Shopper, order: Json, state: str) -> None:
    async def probe() -> bool:
        found = await shopper.owner.fetchval("SELECT state FROM checkout.orders WHERE id = $1", uuid_of(order))
        return bool(found == state)

    await eventually(probe, within=60, what=f"the order {state}")


async def amounts(shopper: Shopper, sku: str) -> list[tuple[str, int]]:
    return [(intent["status"], intent["amount_received"]) for intent in await intents_of(shopper, sku)]


@pytest.mark.timeout(180)
async def test_crashes_between_all_steps_of_two_cards_take_each_part_once(
    shopper: Shopper, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Whoever is asked next goes on where the last one died; the captures are made also when nobody asks."""
    running, sku = shopper.deployment, await shopper.offer(stock=3)
    order, asks = await interrupted(shopper, sku, tmp_path / "first", "after_authorize_0")

    for point in ("after_authorize_1", "after_capture_0", "after_capture_1"):
        await dies(running, tmp_path / point, point, asks)
        record_property("struck", f"checkout died {point}, in flight 1 payment with two cards, each taken once")
    running.start("checkout", **OFTEN)
    await asyncio.to_thread(running.wait_ready, "checkout")

    await is_in(shopper, order, "paid")
    said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    assert await amounts(shopper, sku) == [("succeeded", 1000), ("succeeded", 800)]
    assert await shopper.count(said, order["order_id"]) == 1


@pytest.mark.timeout(180)
async def test_what_two_cards_were_authorized_for_is_released_after_its_time_and_half_of_a_payment_goes_back(
    shopper: Shopper, tmp_path: Path
) -> None:
    running = shopper.deployment
    left, half = await shopper.offer(stock=3), await shopper.offer(stock=3)
    first, _ = await interrupted(shopper, left, tmp_path / "left", "before_authorize_1")
    await shopper.advance(3600)
    running.start("checkout", **OFTEN)
    await asyncio.to_thread(running.wait_ready, "checkout")
    await is_in(shopper, first, "settlement_failed")
    second, _ = await interrupted(shopper, half, tmp_path / "half", "after_capture_0")
    (_, other) = await intents_of(shopper, half)
    await shopper.stripe("POST", f"/v1/payment_intents/{other['id']}/cancel")

    async with another_checkout(running, "checkout-splitting", **OFTEN):
        running.start("checkout", **OFTEN)
        await asyncio.to_thread(running.wait_ready, "checkout")
        await is_in(shopper, second, "settlement_failed")

    due = """SELECT count(*) FROM checkout.outbox
              WHERE type = 'order.refund_due.v1' AND correlation_id = $1"""
    assert await amounts(shopper, left) == [("canceled", 0)]
    assert await amounts(shopper, half) == [("succeeded", 1000), ("canceled", 0)]
    assert [await shopper.count(due, order["order_id"]) for order in (first, second)] == [0, 1]


# -- store credit ------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
@pytest.mark.parametrize("point", ["after_commit", "before_credit_spent", "after_credit_spent"])
async def test_a_crash_and_a_repeat_spend_credit_once(
    shopper: Shopper, point: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sku, key, ada = await shopper.offer(stock=3), secrets.token_hex(12), Holder(shopper)
    await ada.given(5000)
    await _killed(shopper.deployment, f"{point}=kill:1", tmp_path / "failpoints", ada.orders(sku, key=key))
    record_property("struck", f"checkout died {point}, in flight 1 order that credit covers, paid once afterwards")

    async def bought() -> Json | None:
        try:
            answer = await ada.orders(sku, key=key)
        except (aiohttp.ClientError, OSError):
            return None
        assert answer.status in (201, 409, 503), answer
        return answer.body if answer.status == 201 else None

    order: Json = await eventually(bought, within=60, every=0.25, what="the same request goes through")

    assert (order["status"], order["amount_due_minor"]) == ("paid", 0)
    assert await ada.has() == (3200, 0)
    assert await ada.entered() == [("granted", 5000), ("reserved", 1800), ("spent", 1800)]
    assert await intents_of(shopper, sku) == []
    assert await shopper.count("SELECT count(*) FROM checkout.orders WHERE customer_subject = $1", ada.subject) == 1
    said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
    assert await shopper.count(said, order["order_id"]) == 1


@pytest.mark.timeout(120)
async def test_what_was_interrupted_for_longer_than_its_time_gives_its_credit_back(
    shopper: Shopper, tmp_path: Path
) -> None:
    sku, ada = await shopper.offer(stock=3), Holder(shopper)
    await ada.given(5000)
    killed = "before_credit_spent=kill:1"
    await _killed(shopper.deployment, killed, tmp_path / "failpoints", ada.orders(sku), meanwhile=shopper.advance(7200))

    async def ended() -> bool:
        sql = "SELECT state FROM checkout.orders WHERE customer_subject = $1"
        return bool(await shopper.owner.fetchval(sql, ada.subject) == "canceled")

    await eventually(ended, within=60, what="the order is canceled")
    assert await ada.has() == (5000, 0)


async def _killed(
    crashing: Deployment, plan: str, log: Path, asked: Awaitable[Answer], meanwhile: Awaitable[None] | None = None
) -> None:
    """Let checkout die while it works on what is `asked`, and start it anew, after `meanwhile`."""
    await asyncio.to_thread(crashing.stop, "checkout")
    await armed(crashing, plan, log)
    with contextlib.suppress(aiohttp.ClientError, OSError):
        assert (await asked).status >= 500
    await asyncio.to_thread(crashing.children["checkout"].popen.wait, 20)
    assert (await asyncio.to_thread(log.read_text)).startswith(plan.partition("=")[0])
    if meanwhile is not None:
        await meanwhile
    await asyncio.to_thread(crashing.start, "checkout")
    await asyncio.to_thread(crashing.wait_ready, "checkout")
