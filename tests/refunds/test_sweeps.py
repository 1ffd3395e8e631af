"""What refunds goes on with by itself: one command at a time, no refund in another's way, and what a bank returned."""

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import aiohttp
import pytest

from payments_shared.contracts import checkout
from payments_shared.ids import external_id, new_id
from sandbox.services.resolver import Servers
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_requests import Staff
from tests.refunds.test_system_refunds import order_paid, settled
from tests.support import one_service
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers

TIERS_MS = (500, 1000, 1500)
CLOCK = "UPDATE payments.business_clock SET ahead = make_interval(hours => $1)"


@pytest.fixture(scope="module")
async def refunds(servers: Servers) -> AsyncIterator[OneService]:
    """One whose commands come back only after seconds, and whose sweeps look far more often than that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_service, "RETRY_TIERS_MS", TIERS_MS)
        async with running(
            "refunds",
            servers,
            beside=("stripe",),
            PAYMENTS_HEAL_SECONDS="0.2",
            PAYMENTS_SWEEP_SECONDS="0.2",
            PAYMENTS_RESUBMIT_SECONDS="0.5",
        ) as service:
            yield service


@pytest.fixture
async def clock(refunds: OneService) -> AsyncIterator[OneService]:
    """The service, with the business clock put back afterwards."""
    yield refunds
    await refunds.owner.execute(CLOCK, 0)


async def owed(refunds: OneService, stripe: StripeBeside) -> tuple[UUID, str]:
    """An order and its intent, whose money is due to go back."""
    order_id, intent = new_id(), await stripe.captured(500)
    message = checkout.OrderRefundDue(
        order_id=order_id, payment_intent=intent, amount_minor=500, currency="usd", reason="surplus_payment"
    )
    await refunds.tell(message)
    return order_id, intent


async def becomes(refunds: OneService, order_id: UUID, state: str) -> None:
    async def reached() -> bool:
        found = await refunds.owner.fetchval("SELECT state FROM refunds.refunds WHERE order_id = $1", order_id)
        return bool(found == state)

    await eventually(reached, within_seconds=30, what=f"the refund of {order_id} {state}")


async def count_said(refunds: OneService, order_id: UUID, type_: str) -> int:
    return [message.type for message in await refunds.said(external_id("ord", order_id))].count(type_)


async def test_while_stripe_is_away_a_refund_has_one_command(refunds: OneService, stripe: StripeBeside) -> None:
    """The sweep said a command every few seconds, beside those in the retry tiers, and each became a dead letter."""
    await stripe.arm("html_502", count=1000)
    order_id, intent = await owed(refunds, stripe)
    log = refunds.deployment.children["refunds"].log

    async def tried_again_and_again() -> bool:
        lines = log.read_text(encoding="utf-8").splitlines()
        failed = [line for line in lines if "message.failed" in line and "refunds.cmd.submit.v1" in line]
        return len(failed) >= len(TIERS_MS) + 3

    await eventually(tried_again_and_again, within_seconds=40, what="attempts for longer than all tiers together")
    said_so_far = await count_said(refunds, order_id, "refunds.cmd.submit.v1")
    await stripe.disarm()
    await becomes(refunds, order_id, "succeeded")

    assert said_so_far == 1
    assert await refunds.dead_letters() == 0
    assert len(await stripe.refunds_of(intent)) == 1


async def test_money_that_a_bank_returned_is_found_within_a_day_and_said_once(
    clock: OneService, stripe: StripeBeside
) -> None:
    """No event that we hear tells of it: such a refund stayed `succeeded` for ever."""
    order_id, intent = await owed(clock, stripe)
    await becomes(clock, order_id, "succeeded")
    (made,) = await stripe.refunds_of(intent)
    await stripe.becomes(made["id"], "failed")

    await clock.owner.execute(CLOCK, 25)
    await becomes(clock, order_id, "failed")
    await clock.owner.execute(CLOCK, 50)

    again, _ = await owed(clock, stripe)
    await becomes(clock, again, "succeeded")
    assert await count_said(clock, order_id, "refund.failed.v1") == 1
    assert await count_said(clock, order_id, "refunds.cmd.check.v1") == 1


async def test_a_success_is_asked_after_once_a_day_as_long_as_banks_return_money(
    clock: OneService, stripe: StripeBeside
) -> None:
    order_id, _ = await owed(clock, stripe)
    await becomes(clock, order_id, "succeeded")
    sql = (
        "SELECT asked_at IS NULL AND CASE WHEN $2 THEN recheck_at IS NULL ELSE recheck_at - payments.business_now() "
        "BETWEEN interval '19 hours' AND interval '24 hours' END FROM refunds.refunds WHERE order_id = $1"
    )

    for asked, (hours, last) in enumerate(((25, False), (50, False), (36 * 24, True)), start=1):
        await clock.owner.execute(CLOCK, hours)

        async def answered(asked: int = asked, *, last: bool = last) -> bool:
            said = await count_said(clock, order_id, "refunds.cmd.check.v1")
            return bool(said == asked and await clock.owner.fetchval(sql, order_id, last))

        await eventually(answered, what=f"the answer after {hours} hours")

    assert await count_said(clock, order_id, "refunds.cmd.check.v1") == 3
    assert await count_said(clock, order_id, "refund.succeeded.v1") == 1


async def test_a_refund_that_cannot_be_marked_keeps_no_other_from_the_sweep(
    refunds: OneService, stripe: StripeBeside
) -> None:
    """One row that refuses every change ended the sweep, and the process with it."""
    (odd, _), (lost, _) = await owed(refunds, stripe), await owed(refunds, stripe)
    for order_id in (odd, lost):
        await becomes(refunds, order_id, "succeeded")
    forget = (
        "UPDATE refunds.refunds SET state = 'submitted', asked_at = now() - interval '1 hour', "
        "updated_at = now() - interval '1 hour' WHERE order_id = '{}'; "
    )
    refuse = f"ALTER TABLE refunds.refunds ADD CONSTRAINT odd CHECK (order_id <> '{odd}') NOT VALID"
    async with refunds.owner.acquire() as owner, owner.transaction():
        await owner.execute(forget.format(odd))
        await owner.execute("SET CONSTRAINTS ALL IMMEDIATE")
        await owner.execute(refuse)
    await refunds.owner.execute(forget.format(lost))
    failed = 'payments_sweeps_total{outcome="failed",sweep="refunds:go-on"}'
    before = await _sampled(refunds, failed)

    async def fails() -> bool:
        return await _sampled(refunds, failed) > before

    try:
        await becomes(refunds, lost, "succeeded")
        await eventually(fails, what="a round that failed")
    finally:
        await refunds.owner.execute("ALTER TABLE refunds.refunds DROP CONSTRAINT odd")

    await becomes(refunds, odd, "succeeded")


async def _sampled(refunds: OneService, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(refunds.url + "/metrics") as answer:
        text = await answer.text()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    return values.get(name, 0.0)


async def _until(refunds: OneService, name: str, *, at_least: float = 0, at_most: float = math.inf) -> None:
    async def reached() -> bool:
        return at_least <= await _sampled(refunds, name) <= at_most

    await eventually(reached, within_seconds=30, what=f"{name} between {at_least} and {at_most}")


async def test_a_refund_that_is_tried_for_long_without_an_answer_is_measured_until_it_has_one(
    refunds: OneService, stripe: StripeBeside
) -> None:
    """Each attempt moved its `asked_at`, so it looked young for ever; what is young or pending is not counted."""
    names = ("payments_refunds_unanswered", "payments_refunds_unanswered_oldest_seconds")
    (pending, _), age = await owed(refunds, stripe), "UPDATE refunds.refunds SET created_at = now() - $2::interval"
    await becomes(refunds, pending, "succeeded")
    await stripe.arm("html_502", count=1000)
    (late, _), (young, _) = await owed(refunds, stripe), await owed(refunds, stripe)
    await refunds.owner.execute(f"{age}, state = 'pending' WHERE order_id = $1", pending, timedelta(hours=2))
    await refunds.owner.execute(f"{age} WHERE order_id = $1", late, timedelta(hours=1))

    async def measured() -> bool:
        return await _sampled(refunds, names[0]) > 0

    async def settled() -> bool:
        return await _sampled(refunds, names[0]) == 0

    await eventually(measured, within_seconds=30, what="the late refund")
    count, oldest_seconds = [await _sampled(refunds, name) for name in names]
    await stripe.disarm()
    for order_id in (late, young, pending):
        await becomes(refunds, order_id, "succeeded")
    await eventually(settled, within_seconds=30, what="no late refund")

    assert count == 1
    assert 3600 <= oldest_seconds < 3700
    assert await _sampled(refunds, names[1]) == 0


async def test_what_waits_for_a_second_person_is_measured_until_one_has_decided(
    refunds: OneService, stripe: StripeBeside
) -> None:
    """Nobody saw it who did not open the console. It is one request, however many tenders it goes back to."""
    count, age = "payments_refunds_awaiting_approval", "payments_refunds_awaiting_approval_oldest_seconds"
    before = [await _sampled(refunds, name) for name in (count, age)]
    old, young = new_id(), new_id()
    async with aiohttp.ClientSession(refunds.deployment.public_url("refunds")) as http:
        staff, asked = Staff(refunds, http), {}
        for order_id in (old, young):
            intents = [(await stripe.captured(40_000), 40_000) for _ in range(2)]
            await refunds.tell(order_paid(order_id, *intents))
            asked[order_id] = (await staff.ask(order_id, amount_minor=60_000)).body
        await refunds.owner.execute(
            "UPDATE refunds.refunds SET created_at = created_at - interval '25 hours' WHERE order_id = $1", old
        )

        await _until(refunds, age, at_least=25 * 3600)
        both, oldest_seconds = [await _sampled(refunds, name) for name in (count, age)]
        await staff.approve(asked[old])
        await _until(refunds, count, at_most=1)
        one, youngest_seconds = [await _sampled(refunds, name) for name in (count, age)]
        path = f"/api/payments/refunds/{asked[young]['refund_id']}/reject"
        await staff.call("POST", path, {"note": "No."}, who="ann", role="approver")
        await _until(refunds, count, at_most=0)

    assert before == [0, 0]
    assert {body["status"] for body in asked.values()} == {"awaiting_approval"}
    assert (both, one) == (2, 1)
    assert 25 * 3600 <= oldest_seconds < 25 * 3600 + 100
    assert 0 <= youngest_seconds < 100
    assert await _sampled(refunds, age) == 0
    await settled(refunds, old, *[("succeeded", 30_000)] * 2)


async def test_a_submission_whose_command_was_lost_counts_as_healed_and_a_pending_refund_does_not(
    clock: OneService, stripe: StripeBeside
) -> None:
    """Banks take days: asking after them is daily work, and must not raise the alert that something is broken."""
    (lost, lost_intent), (pending, pending_intent) = await owed(clock, stripe), await owed(clock, stripe)
    for order_id in (lost, pending):
        await becomes(clock, order_id, "succeeded")
    name = 'payments_sweeper_healed_total{kind="refund"}'
    before = await _sampled(clock, name)
    stands_still = (
        "UPDATE refunds.refunds SET state = $2, asked_at = now() - interval '1 hour', "
        "updated_at = now() - interval '1 hour', checked_at = NULL WHERE order_id = $1"
    )
    await clock.owner.execute(stands_still, pending, "pending")
    await becomes(clock, pending, "succeeded")
    between = await _sampled(clock, name)
    await clock.owner.execute(stands_still, lost, "submitted")
    await becomes(clock, lost, "succeeded")

    assert (between - before, await _sampled(clock, name) - between) == (0, 1)
    assert len(await stripe.refunds_of(lost_intent)) == len(await stripe.refunds_of(pending_intent)) == 1


@pytest.mark.parametrize("later_seconds", [1, 3600, 25 * 3600])
async def test_an_answer_that_was_lost_is_found_again_however_late(
    clock: OneService, stripe: StripeBeside, later_seconds: int
) -> None:
    """Stripe paid and was cut off before it could say so, and the process died over it. After a day Stripe knows the
    key no more, and the same request would pay again."""
    order_id, intent = new_id(), await stripe.captured(1000)
    await clock.tell(order_paid(order_id, (intent, 1000)))
    await stripe.arm("cut_after", count=1000)
    async with aiohttp.ClientSession(clock.deployment.public_url("refunds")) as http:
        asked = await Staff(clock, http).ask(order_id, amount_minor=400)
    await eventually(stripe.struck, what="an answer that was lost")
    await asyncio.to_thread(clock.deployment.kill, "refunds")
    paid = await stripe.refunds_of(intent)
    state = await clock.owner.fetchval("SELECT state FROM refunds.refunds WHERE order_id = $1", order_id)

    await stripe.disarm()
    await clock.owner.execute("UPDATE payments.business_clock SET ahead = make_interval(secs => $1)", later_seconds)
    await stripe.advance(later_seconds)
    await asyncio.to_thread(clock.deployment.start, "refunds")
    await asyncio.to_thread(clock.deployment.wait_ready, "refunds")
    await becomes(clock, order_id, "succeeded")

    assert (asked.status, state) == (201, "submitted")
    assert [made["amount"] for made in paid] == [400]
    assert [made["id"] for made in await stripe.refunds_of(intent)] == [paid[0]["id"]]
    assert await count_said(clock, order_id, "refund.succeeded.v1") == 1
