"""What the system owes is paid once more when its refund has come to nothing, also where no bill could be refunded."""

import asyncio
from typing import Final
from uuid import UUID

import pytest

from payments_shared.contracts import refunds as said
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.ids import derived_id, external_id, new_id, parse_external_id
from refunds.decide.owing import refund_id
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_requests import PATH, Answer, Staff, event, paid, staff
from tests.refunds.test_stopping import refunds, switch
from tests.refunds.test_system_refunds import due, order_paid, settled, shortfall, state_of
from tests.support.one_service import OneService
from tests.support.switching import Switch

__all__ = ["refunds", "staff", "switch"]
pytestmark = pytest.mark.servers
REASON: Final = "canceled_order"
NOTE: Final = "His bank has opened the account again."


async def again(staff: Staff, refund: UUID, *, role: str = "support") -> Answer:
    return await staff.call("POST", f"{PATH}s/{external_id('ref', refund)}/again", {"note": NOTE}, role=role)


async def fails(refunds: OneService, stripe: StripeBeside, order_id: UUID, intent: str, refund: UUID) -> None:
    """The bank returns a refund that had succeeded."""
    (made,) = [one for one in await stripe.refunds_of(intent) if one["status"] == "succeeded"]
    await stripe.becomes(made["id"], "failed")
    await refunds.say(said.CheckRefund(order_id=order_id, refund_id=refund))


async def returned(refunds: OneService, stripe: StripeBeside) -> tuple[UUID, str, UUID]:
    """An order that was paid after its end, its payment, and the refund of that, which the bank has returned."""
    order_id, intent = new_id(), await stripe.captured(500)
    await refunds.tell(due(order_id, intent, 500, REASON))
    await settled(refunds, order_id, ("succeeded", 500))
    refund = refund_id(intent, REASON)
    await fails(refunds, stripe, order_id, intent, refund)
    await settled(refunds, order_id, ("failed", 500))
    return order_id, intent, refund


async def test_what_the_bank_returned_of_a_canceled_order_goes_back_once_more_whoever_asks(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent, refund = await returned(refunds, stripe)
    assert (await staff.ask(order_id)).status == 404, "it has no bill"

    answers = await asyncio.gather(*(again(staff, refund) for _ in range(10)))
    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    later = await again(staff, refund, role="admin")

    assert {answer.status for answer in [*answers, later]} == {201}
    (paying,) = {answer.body["refund_id"] for answer in [*answers, later]}
    assert {answer.body["amount_minor"] for answer in answers} == {500}
    assert {answer.body["status"] for answer in answers} <= {"approved", "submitted", "succeeded"}
    assert later.body["status"] == "succeeded"
    assert sorted(one["status"] for one in await stripe.refunds_of(intent)) == ["failed", "succeeded"]
    story = await staff.call("GET", f"{PATH}s/{paying}")
    assert story.body["note"] == f"again for sam: {NOTE}"

    refused = await again(staff, parse_external_id("ref", paying))
    assert (refused.status, refused.body["code"], refused.body["refund_status"]) == (
        409, "still_under_way", "succeeded",
    )  # fmt: skip


async def test_it_is_paid_as_often_as_banks_return_it_and_never_beside_what_went_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent, refund = await returned(refunds, stripe)
    second = parse_external_id("ref", (await again(staff, refund)).body["refund_id"])
    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    await fails(refunds, stripe, order_id, intent, second)
    await settled(refunds, order_id, ("failed", 500), ("failed", 500))

    third = await again(staff, refund)
    await settled(refunds, order_id, ("failed", 500), ("failed", 500), ("succeeded", 500))

    assert third.status == 201
    assert third.body["refund_id"] not in {external_id("ref", refund), external_id("ref", second)}
    assert [one["status"] for one in await stripe.refunds_of(intent)].count("succeeded") == 1


async def test_nothing_is_paid_beside_a_refund_of_the_dashboard(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent, refund = await returned(refunds, stripe)
    await stripe.refund_by_hand(intent, 500)
    await refunds.say(said.FindRefunds(order_id=order_id, payment_intent=intent))
    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))

    refused = await again(staff, refund)

    assert (refused.status, refused.body["code"], refused.body["refundable"]) == (409, "nothing_refundable", 0)
    assert len(await state_of(refunds, order_id)) == 2


async def test_what_a_person_asked_for_he_asks_for_anew(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)
    made = await staff.ask(order_id, amount_minor=300)
    await settled(refunds, order_id, ("succeeded", 300))
    refund = parse_external_id("ref", made.body["refund_id"])
    await fails(refunds, stripe, order_id, intent, refund)
    await settled(refunds, order_id, ("failed", 300))

    refused = await again(staff, refund)

    assert (refused.status, refused.body["code"]) == (409, "not_owed")
    assert (await again(staff, new_id())).status == 404
    assert (await again(staff, refund, role="approver")).status == 403


async def test_while_refunds_are_stopped_nothing_is_asked_for_again(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, _, refund = await returned(refunds, stripe)
    await switch.stop()

    refused = await again(staff, refund)

    assert (refused.status, refused.body["code"]) == (503, "refunds_stopped")
    assert await state_of(refunds, order_id) == [("failed", 500)]


async def by_hand(stripe: StripeBeside, intent: str) -> tuple[UUID, StripeEvent]:
    """Somebody gives all of it back in the dashboard: the refund that this becomes, and what Stripe tells of it."""
    await stripe.refund_by_hand(intent, 500)
    (made,) = await stripe.refunds_of(intent)
    return derived_id("stripe-refund", made["id"]), event("refund.created", made)


async def comes_back(stripe: StripeBeside, intent: str) -> StripeEvent:
    """The bank returns the only refund of a payment; what Stripe tells of that."""
    (made,) = await stripe.refunds_of(intent)
    return event("refund.failed", await stripe.move_refund(made["id"], "failed"))


async def test_what_the_bank_returned_of_a_refund_in_the_dashboard_is_still_owed_whoever_asks(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    refund, created = await by_hand(stripe, intent)
    await refunds.tell(created, due(order_id, intent, 500, REASON))
    await settled(refunds, order_id, ("succeeded", 500))
    early = await again(staff, refund)
    await refunds.tell(await comes_back(stripe, intent))
    await settled(refunds, order_id, ("failed", 500))
    assert (await staff.ask(order_id)).status == 404, "it has no bill"

    answers = await asyncio.gather(*(again(staff, refund) for _ in range(10)))
    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    later = await again(staff, refund)
    await refunds.tell(due(order_id, intent, 500, REASON))

    assert (early.status, early.body["code"]) == (409, "still_under_way")
    assert {answer.status for answer in [*answers, later]} == {201}
    assert len({answer.body["refund_id"] for answer in [*answers, later]}) == 1
    assert {answer.body["amount_minor"] for answer in answers} == {500}
    assert sorted(one["status"] for one in await stripe.refunds_of(intent)) == ["failed", "succeeded"]
    assert len(await state_of(refunds, order_id)) == 2


async def test_where_the_bank_returned_it_before_it_was_owed_it_goes_back_by_itself_and_once(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    refund, created = await by_hand(stripe, intent)

    await refunds.tell(await comes_back(stripe, intent), created, due(order_id, intent, 500, REASON))
    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    refused = await again(staff, refund)

    assert (refused.status, refused.body["code"]) == (409, "nothing_refundable")
    assert sorted(one["status"] for one in await stripe.refunds_of(intent)) == ["failed", "succeeded"]


async def test_what_a_part_of_staffs_had_left_no_room_for_is_owed_when_that_fails(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000, card="pm_card_pendingRefund")
    await refunds.tell(order_paid(order_id, (intent, 1000)))
    part = parse_external_id("ref", (await staff.ask(order_id, amount_minor=300)).body["refund_id"])
    await settled(refunds, order_id, ("pending", 300))
    (made,) = await stripe.refunds_of(intent)
    await refunds.tell(shortfall(order_id))
    await settled(refunds, order_id, ("pending", 300), ("pending", 700))
    failed = await stripe.move_refund(made["id"], "failed")
    await refunds.tell(event("refund.failed", failed))
    await settled(refunds, order_id, ("failed", 300), ("pending", 700))

    answers = await asyncio.gather(*(again(staff, part) for _ in range(3)))
    await settled(refunds, order_id, ("failed", 300), ("pending", 300), ("pending", 700))

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["refund_id"] for answer in answers}) == 1
    assert {answer.body["reason"] for answer in answers} == {"shortfall"}
    at_stripe = [(one["status"], one["amount"]) for one in await stripe.refunds_of(intent)]
    assert sorted(at_stripe) == [("failed", 300), ("pending", 300), ("pending", 700)]
