"""What store credit paid goes back once: by itself, as checkout says, or by a refund."""

from itertools import permutations
from uuid import UUID

import asyncpg
import pytest

from payments_shared.contracts import checkout
from payments_shared.ids import new_id, parse_external_id
from refunds.decide.owing import gives_credit_back
from refunds.model.bills import STORE_CREDIT
from refunds.model.refunds import Order
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_requests import PATH, Staff, staff
from tests.refunds.test_system_refunds import order_paid, settled, types_said
from tests.support.one_service import OneService

__all__ = ["staff"]
CREDIT = 1500


def paid_with_credit(order_id: UUID, intent: str, charged: int) -> checkout.OrderPaid:
    """An order that a card and store credit paid."""
    message = order_paid(order_id, (intent, charged + CREDIT))
    payment = message.payments[0].model_copy(update={"amount_minor": charged})
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    return message.model_copy(update={"payments": (payment,), "store_credit_minor": CREDIT, "customer": customer})


def released(order_id: UUID) -> checkout.StoreCreditReleased:
    return checkout.StoreCreditReleased(order_id=order_id, amount_minor=CREDIT, currency="usd")


def refused(order_id: UUID, refund_id: UUID) -> checkout.StoreCreditRefused:
    return checkout.StoreCreditRefused(order_id=order_id, refund_id=refund_id, reason=checkout.CREDIT_IS_BACK)


@pytest.mark.parametrize(
    ("short", "is_released", "spent", "expected"),
    [
        (False, False, 0, True),
        (False, True, 0, False),
        (False, True, 300, False),
        (True, False, 0, False),
        (True, False, 300, True),
        (True, True, 300, False),
    ],
)
def test_what_checkout_gave_back_is_no_refunds_any_more(
    short: bool, is_released: bool, spent: int, expected: bool
) -> None:
    order = Order(new_id(), None, paid=True, shortfall=short, credit_released=is_released)

    assert gives_credit_back(order, {STORE_CREDIT: spent}) is expected


@pytest.mark.servers
@pytest.mark.parametrize("turn", range(2))
async def test_credit_that_went_back_by_itself_is_not_refundable_whichever_is_heard_first(
    refunds: OneService, stripe: StripeBeside, staff: Staff, turn: int
) -> None:
    order_id, intent = new_id(), await stripe.captured(10_000)
    messages = (paid_with_credit(order_id, intent, 10_000), released(order_id))
    for message in list(permutations(messages))[turn]:
        await refunds.tell(message, message)

    everything = await staff.ask(order_id)
    shown = await staff.call("GET", f"{PATH}s/{everything.body['refund_id']}")
    more = await staff.ask(order_id, amount_minor=1)

    assert (everything.status, everything.body["amount_minor"]) == (201, 10_000)
    assert [part["tender"] for part in everything.body["parts"]] == [intent]
    assert shown.body["refundable_minor"] == 0
    assert (more.status, more.body["code"]) == (409, "nothing_refundable")


@pytest.mark.servers
@pytest.mark.parametrize("turn", range(6))
async def test_a_refund_of_credit_that_came_too_late_has_failed_and_says_why(
    refunds: OneService, stripe: StripeBeside, staff: Staff, turn: int
) -> None:
    """However often, and in whatever order, checkout says that the credit is back and that nothing is given for it."""
    order_id, intent = new_id(), await stripe.captured(10_000)
    await refunds.tell(paid_with_credit(order_id, intent, 10_000))
    dead = await refunds.dead_letters()
    made = await staff.ask(order_id, amount_minor=2300)
    await settled(refunds, order_id, ("succeeded", 2000), ("submitted", 300))
    (late,) = [parse_external_id("ref", part["id"]) for part in made.body["parts"] if part["tender"] == STORE_CREDIT]

    answers = (released(order_id), refused(order_id, late), refused(order_id, late))
    await refunds.tell(*list(permutations(answers))[turn])

    await settled(refunds, order_id, ("succeeded", 2000), ("failed", 300))
    shown = await staff.call("GET", f"{PATH}s/{made.body['refund_id']}")
    reasons = {part["tender"]: part["failure_reason"] for part in shown.body["parts"]}
    assert reasons == {intent: None, STORE_CREDIT: "credit_is_back"}
    assert shown.body["refundable_minor"] == 8000
    assert (await types_said(refunds, order_id)).count("refund.failed.v1") == 1
    assert await refunds.dead_letters() == dead


@pytest.mark.servers
async def test_what_waits_for_a_second_person_is_canceled_whole_when_the_credit_goes_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(80_000)
    await refunds.tell(paid_with_credit(order_id, intent, 80_000))
    asked = await staff.ask(order_id)

    await refunds.tell(released(order_id), released(order_id))

    await settled(refunds, order_id, ("canceled", 80_000), ("canceled", CREDIT))
    late = await staff.approve(asked.body)
    shown = await staff.call("GET", f"{PATH}s/{asked.body['refund_id']}")
    assert (late.status, late.body["code"]) == (409, "already_decided")
    assert shown.body["refundable_minor"] == 80_000
    assert (await types_said(refunds, order_id)).count("refund.canceled.v1") == 2


@pytest.mark.servers
async def test_the_database_refuses_to_refund_what_went_back_by_itself(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await refunds.tell(paid_with_credit(order_id, intent, 1000), released(order_id))

    with pytest.raises(asyncpg.CheckViolationError, match="would exceed what store credit paid"):
        await refunds.owner.execute(
            "INSERT INTO refunds.refunds (id, order_id, amount_minor, currency, reason, state, requester, approver,"
            " destination) VALUES ($1, $2, 1, 'usd', 'test', 'approved', 'sam', 'policy:rules-0', 'store_credit')",
            new_id(),
            order_id,
        )
