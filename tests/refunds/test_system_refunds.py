"""Money the system cannot keep goes back exactly once, whatever happens on the way to Stripe."""

import contextlib
from datetime import UTC, datetime
from itertools import permutations, product
from uuid import UUID

import asyncpg
import pytest

from payments_shared.contracts import checkout, inventory
from payments_shared.contracts import refunds as said
from payments_shared.ids import external_id, new_id
from refunds.decide.machine import ARROWS
from refunds.decide.owing import refund_id
from refunds.model.refunds import State
from tests.refunds.stripe import StripeBeside
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers


def buyer(order_id: UUID) -> checkout.Customer:
    """Whoever bought, another for each order: what goes back to one buyer in a month is limited."""
    return checkout.Customer(email=f"ada-{order_id.hex}@example.com")


def order_paid(order_id: UUID, *intents: tuple[str, int]) -> checkout.OrderPaid:
    total = sum(amount for _, amount in intents)
    line = checkout.Line(sku="MUG", name="Mug", quantity=1, unit_amount_minor=total, amount_minor=total)
    return checkout.OrderPaid(
        order_id=order_id, currency="usd", subtotal_minor=total, discount_minor=0, tax_minor=0, shipping_minor=0,
        total_minor=total, lines=(line,), customer=buyer(order_id), paid_at=datetime(2026, 1, 1, tzinfo=UTC),
        payments=tuple(checkout.Payment(payment_intent=i, amount_minor=a, currency="usd") for i, a in intents),
    )  # fmt: skip


def shortfall(order_id: UUID) -> inventory.StockShortfall:
    return inventory.StockShortfall(
        order_id=order_id, missing=(inventory.MissingLine(sku="MUG", quantity=1, available=0),)
    )


def due(order_id: UUID, intent: str, amount: int, reason: str = "surplus_payment") -> checkout.OrderRefundDue:
    return checkout.OrderRefundDue.model_validate(
        {"order_id": external_id("ord", order_id), "payment_intent": intent, "amount_minor": amount, "currency": "usd",
         "reason": reason, "customer": buyer(order_id).model_dump()}
    )  # fmt: skip


def lost(order_id: UUID, intent: str, amount: int, *, refunded: int = 0) -> checkout.OrderRefundDue:
    """Somebody gives back what was paid for an order that is not here; so much of it is back already."""
    known = {"rule": "order_unknown", "refunded_minor": refunded}
    return due(order_id, intent, amount, "canceled_order").model_copy(update=known)


async def state_of(refunds: OneService, order_id: UUID) -> list[tuple[str, int]]:
    sql = "SELECT state, amount_minor FROM refunds.refunds WHERE order_id = $1 ORDER BY created_at, id"
    return [(row["state"], row["amount_minor"]) for row in await refunds.owner.fetch(sql, order_id)]


async def settled(refunds: OneService, order_id: UUID, *expected: tuple[str, int]) -> None:
    async def as_expected() -> bool:
        return sorted(await state_of(refunds, order_id)) == sorted(expected)

    await eventually(as_expected, within_seconds=30, what=f"refunds {expected} of {order_id}")


async def types_said(refunds: OneService, order_id: UUID) -> list[str]:
    return [m.type for m in await refunds.said(external_id("ord", order_id)) if ".cmd." not in m.type]


@pytest.mark.parametrize("turn", range(2))
async def test_a_shortfall_pays_everything_back_whichever_message_comes_first(
    refunds: OneService, stripe: StripeBeside, turn: int
) -> None:
    order_id = new_id()
    first, second = await stripe.captured(700), await stripe.captured(300)
    messages = (order_paid(order_id, (first, 700), (second, 300)), shortfall(order_id))

    for message in list(permutations(messages))[turn]:
        await refunds.heard(await refunds.say(message, times=3), await refunds.say(message))

    await settled(refunds, order_id, ("succeeded", 700), ("succeeded", 300))
    assert [r["amount"] for r in await stripe.refunds_of(first)] == [700]
    assert [r["amount"] for r in await stripe.refunds_of(second)] == [300]
    assert sorted(await types_said(refunds, order_id)) == sorted(
        ["refund.requested.v1", "refund.approved.v1", "refund.succeeded.v1"] * 2
    )


async def test_a_surplus_and_a_mismatch_go_back_and_the_order_keeps_its_own_payment(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id = new_id()
    kept, surplus = await stripe.captured(1000), await stripe.captured(1000)

    await refunds.tell(due(order_id, surplus, 1000), order_paid(order_id, (kept, 1000)), due(order_id, surplus, 1000))

    await settled(refunds, order_id, ("succeeded", 1000))
    assert await stripe.refunds_of(kept) == []
    assert len(await stripe.refunds_of(surplus)) == 1


async def test_two_causes_for_one_payment_never_pay_more_than_was_taken(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id = new_id()
    intent = await stripe.captured(1000)

    await refunds.tell(
        order_paid(order_id, (intent, 1000)), due(order_id, intent, 600, "amount_mismatch"), shortfall(order_id)
    )

    await settled(refunds, order_id, ("succeeded", 600), ("succeeded", 400))
    assert sum(r["amount"] for r in await stripe.refunds_of(intent)) == 1000


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("rate_limit", 3), ("error_500", 1), ("in_use", 3), ("html_502", 3), ("cut_before", 3), ("cut_after", 1),
        ("cut_mid_body", 1), ("cut_after", 3),
    ],
)  # fmt: skip
async def test_one_refund_reaches_stripe_through_every_kind_of_failure(
    refunds: OneService, stripe: StripeBeside, kind: str, count: int
) -> None:
    order_id = new_id()
    intent = await stripe.captured(500)
    await stripe.arm(kind, count=count)

    await refunds.tell(due(order_id, intent, 500))

    await settled(refunds, order_id, ("succeeded", 500))
    assert await stripe.struck() >= 1
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [500]
    assert (await types_said(refunds, order_id)).count("refund.succeeded.v1") == 1


async def test_a_definite_no_fails_the_refund_and_staff_hear_it_once(refunds: OneService, stripe: StripeBeside) -> None:
    order_id = new_id()
    intent = await stripe.captured(500)
    await stripe.refund_by_hand(intent, 500)

    await refunds.heard(*[await refunds.say(due(order_id, intent, 500)) for _ in range(3)])

    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    assert len(await stripe.refunds_of(intent)) == 1
    assert (await types_said(refunds, order_id)).count("refund.failed.v1") == 1


@pytest.mark.parametrize("cause", ["surplus_payment", "shortfall", "order_unknown"])
async def test_beside_a_refund_of_which_no_event_came_the_rest_goes_back(
    refunds: OneService, stripe: StripeBeside, cause: str
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 400)
    messages = {
        "surplus_payment": (due(order_id, intent, 1000),),
        "shortfall": (order_paid(order_id, (intent, 1000)), shortfall(order_id)),
        "order_unknown": (lost(order_id, intent, 1000),),
    }

    await refunds.tell(*messages[cause])

    await settled(refunds, order_id, ("canceled", 1000), ("succeeded", 400), ("succeeded", 600))
    assert sorted(r["amount"] for r in await stripe.refunds_of(intent)) == [400, 600]
    assert "refund.failed.v1" not in await types_said(refunds, order_id)


async def test_of_a_lost_payment_only_what_stripe_has_not_given_back_is_owed(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 400)

    await refunds.tell(lost(order_id, intent, 1000, refunded=400))

    await settled(refunds, order_id, ("succeeded", 400), ("succeeded", 600))
    assert sorted(r["amount"] for r in await stripe.refunds_of(intent)) == [400, 600]


async def test_a_lost_payment_that_is_back_already_becomes_known_and_nothing_is_owed(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 1000)

    await refunds.tell(lost(order_id, intent, 1000, refunded=1000))

    await settled(refunds, order_id, ("succeeded", 1000))
    assert len(await stripe.refunds_of(intent)) == 1


async def test_a_lost_payment_whose_refund_the_bank_returned_goes_back_again_when_somebody_asks_again(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await refunds.tell(lost(order_id, intent, 500), lost(order_id, intent, 500))
    await settled(refunds, order_id, ("succeeded", 500))
    (made,) = await stripe.refunds_of(intent)
    await stripe.becomes(made["id"], "failed")
    await refunds.say(said.CheckRefund(order_id=order_id, refund_id=refund_id(intent, "order_unknown")))
    await settled(refunds, order_id, ("failed", 500))

    await refunds.tell(*[lost(order_id, intent, 500) for _ in range(3)])

    await settled(refunds, order_id, ("failed", 500), ("succeeded", 500))
    await refunds.tell(lost(order_id, intent, 500, refunded=500))
    assert sorted(r["status"] for r in await stripe.refunds_of(intent)) == ["failed", "succeeded"]
    assert len(await state_of(refunds, order_id)) == 2


async def test_a_refund_that_the_bank_returns_later_is_known_as_failed(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id = new_id()
    intent = await stripe.captured(500)
    await refunds.tell(due(order_id, intent, 500))
    await settled(refunds, order_id, ("succeeded", 500))
    (made,) = await stripe.refunds_of(intent)

    await stripe.becomes(made["id"], "failed")
    command = said.CheckRefund(order_id=order_id, refund_id=refund_id(intent, "surplus_payment"))
    await refunds.say(command)

    await settled(refunds, order_id, ("failed", 500))


async def test_the_history_takes_exactly_the_steps_that_have_an_arrow(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await refunds.tell(due(order_id, intent, 500))
    refund = await refunds.owner.fetchval("SELECT id FROM refunds.refunds WHERE order_id = $1", order_id)
    legal: set[tuple[State | None, State]] = {(None, State.REQUESTED), (None, State.APPROVED)}
    legal |= {(a, b) for a, arrows in ARROWS.items() for b in arrows.values() if a is not b}

    taken: set[tuple[State | None, State]] = set()
    for before, after in product((None, *State), State):
        sql = "INSERT INTO refunds.refund_transitions (refund_id, from_state, to_state, cause) VALUES ($1, $2, $3, '')"
        with contextlib.suppress(asyncpg.CheckViolationError):
            await refunds.owner.execute(sql, refund, before, after)
            taken.add((before, after))

    assert taken == legal


async def test_the_database_refuses_more_than_was_taken_even_when_the_code_forgets_its_lock(
    refunds: OneService, stripe: StripeBeside
) -> None:
    """Two clerks look, both see room, both write. The row lock prevents it; here it is left out on purpose."""
    order_id, intent = new_id(), await stripe.captured(500)
    await refunds.tell(order_paid(order_id, (intent, 500)))
    insert = (
        "INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester,"
        " approver) VALUES ($1, $2, $3, 300, 'usd', 'test', 'approved', 'a', 'b')"
    )

    async with refunds.owner.acquire() as first, refunds.owner.acquire() as second:
        await first.execute("BEGIN")
        await second.execute("BEGIN")
        seen = [
            await clerk.fetchval(
                "SELECT coalesce(sum(amount_minor), 0) FROM refunds.refunds WHERE order_id = $1", order_id
            )
            for clerk in (first, second)
        ]
        await first.execute(insert, new_id(), order_id, intent)
        await first.execute("COMMIT")
        await second.execute(insert, new_id(), order_id, intent)
        with pytest.raises(asyncpg.CheckViolationError, match="would exceed"):
            await second.execute("COMMIT")

    assert seen == [0, 0]
    assert await state_of(refunds, order_id) == [("approved", 300)]


async def test_three_causes_at_once_share_what_was_taken(refunds: OneService, stripe: StripeBeside) -> None:
    intent = await stripe.captured(1000)
    order_id = new_id()
    await refunds.tell(order_paid(order_id, (intent, 1000)))
    reasons = ("surplus_payment", "canceled_order", "amount_mismatch")

    envelopes = [await refunds.say(due(order_id, intent, 400, reason), times=2) for reason in reasons]
    await refunds.heard(*envelopes)

    await settled(refunds, order_id, ("succeeded", 400), ("succeeded", 400), ("succeeded", 200))
    assert sum(r["amount"] for r in await stripe.refunds_of(intent)) == 1000
