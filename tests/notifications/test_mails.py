"""One mail for each cause, through every mood of a mail server."""

import asyncio
from uuid import UUID

import pytest

from notifications.decide import mail_id
from notifications.model import Kind
from payments_shared.contracts import checkout, refunds
from payments_shared.ids import external_id, new_id
from tests.notifications.mailbox import Json, Mailbox
from tests.notifications.words import ADA, order_paid
from tests.support.abreast import hear_abreast
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers


async def arrived(mailbox: Mailbox, order_id: UUID, count: int = 1) -> list[Json]:
    async def all_here() -> list[Json]:
        found = await mailbox.about(order_id)
        return found if len(found) >= count else []

    return await eventually(all_here, within_seconds=30, what=f"{count} mails about {order_id}")


async def state_of(notifications: OneService, order_id: UUID, *states: str) -> str:
    async def reached() -> str:
        found = await notifications.owner.fetchval(
            "SELECT state FROM notifications.mails WHERE order_id = $1", order_id
        )
        return str(found) if found in states else ""

    return await eventually(reached, within_seconds=30, what=f"the mail of {order_id} {states}")


async def types_said(notifications: OneService, order_id: UUID) -> list[str]:
    return [m.type for m in await notifications.said(external_id("ord", order_id)) if ".cmd." not in m.type]


async def test_a_confirmation_arrives_once_with_both_parts(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()

    await notifications.heard(
        await notifications.say(order_paid(order_id), times=5), await notifications.say(order_paid(order_id))
    )
    (mail,) = await arrived(mailbox, order_id)
    await state_of(notifications, order_id, "sent")

    html, page = await mailbox.shown(mail["id"])
    assert mail["subject"] == "Your order is confirmed"
    assert mail["recipient"] == "ada@example.com"
    assert "Clay mug" in html
    assert "1 x Clay mug: $18.00" in page
    assert "Auto-Submitted: auto-generated" in page
    assert await types_said(notifications, order_id) == ["notification.sent.v1"]


async def test_a_refund_that_came_back_is_told_to_whoever_was_told_of_it_and_never_as_if_it_went(
    notifications: OneService, mailbox: Mailbox
) -> None:
    """In the one order the buyer is told twice and staff once; in the other staff alone."""
    about = {"payment_intent": "pi_1", "amount_minor": 1500, "currency": "usd", "reason": "goodwill"}
    about |= {"requester": "sam", "customer": ADA.model_dump(), "stripe_refund_id": "re_1"}
    first, second = new_id(), new_id()

    def said(model: type[refunds.AboutRefund], order_id: UUID) -> refunds.AboutRefund:
        return model.model_validate(about | {"order_id": order_id, "refund_id": order_id})

    for order_id, kinds in (
        (first, (refunds.RefundSucceeded, refunds.RefundFailed, refunds.RefundFailed)),
        (second, (refunds.RefundFailed, refunds.RefundSucceeded)),
    ):
        for kind in kinds:
            await notifications.heard(await notifications.say(said(kind, order_id)))

    sql = "SELECT array_agg(kind ORDER BY kind) FROM notifications.mails WHERE order_id = $1"
    told = [await notifications.owner.fetchval(sql, order_id) for order_id in (first, second)]
    assert told == [["refund_failed", "refund_returned", "refund_succeeded"], ["refund_failed"]]
    await arrived(mailbox, first, 3)


async def test_a_refund_that_came_back_is_told_although_both_facts_are_heard_at_the_same_time(
    notifications: OneService,
) -> None:
    order_id = new_id()
    about = {"payment_intent": "pi_1", "amount_minor": 1500, "currency": "usd", "reason": "goodwill"}
    about |= {"requester": "sam", "customer": ADA.model_dump(), "stripe_refund_id": "re_1"}
    about |= {"order_id": order_id, "refund_id": order_id}
    in_the_way = """
        INSERT INTO notifications.mails (id, kind, ref, recipient, message_id, subject, html, plain)
        VALUES ($1, 'refund_succeeded', $2, 'a', 'b', 's', 'h', 'p')"""

    await hear_abreast(
        notifications,
        refunds.RefundSucceeded.model_validate(about),
        refunds.RefundFailed.model_validate(about),
        lambda: order_paid(new_id()),
        held_up_by=(in_the_way, mail_id(Kind.REFUND_SUCCEEDED, str(order_id)), str(order_id)),
    )

    sql = "SELECT array_agg(kind ORDER BY kind) FROM notifications.mails WHERE order_id = $1"
    told = await notifications.owner.fetchval(sql, order_id)
    assert told == ["refund_failed", "refund_returned", "refund_succeeded"]


async def test_a_server_that_is_busy_is_asked_again(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()
    await mailbox.arm("refuse", about=order_id, code=451, count=2)

    await notifications.tell(order_paid(order_id))

    await arrived(mailbox, order_id)
    await state_of(notifications, order_id, "sent")
    assert await mailbox.struck() == 2
    assert len(await mailbox.about(order_id)) == 1


async def test_a_refusal_for_good_is_recorded_and_told_once(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()
    await mailbox.arm("refuse", about=order_id, code=550)

    await notifications.tell(order_paid(order_id))

    await state_of(notifications, order_id, "undeliverable")
    assert await mailbox.about(order_id) == []
    assert await types_said(notifications, order_id) == ["notification.failed.v1"]


async def test_a_mail_whose_reply_was_lost_comes_again_under_the_same_message_id(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id = new_id()
    await mailbox.arm("swallow", about=order_id)

    await notifications.tell(order_paid(order_id))

    mails = await arrived(mailbox, order_id, 2)
    assert len({mail["message_id"] for mail in mails}) == 1
    await state_of(notifications, order_id, "sent")
    assert await types_said(notifications, order_id) == ["notification.sent.v1"]


async def test_a_mail_server_that_hangs_delays_no_decision(notifications: OneService, mailbox: Mailbox) -> None:
    held, others = new_id(), [new_id() for _ in range(20)]
    await mailbox.arm("delay", about=held, seconds=3.0)

    await notifications.tell(order_paid(held))
    await asyncio.wait_for(notifications.tell(*(order_paid(order_id) for order_id in others)), timeout=2.5)

    for order_id in (held, *others):
        await arrived(mailbox, order_id)


async def test_no_invitation_to_pay_reaches_a_buyer_whose_money_is_here(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id = new_id()
    abandoned = checkout.OrderPaymentFailed(order_id=order_id, final=False, abandoned=True, customer=ADA)

    await notifications.tell(order_paid(order_id), abandoned)
    await arrived(mailbox, order_id)
    await state_of(notifications, order_id, "sent")

    assert [mail["kind"] for mail in await mailbox.about(order_id)] == ["order_confirmation"]


async def test_credit_that_comes_back_is_told_once(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()
    back = checkout.OrderCreditReturned(
        order_id=order_id, currency="usd", amount_minor=1800, charged_minor=0, customer=ADA
    )

    await notifications.tell(back, back)

    await arrived(mailbox, order_id)
    await state_of(notifications, order_id, "sent")
    assert [mail["kind"] for mail in await mailbox.about(order_id)] == ["credit_returned"]


async def test_that_what_cost_nothing_cannot_be_had_is_told_once(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()
    gone = checkout.OrderSoldOut(order_id=order_id, lines=(), customer=ADA)

    await notifications.tell(gone, gone)

    await arrived(mailbox, order_id)
    await state_of(notifications, order_id, "sent")
    assert [mail["kind"] for mail in await mailbox.about(order_id)] == ["order_sold_out"]


async def test_a_stop_in_the_middle_of_a_mail_lets_it_go_out(notifications: OneService, mailbox: Mailbox) -> None:
    order_id = new_id()
    await mailbox.arm("delay", about=order_id, seconds=1.5)
    await notifications.tell(order_paid(order_id))
    await state_of(notifications, order_id, "sending")

    status = await asyncio.to_thread(notifications.deployment.stop, "notifications")
    assert (status, len(await arrived(mailbox, order_id))) == (0, 1)
    notifications.deployment.start("notifications")
    await asyncio.to_thread(notifications.deployment.wait_ready, "notifications")

    await state_of(notifications, order_id, "sent")
    assert len(await mailbox.about(order_id)) == 1
