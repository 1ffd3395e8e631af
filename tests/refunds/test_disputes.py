"""What a bank disputes is asked after and never paid twice, whatever its events say and in whichever order they come."""

import asyncio
import contextlib
import random
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from payments_shared.contracts import fulfillment
from payments_shared.contracts import refunds as said
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import external_id, new_id, parse_external_id
from payments_shared.messaging import Outbox, Transaction
from payments_shared.postgres import open_pool
from refunds.decide.disputing import ARROWS
from refunds.decide.owing import refund_id
from refunds.handlers.disputing import Disputing, fold_dispute
from refunds.model.disputes import DisputeState, Told
from refunds.store import disputes
from tests.refunds.stripe import Json, StripeBeside
from tests.refunds.test_requests import Staff, event, paid, staff
from tests.refunds.test_system_refunds import order_paid, settled, shortfall, types_said
from tests.support.abreast import hear_abreast
from tests.support.deadline import eventually
from tests.support.one_service import OneService

__all__ = ["staff"]

pytestmark = pytest.mark.servers
PATH = "/api/payments/disputes"
KINDS = ("created", "funds_withdrawn", "updated", "closed", "funds_reinstated")


async def tell(refunds: OneService, dispute: Json, *kinds: str) -> None:
    """Events about a dispute, which show it as it was at some time."""
    await refunds.tell(*(event(f"charge.dispute.{kind}", dispute) for kind in kinds))


async def becomes(refunds: OneService, dispute: str, state: str) -> None:
    async def reached() -> bool:
        found = await refunds.owner.fetchval("SELECT state FROM refunds.disputes WHERE id = $1", dispute)
        return bool(found == state)

    await eventually(reached, within_seconds=30, what=f"the dispute {dispute} {state}")


async def said_of(refunds: OneService, order_id: UUID, dispute: str) -> list[tuple[str, int]]:
    """What was said of a dispute, with its versions."""
    about = [one for one in await refunds.said(external_id("ord", order_id)) if one.type.startswith("dispute.")]
    return [(one.type, one.data["version"]) for one in about if one.data["dispute_id"] == dispute]


async def test_a_dispute_of_sixty_leaves_forty_of_a_hundred_until_it_is_won(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await tell(refunds, dispute, "created", "funds_withdrawn")
    await becomes(refunds, dispute["id"], "open")

    whole = await staff.ask(order_id, amount_minor=10_000)
    over = await staff.ask(order_id, amount_minor=4001)
    await stripe.decided(dispute["id"], won=True)
    await tell(refunds, dispute, "updated", "closed", "funds_reinstated")
    await becomes(refunds, dispute["id"], "won")
    again = await staff.ask(order_id, amount_minor=10_000)

    refused = [(one.status, one.body["code"], one.body["refundable"]) for one in (whole, over)]
    assert refused == [(409, "amount_exceeds_refundable", 4000)] * 2
    assert (again.status, again.body["refundable_minor"], again.body["disputed_minor"]) == (201, 0, 0)
    await settled(refunds, order_id, ("succeeded", 10_000))
    assert await said_of(refunds, order_id, dispute["id"]) == [("dispute.opened.v1", 1), ("dispute.won.v1", 2)]


async def test_what_is_lost_is_never_refunded_on_top(refunds: OneService, stripe: StripeBeside, staff: Staff) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "lost")

    over = await staff.ask(order_id, amount_minor=4001)
    fits = await staff.ask(order_id, amount_minor=4000)
    more = await staff.ask(order_id, amount_minor=1)

    assert (over.status, over.body["refundable"]) == (409, 4000)
    assert (fits.status, fits.body["refundable_minor"], fits.body["disputed_minor"]) == (201, 0, 6000)
    assert (more.status, more.body["code"]) == (409, "nothing_refundable")
    await settled(refunds, order_id, ("succeeded", 4000))
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [4000]
    assert await said_of(refunds, order_id, dispute["id"]) == [("dispute.lost.v1", 1)]


@pytest.mark.parametrize("seed", range(3))
async def test_events_in_any_order_and_twice_end_alike(
    refunds: OneService, stripe: StripeBeside, staff: Staff, seed: int
) -> None:
    chance = random.Random(seed)
    order_id, intent = await paid(refunds, stripe, 10_000)
    inquiry = await stripe.disputed(intent, 6000, inquiry=True)
    early, late = chance.sample(KINDS * 2, 4), chance.sample(KINDS * 2, 6)

    await tell(refunds, inquiry, *early)
    await becomes(refunds, inquiry["id"], "inquiry")
    asked = await staff.ask(order_id, amount_minor=1000)
    await settled(refunds, order_id, ("succeeded", 1000))
    await stripe.escalated(inquiry["id"])
    await tell(refunds, inquiry, *early[:2])
    await becomes(refunds, inquiry["id"], "open")
    await stripe.decided(inquiry["id"], won=False)
    await tell(refunds, inquiry, *late)
    await becomes(refunds, inquiry["id"], "lost")
    over = await staff.ask(order_id, amount_minor=3001)

    assert (asked.status, over.status, over.body["refundable"]) == (201, 409, 3000)
    assert await said_of(refunds, order_id, inquiry["id"]) == [
        ("dispute.opened.v1", 1), ("dispute.opened.v1", 2), ("dispute.lost.v1", 3),
    ]  # fmt: skip
    steps = "SELECT to_state FROM refunds.dispute_transitions WHERE dispute_id = $1 ORDER BY id"
    history = [row["to_state"] for row in await refunds.owner.fetch(steps, inquiry["id"])]
    assert history == ["inquiry", "open", "lost"]


@pytest.mark.parametrize("won", [True, False])
async def test_a_refund_that_stripe_refuses_for_a_dispute_waits_until_that_is_decided(
    refunds: OneService, stripe: StripeBeside, staff: Staff, won: bool
) -> None:
    """No event has told of the dispute: the refusal is the first word about it."""
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)

    asked = await staff.ask(order_id, amount_minor=10_000)
    await becomes(refunds, dispute["id"], "open")
    path = f"/api/payments/refunds/{asked.body['refund_id']}"
    await settled(refunds, order_id, ("approved", 10_000))
    waiting = await staff.call("GET", path)
    listed = await staff.call("GET", f"/api/payments/refunds?order_id={external_id('ord', order_id)}")
    await stripe.decided(dispute["id"], won=won)
    await tell(refunds, dispute, "closed")
    await settled(refunds, order_id, ("succeeded" if won else "canceled", 10_000))
    story = await staff.call("GET", path)

    assert [(one["status"], one["pending_reason"]) for one in (waiting.body, *listed.body["refunds"])] == [
        ("approved", "disputed")
    ] * 2
    assert (waiting.body["refundable_minor"], waiting.body["disputed_minor"]) == (0, 6000)
    assert story.body["pending_reason"] is None
    causes = [step["cause"] for step in story.body["history"]]
    assert causes[:3] == ["goodwill", "submit", "stripe:charge_disputed"]
    assert sum(made["amount"] for made in await stripe.refunds_of(intent)) == (10_000 if won else 0)


async def test_what_the_system_owes_goes_back_as_far_as_a_lost_dispute_leaves_it(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")

    await refunds.tell(shortfall(order_id))
    await settled(refunds, order_id, ("approved", 10_000))
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "closed", "closed")

    await settled(refunds, order_id, ("canceled", 10_000), ("succeeded", 4000))
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [4000]
    assert (await types_said(refunds, order_id)).count("refund.canceled.v1") == 1
    # Neither the handler nor the sweep asked Stripe while it was disputed: each refund has one command.
    commands = [one.type for one in await refunds.said(external_id("ord", order_id))]
    assert commands.count("refunds.cmd.submit.v1") == 2
    asked = (
        "SELECT count(*) FROM refunds.refunds AS r JOIN refunds.refund_transitions AS t ON t.refund_id = r.id"
        " WHERE r.order_id = $1 AND r.state = 'canceled' AND t.to_state = 'submitted'"
    )
    assert await refunds.owner.fetchval(asked, order_id) == 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A command about a payment whose disputes are these at Stripe, which allows one for a charge."""

    outbox: Outbox
    found: list[Told]

    def conclude(self) -> AbstractAsyncContextManager[Transaction]:
        return self.outbox.transaction()

    async def list_disputes(self, payment_intent: str) -> list[Told]:
        return [one for one in self.found if one.payment_intent == payment_intent]


async def test_all_disputes_of_a_payment_are_claimed_before_the_first_is_folded(
    refunds: OneService, stripe: StripeBeside
) -> None:
    """Whoever hands in evidence of one holds its claim, and then locks its row."""
    order_id, intent = await paid(refunds, stripe, 10_000)
    await refunds.tell(shortfall(order_id))
    await settled(refunds, order_id, ("succeeded", 10_000))
    first, second = f"du_{order_id.hex}_1", f"du_{order_id.hex}_2"
    opened = [
        Told(name, "ch_1", intent, 1000, "usd", "needs_response", "fraudulent", datetime(2026, 1, 1, tzinfo=UTC))
        for name in (first, second)
    ]
    pool = await open_pool(
        refunds.deployment.provisioned.database_urls["refunds"], schema="refunds", application_name="finder"
    )
    finding = Finding(Outbox(pool, service="refunds"), [replace(one, status="lost") for one in opened])
    disputing = Disputing(finding.outbox, finding)  # type: ignore[arg-type] # it lists disputes
    async with finding.outbox.transaction() as tx:
        asked_at = await disputes.question_time(tx.connection)
        for told in opened:
            await fold_dispute(tx, told, asked_at)
    find = said.FindDisputes(order_id=order_id, payment_intent=intent, refund_id=refund_id(intent, "shortfall"))

    async def waits() -> bool:
        return bool(await refunds.owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") >= 1)

    async with refunds.owner.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('dispute:' || $1, 0))", second)
        command = asyncio.create_task(disputing.find(finding, find))  # type: ignore[arg-type] # it concludes
        await eventually(waits, within_seconds=10, what="a command that waits for the second dispute")
        await other.execute("SET LOCAL lock_timeout = '2s'")
        await other.execute("SELECT FROM refunds.disputes WHERE id = $1 FOR UPDATE", second)
    await command
    await pool.close()

    for dispute_id in (first, second):
        await becomes(refunds, dispute_id, "lost")


async def test_a_waiting_request_of_two_tenders_is_canceled_whole_where_one_was_lost(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, lost, left = new_id(), await stripe.captured(60_000), await stripe.captured(40_000)
    await refunds.tell(order_paid(order_id, (lost, 60_000), (left, 40_000)))
    waiting = await staff.ask(order_id, amount_minor=100_000)
    dispute = await stripe.disputed(lost, 60_000)
    await stripe.decided(dispute["id"], won=False)

    await tell(refunds, dispute, "closed")
    await settled(refunds, order_id, ("canceled", 60_000), ("canceled", 40_000))
    again = await staff.ask(order_id, amount_minor=40_000)

    assert waiting.body["status"] == "awaiting_approval"
    assert (again.status, again.body["refundable_minor"]) == (201, 0)


async def test_a_refund_in_the_dashboard_is_known_although_all_was_lost_before(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    await stripe.refund_by_hand(intent, 6000)
    (made,) = await stripe.refunds_of(intent)
    dispute = await stripe.disputed(intent, 10_000)
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "closed")
    await becomes(refunds, dispute["id"], "lost")

    await refunds.tell(event("refund.created", made), event("refund.updated", made))

    await settled(refunds, order_id, ("succeeded", 6000))


async def test_what_the_system_owes_goes_back_as_far_as_a_refund_in_the_dashboard_leaves_it(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    await stripe.refund_by_hand(intent, 4000)
    (made,) = await stripe.refunds_of(intent)
    dispute = await stripe.disputed(intent, 1000)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")
    await refunds.tell(shortfall(order_id))
    await settled(refunds, order_id, ("approved", 10_000))

    await refunds.tell(event("refund.created", {**made, "id": f"{made['id']}_x", "status": "failed"}))
    await settled(refunds, order_id, ("approved", 10_000), ("failed", 4000))
    await refunds.tell(event("refund.created", made), event("refund.updated", made))
    await settled(refunds, order_id, ("canceled", 10_000), ("failed", 4000), ("succeeded", 4000), ("approved", 6000))
    await stripe.decided(dispute["id"], won=True)
    await tell(refunds, dispute, "closed")

    await settled(refunds, order_id, ("canceled", 10_000), ("failed", 4000), ("succeeded", 4000), ("succeeded", 6000))


async def test_what_is_left_of_goods_that_are_not_sent_goes_back_after_a_loss(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "lost")

    lines = (StockLine(sku="MUG", quantity=1),)
    for reason in ("refunded", fulfillment.DISPUTE_LOST, fulfillment.DISPUTE_LOST):
        canceled = fulfillment.ShipmentCanceled(order_id=order_id, shipment_id=new_id(), lines=lines, reason=reason)
        await refunds.tell(canceled)

    await settled(refunds, order_id, ("succeeded", 4000))


async def test_what_is_won_after_it_was_lost_goes_back_too_where_nothing_is_sent(
    refunds: OneService, stripe: StripeBeside
) -> None:
    (sent, sent_by), (short, short_by) = await paid(refunds, stripe, 10_000), await paid(refunds, stripe, 10_000)
    for order_id, intent in ((sent, sent_by), (short, short_by)):
        dispute = await stripe.disputed(intent, 6000)
        await tell(refunds, dispute, "created")
        await becomes(refunds, dispute["id"], "open")
        if order_id == short:
            await refunds.tell(shortfall(order_id))
        await stripe.decided(dispute["id"], won=False)
        await tell(refunds, dispute, "closed")
        await becomes(refunds, dispute["id"], "lost")
        if order_id == sent:
            lines = (StockLine(sku="MUG", quantity=1),)
            canceled = {"order_id": order_id, "shipment_id": new_id(), "lines": lines}
            await refunds.tell(fulfillment.ShipmentCanceled(**canceled, reason=fulfillment.DISPUTE_LOST))
        await stripe.decided(dispute["id"], won=True)
        await tell(refunds, dispute, "funds_reinstated", "funds_reinstated")
        await becomes(refunds, dispute["id"], "won")

    await settled(refunds, sent, ("succeeded", 4000), ("succeeded", 6000))
    await settled(refunds, short, ("canceled", 10_000), ("succeeded", 4000), ("succeeded", 6000))


@pytest.mark.parametrize("delivered", [False, True], ids=["nothing was delivered", "a book was delivered"])
async def test_store_credit_goes_back_after_a_loss_unless_other_goods_have_gone(
    refunds: OneService, stripe: StripeBeside, delivered: bool
) -> None:
    order_id, intent = new_id(), await stripe.captured(10_000)
    message = order_paid(order_id, (intent, 11_500))
    payment = message.payments[0].model_copy(update={"amount_minor": 10_000})
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    credit = {"payments": (payment,), "store_credit_minor": 1500, "customer": customer}
    await refunds.tell(message.model_copy(update=credit))
    dispute = await stripe.disputed(intent, 6000)
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "lost")
    book = fulfillment.DigitalDelivered(order_id=order_id, lines=(StockLine(sku="BOOK", quantity=1),))
    canceled = fulfillment.ShipmentCanceled(
        order_id=order_id, shipment_id=new_id(), lines=book.lines, reason=fulfillment.DISPUTE_LOST
    )

    if delivered:
        await refunds.tell(book)
    await refunds.tell(canceled)

    owed = () if delivered else (("succeeded", 4000), ("submitted", 1500))
    await settled(refunds, order_id, *owed)
    told = [
        one.data for one in await refunds.said(external_id("ord", order_id)) if one.type == "refund.left_to_staff.v1"
    ]
    shipment = {"shipment_id": external_id("shp", canceled.shipment_id), "reason": fulfillment.DISPUTE_LOST}
    assert told == ([{"order_id": external_id("ord", order_id), **shipment}] if delivered else [])


async def test_what_is_left_is_kept_where_other_goods_are_heard_to_have_gone_at_the_same_time(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id = await _lost_in_part(refunds, stripe)
    lines = (StockLine(sku="BOOK", quantity=1),)
    book = fulfillment.DigitalDelivered(order_id=order_id, lines=lines)
    canceled = fulfillment.ShipmentCanceled(
        order_id=order_id, shipment_id=new_id(), lines=lines, reason=fulfillment.DISPUTE_LOST
    )

    await hear_abreast(
        refunds, book, canceled, lambda: fulfillment.DigitalDelivered(order_id=new_id(), lines=lines),
        held_up_by=(
            "INSERT INTO refunds.exhibits (order_id, kind, ref, at, body) VALUES ($1, 'digital', 'order', now(), '{}')",
            order_id,
        ),
    )  # fmt: skip

    assert "refund.left_to_staff.v1" in await types_said(refunds, order_id)
    await settled(refunds, order_id)


async def test_what_is_left_is_kept_where_whoever_canceled_the_rest_says_that_other_goods_have_gone(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id = await _lost_in_part(refunds, stripe)

    await refunds.tell(
        fulfillment.ShipmentCanceled(
            order_id=order_id, shipment_id=new_id(), lines=(StockLine(sku="MUG", quantity=1),),
            reason=fulfillment.DISPUTE_LOST, others_gone=True,
        )
    )  # fmt: skip

    assert "refund.left_to_staff.v1" in await types_said(refunds, order_id)
    await settled(refunds, order_id)


async def _lost_in_part(refunds: OneService, stripe: StripeBeside) -> UUID:
    """An order of 10,000 of which a bank has taken 6,000 for good."""
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "lost")
    return order_id


async def test_an_approval_that_no_longer_fits_says_what_would(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    refund = (await staff.ask(order_id, amount_minor=60_000)).body
    dispute = await stripe.disputed(intent, 30_000)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")

    refused = await staff.approve(refund)
    await stripe.decided(dispute["id"], won=True)
    await tell(refunds, dispute, "closed")
    await becomes(refunds, dispute["id"], "won")
    agreed = await staff.approve(refund)

    assert (refund["status"], refused.status, refused.body["code"]) == (
        "awaiting_approval", 409, "amount_exceeds_refundable",
    )  # fmt: skip
    assert refused.body["refundable"] == 50_000
    assert agreed.status == 200
    await settled(refunds, order_id, ("succeeded", 60_000))


async def test_a_dispute_of_a_payment_that_is_not_known_caps_it_from_its_first_moment(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(10_000)
    dispute = await stripe.disputed(intent, 6000)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")
    unbound = await staff.call("GET", f"{PATH}/{dispute['id']}")

    await refunds.tell(order_paid(order_id, (intent, 10_000)))
    over = await staff.ask(order_id, amount_minor=10_000)

    assert unbound.body["order_id"] is None
    assert (over.status, over.body["refundable"]) == (409, 4000)
    assert await said_of(refunds, order_id, dispute["id"]) == [("dispute.opened.v1", 1)]


async def test_an_answer_that_no_event_brought_is_found_by_asking(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    _, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")

    await stripe.decided(dispute["id"], won=True)
    aged = "UPDATE refunds.disputes SET checked_at = payments.business_now() - interval '5 hours' WHERE id = $1"
    await refunds.owner.execute(aged, dispute["id"])

    await becomes(refunds, dispute["id"], "won")
    async with aiohttp.ClientSession() as http, http.get(f"{refunds.url}/metrics") as answer:
        assert 'payments_sweeper_healed_total{kind="dispute"} 1.0' in await answer.text()


async def test_staff_are_reminded_of_each_mark_once_until_there_is_evidence(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")

    async def reminded(times: int) -> None:
        async def said() -> bool:
            return (await said_of(refunds, order_id, dispute["id"])).count(("dispute.due.v1", 1)) == times

        await eventually(said, within_seconds=10, what=f"{times} reminders of {dispute['id']}")

    near = "UPDATE refunds.disputes SET due_by = payments.business_now() + make_interval(hours => $2) WHERE id = $1"
    await refunds.owner.execute(near, dispute["id"], 71)
    await reminded(1)
    await refunds.owner.execute(near, dispute["id"], 23)
    await reminded(2)
    hours = [one.data.get("hours_left") for one in await refunds.said(external_id("ord", order_id))]
    await refunds.owner.execute("UPDATE refunds.disputes SET submission_count = 1 WHERE id = $1", dispute["id"])

    assert [hour for hour in hours if hour] == [72, 24]


async def test_staff_find_disputes_by_order_state_and_deadline_and_nobody_else_sees_them(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000, reason="product_not_received")
    warning = await stripe.warned(intent)
    await refunds.tell(event("radar.early_fraud_warning.created", warning))
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")
    order = external_id("ord", order_id)

    shown = await staff.call("GET", f"{PATH}/{dispute['id']}", role="operator")
    listed = [
        await staff.call("GET", f"{PATH}?order_id={order}{more}")
        for more in ("", "&status=open", "&status=won", "&due_within_hours=1", "&due_within_hours=8000")
    ]
    pages, cursor = [], ""
    for _ in range(2):
        page = await staff.call("GET", f"{PATH}?limit=1{cursor}", role="approver")
        pages += [one["dispute_id"] for one in page.body["disputes"]]
        cursor = f"&cursor={page.body['next_cursor']}"
    many = await staff.call("GET", f"{PATH}?limit=100")
    customer = await staff.call("GET", f"{PATH}/{dispute['id']}", role="customer")
    unknown = await staff.call("GET", f"{PATH}/du_unknown")

    assert (shown.status, shown.body["order_id"], shown.body["reason"]) == (200, order, "product_not_received")
    assert [step["after"] for step in shown.body["history"]] == ["open"]
    assert [one["warning_id"] for one in shown.body["warnings"]] == [warning["id"]]
    assert [len(answer.body["disputes"]) for answer in listed] == [1, 1, 0, 0, 1]
    known = [one["dispute_id"] for one in many.body["disputes"]]
    assert dispute["id"] in known
    assert pages == known[:2]
    opened = [one["opened_at"] for one in many.body["disputes"]]
    assert opened == sorted(opened, reverse=True)
    assert (customer.status, unknown.status) == (403, 404)


async def test_a_warned_payment_goes_back_once_where_the_rules_want_it(
    refunds: OneService, stripe: StripeBeside
) -> None:
    admin, url = refunds.person("admin", subject="root"), f"{refunds.url}/admin/refund-rules"
    small, large = await paid(refunds, stripe, 777), await paid(refunds, stripe, 778)
    early_order, early = new_id(), await stripe.captured(777)
    async with aiohttp.ClientSession(headers=admin) as http:
        before = await (await http.get(url)).json()
        await http.put(url, json={**before, "refund_warned_up_to": {"usd": 777}, "reason": "Cheaper than a dispute."})
        for intent in (small[1], large[1], early):
            warning = await stripe.warned(intent)
            kinds = ("updated", "created", "created")
            await refunds.tell(*(event(f"radar.early_fraud_warning.{kind}", warning) for kind in kinds))
        await refunds.tell(order_paid(early_order, (early, 777)))
        await http.put(url, json={**before, "version": before["version"] + 1, "reason": "As it was."})

    for order_id in (small[0], early_order):
        await settled(refunds, order_id, ("succeeded", 777))
    await settled(refunds, large[0])
    reasons = "SELECT DISTINCT reason, requester FROM refunds.refunds WHERE order_id = $1"
    (row,) = await refunds.owner.fetch(reasons, small[0])
    assert tuple(row) == ("early_fraud_warning", "system:early_fraud_warning")


# -- what the database says again --------------------------------------------------------------------------------------


async def test_the_history_takes_exactly_the_steps_that_have_an_arrow(
    refunds: OneService, stripe: StripeBeside
) -> None:
    _, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], "open")
    legal = {(before, after) for before, afters in ARROWS.items() for after in afters if before is not after}
    sql = "INSERT INTO refunds.dispute_transitions (dispute_id, from_state, to_state, cause) VALUES ($1, $2, $3, '')"

    taken: set[tuple[DisputeState | None, DisputeState]] = set()
    async with refunds.owner.acquire() as connection:
        everything = connection.transaction()
        await everything.start()
        for before, after in product((None, *DisputeState), DisputeState):
            with contextlib.suppress(asyncpg.CheckViolationError):
                async with connection.transaction():
                    await connection.execute(sql, dispute["id"], before, after)
                taken.add((before, after))
        await everything.rollback()

    assert taken == legal


@pytest.mark.parametrize("state", ["open", "lost"])
async def test_the_database_refuses_what_is_disputed_even_when_the_code_forgets_it(
    refunds: OneService, stripe: StripeBeside, state: str
) -> None:
    """What the system owes waits for an open dispute whole; what Stripe's dashboard did is a fact."""
    order_id, intent = await paid(refunds, stripe, 10_000)
    dispute = await stripe.disputed(intent, 6000)
    if state == "lost":
        await stripe.decided(dispute["id"], won=False)
    await tell(refunds, dispute, "created")
    await becomes(refunds, dispute["id"], state)
    insert = (
        "INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester,"
        " approver) VALUES ($1, $2, $3, $4, 'usd', 'test', 'succeeded', $5, 'b')"
    )
    tried = list(product(("sam", "system:test", "stripe:dashboard"), (4000, 4001)))

    taken = []
    async with refunds.owner.acquire() as connection:
        for requester, amount in tried:
            attempt = connection.transaction()
            await attempt.start()
            await connection.execute(insert, new_id(), order_id, intent, amount, requester)
            with contextlib.suppress(asyncpg.CheckViolationError):
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                taken.append((requester, amount))
            await attempt.rollback()

    beyond = {("sam", 4001)} | ({("system:test", 4001)} if state == "lost" else set())
    assert set(tried) - set(taken) == beyond


async def test_what_a_bank_asks_about_becomes_no_store_credit_before_it_is_decided(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    asked = {}
    for ending in ("closed", "lost"):
        order_id, intent = new_id(), await stripe.captured(10_000)
        message = order_paid(order_id, (intent, 10_000))
        customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
        await refunds.tell(message.model_copy(update={"customer": customer}))
        inquiry = await stripe.disputed(intent, inquiry=True)
        await tell(refunds, inquiry, "created")
        await becomes(refunds, inquiry["id"], "inquiry")
        made = await staff.ask(order_id, amount_minor=10_000, destination="store_credit")
        name = made.body["refund_id"]
        await refunds.tell(said.SubmitRefund(order_id=order_id, refund_id=parse_external_id("ref", name)))
        shown = await staff.call("GET", f"/api/payments/refunds/{name}")
        for answer in (made, shown):
            assert (answer.body["status"], answer.body["pending_reason"]) == ("approved", "disputed")
        asked[ending] = (order_id, inquiry["id"])

    order_id, dispute_id = asked["lost"]
    await tell(refunds, await stripe.escalated(dispute_id), "updated")
    await becomes(refunds, dispute_id, "open")
    await tell(refunds, await stripe.decided(dispute_id, won=False), "closed")
    await settled(refunds, order_id, ("canceled", 10_000))
    order_id, dispute_id = asked["closed"]
    await tell(refunds, await stripe.decided(dispute_id, won=False), "closed")
    await settled(refunds, order_id, ("submitted", 10_000))


@pytest.mark.parametrize("inquiry", [False, True], ids=["a dispute", "an inquiry"])
@pytest.mark.parametrize("won", [True, False], ids=["won", "lost"])
async def test_what_a_card_paid_becomes_credit_only_once_stripe_knows_of_no_dispute(
    refunds: OneService, stripe: StripeBeside, staff: Staff, inquiry: bool, won: bool
) -> None:
    """No event has told of the dispute: the list of Stripe is the first word about it."""
    order_id, intent = new_id(), await stripe.captured(10_000)
    message = order_paid(order_id, (intent, 10_000))
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    await refunds.tell(message.model_copy(update={"customer": customer}))
    dispute = await stripe.disputed(intent, inquiry=inquiry)

    made = await staff.ask(order_id, amount_minor=10_000, destination="store_credit")
    await becomes(refunds, dispute["id"], "inquiry" if inquiry else "open")
    waiting = await staff.call("GET", f"/api/payments/refunds/{made.body['refund_id']}")
    given_before = (await types_said(refunds, order_id)).count("store_credit.issued.v1")
    if inquiry and not won:
        await stripe.escalated(dispute["id"])
        await tell(refunds, dispute, "updated")
        await becomes(refunds, dispute["id"], "open")
    await stripe.decided(dispute["id"], won=won)
    await tell(refunds, dispute, "closed")

    await settled(refunds, order_id, ("submitted" if won else "canceled", 10_000))
    assert (waiting.body["status"], waiting.body["pending_reason"]) == ("approved", "disputed")
    assert given_before == 0
    assert (await types_said(refunds, order_id)).count("store_credit.issued.v1") == int(won)


async def test_credit_for_a_card_waits_while_stripe_does_not_say_which_disputes_there_are(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(10_000)
    message = order_paid(order_id, (intent, 10_000))
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    await refunds.tell(message.model_copy(update={"customer": customer}))
    await stripe.arm("html_502", "/v1/disputes", "GET", count=1)

    await staff.ask(order_id, amount_minor=10_000, destination="store_credit")
    await settled(refunds, order_id, ("submitted", 10_000))

    assert await stripe.struck() == 1
    assert (await types_said(refunds, order_id)).count("store_credit.issued.v1") == 1
