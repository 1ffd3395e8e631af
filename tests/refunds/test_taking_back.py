"""What is put off is taken back: nothing of it ever goes back, and of what Stripe may have been asked for nothing is."""

import asyncio
from collections import Counter
from typing import Final
from uuid import UUID

import pytest

from payments_shared.ids import external_id, new_id, parse_external_id
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_released_credit import CREDIT, paid_with_credit
from tests.refunds.test_requests import PATH, Answer, Json, Staff, event, paid, staff
from tests.refunds.test_stopping import paid_by_a_member, put_off, refunds, switch
from tests.refunds.test_system_refunds import due, settled, shortfall, state_of, types_said
from tests.support.deadline import eventually
from tests.support.one_service import OneService
from tests.support.switching import Switch

__all__ = ["refunds", "staff", "switch"]
pytestmark = pytest.mark.servers
ROUNDS: Final = 20
EACH: Final = 3
SPREAD_SECONDS: Final = 0.6  # a sweep takes up what was put off every 0.3 seconds
NOTE: Final = "Rule 12 was wrong."
# Somebody agrees in the moment before refunds are stopped, and the command finds them stopped.
AGREED: Final = """
    WITH agreed AS (
        UPDATE refunds.refunds SET state = 'approved', approver = 'ann' WHERE request_id = $1 RETURNING id
    ), told AS (
        INSERT INTO refunds.refund_transitions (refund_id, from_state, to_state, cause, actor)
        SELECT id, 'awaiting_approval', 'approved', 'approved by ann', 'ann' FROM agreed
    ), decided AS (
        UPDATE refunds.requests SET decided_by = 'ann', decision_note = 'Seen.', version = version + 1 WHERE id = $1
    )
    INSERT INTO refunds.put_off (refund_id) SELECT id FROM agreed
"""
PUT_OFF: Final = """
    SELECT count(*) FROM refunds.put_off JOIN refunds.refunds AS r ON r.id = refund_id WHERE r.order_id = ANY($1)
"""


async def take_back(staff: Staff, refund: str, *, who: str = "ada", role: str = "admin", note: str = NOTE) -> Answer:
    return await staff.call("POST", f"{PATH}s/{refund}/cancel", {"note": note}, who=who, role=role)


async def refund_of(staff: Staff, order_id: UUID) -> str:
    """The only refund of an order."""
    listed = await staff.call("GET", f"{PATH}s?order_id={external_id('ord', order_id)}")
    (refund,) = listed.body["refunds"]
    return str(refund["refund_id"])


async def agreed(refunds: OneService, asked: Json) -> None:
    await refunds.owner.execute(AGREED, parse_external_id("ref", asked["refund_id"]))


async def goes_on(refunds: OneService, stripe: StripeBeside, switch: Switch) -> None:
    """Refunds are open again, and what was put off later than everything else has gone."""
    order_id, intent = new_id(), await stripe.captured(100)
    await refunds.tell(due(order_id, intent, 100))
    await put_off(refunds, order_id)
    await switch.open()
    await settled(refunds, order_id, ("succeeded", 100))


async def test_an_administrator_takes_back_what_the_system_owes_and_stripe_is_never_asked(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await switch.stop()
    await refunds.tell(due(order_id, intent, 500))
    await put_off(refunds, order_id)
    refund = await refund_of(staff, order_id)

    taken = await take_back(staff, refund)
    again = await take_back(staff, refund)
    await refunds.tell(due(order_id, intent, 500))
    await goes_on(refunds, stripe, switch)

    assert (taken.status, taken.body["status"], taken.body["pending_reason"]) == (200, "canceled", None)
    assert (again.status, again.body["code"], again.body["refund_status"]) == (409, "already_decided", "canceled")
    assert await state_of(refunds, order_id) == [("canceled", 500)], "and it is not owed again"
    assert await stripe.refunds_of(intent) == []
    shown = await staff.call("GET", f"{PATH}s/{refund}")
    last = shown.body["history"][-1]
    assert (last["before"], last["after"], last["actor"]) == ("approved", "canceled", "ada")
    assert last["cause"] == f"withdrawn by ada: {NOTE}"
    said = await refunds.said(external_id("ord", order_id))
    assert [one.type for one in said] == [
        "refund.requested.v1", "refund.approved.v1", "refunds.cmd.submit.v1", "refund.canceled.v1",
    ]  # fmt: skip
    assert said[-1].data["withdrawn_by"] == "ada"
    assert await refunds.owner.fetchval(PUT_OFF, [order_id]) == 0


async def test_whoever_asked_takes_back_what_another_agreed_to_and_its_money_is_refundable_again(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    asked = (await staff.ask(order_id)).body
    await switch.stop()
    await agreed(refunds, asked)
    refund = asked["refund_id"]

    roles = ("customer", "approver", "operator", "viewer")
    strangers = [await take_back(staff, refund, who="sam", role=role) for role in roles]
    colleague = await take_back(staff, refund, who="sue", role="support")
    wordless = await take_back(staff, refund, who="sam", role="support", note=" ")
    taken = await take_back(staff, refund, who="sam", role="support")

    assert {(one.status, one.body["code"]) for one in strangers} == {(403, "forbidden")}
    assert (colleague.status, colleague.body["code"]) == (403, "not_own_request")
    assert (wordless.status, wordless.body["code"]) == (422, "note_missing")
    assert (taken.status, taken.body["status"], taken.body["refundable_minor"]) == (200, "canceled", 80_000)
    assert (taken.body["decided_by"], taken.body["decision_note"], taken.body["version"]) == ("ann", "Seen.", 3)
    await goes_on(refunds, stripe, switch)
    assert await stripe.refunds_of(intent) == []
    assert (await staff.ask(order_id, amount_minor=40_000)).status == 201
    await settled(refunds, order_id, ("canceled", 80_000), ("succeeded", 40_000))
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [40_000]


async def test_what_would_become_store_credit_is_taken_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id = await paid_by_a_member(refunds, stripe, 80_000)
    asked = (await staff.ask(order_id, destination="store_credit")).body
    await stripe.arm("delay", path="/v1/disputes", method="GET", seconds=2)
    await staff.approve(asked, note="Seen.")
    await asyncio.sleep(0.5)
    await switch.stop()  # while Stripe is asked which disputes there are
    await put_off(refunds, order_id)

    taken = await take_back(staff, asked["refund_id"])
    await goes_on(refunds, stripe, switch)

    assert (taken.status, taken.body["decided_by"]) == (200, "ann")
    assert await state_of(refunds, order_id) == [("canceled", 80_000)]
    assert "store_credit.issued.v1" not in await types_said(refunds, order_id)


async def test_of_two_tenders_both_are_taken_back_or_neither(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    orders = [new_id(), new_id()]
    intents = [await stripe.captured(80_000) for _ in orders]
    asked = []
    for order_id, intent in zip(orders, intents, strict=True):
        await refunds.tell(paid_with_credit(order_id, intent, 80_000))
        asked.append((await staff.ask(order_id)).body)
    await switch.stop()
    for one in asked:
        await agreed(refunds, one)
    gone = "UPDATE refunds.refunds SET state = 'submitted', first_submitted_at = now() WHERE order_id = $1 AND payment_intent IS NULL"
    await refunds.owner.execute(gone, orders[0])

    refused, taken = [await take_back(staff, one["refund_id"]) for one in asked]

    assert (refused.status, refused.body["code"], refused.body["refund_status"]) == (
        409,
        "already_decided",
        "submitted",
    )
    assert sorted(await state_of(refunds, orders[0])) == [("approved", 80_000), ("submitted", CREDIT)]
    assert await refunds.owner.fetchval(PUT_OFF, orders[:1]) == 2
    assert (taken.status, {part["status"] for part in taken.body["parts"]}) == (200, {"canceled"})
    assert sorted(await state_of(refunds, orders[1])) == [("canceled", CREDIT), ("canceled", 80_000)]
    assert (await types_said(refunds, orders[1])).count("refund.canceled.v1") == 2
    assert await refunds.owner.fetchval(PUT_OFF, orders[1:]) == 0
    await goes_on(refunds, stripe, switch)
    await settled(refunds, orders[0], ("succeeded", 80_000), ("submitted", CREDIT))
    assert [len(await stripe.refunds_of(intent)) for intent in intents] == [1, 0]


async def test_what_stripe_was_asked_for_and_has_not_answered_is_not_taken_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await stripe.arm("delay", seconds=3)
    await refunds.tell(due(order_id, intent, 500))
    await settled(refunds, order_id, ("submitted", 500))
    await switch.stop()
    await asyncio.to_thread(refunds.deployment.kill, "refunds")  # the answer is on its way
    refunds.deployment.start("refunds")
    await asyncio.to_thread(refunds.deployment.wait_ready, "refunds")
    await put_off(refunds, order_id)

    refused = await take_back(staff, await refund_of(staff, order_id))

    assert (refused.status, refused.body["code"], refused.body["refund_status"]) == (
        409,
        "already_decided",
        "submitted",
    )
    await stripe.disarm()
    await switch.open()
    await settled(refunds, order_id, ("succeeded", 500))
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [500]


async def test_what_is_owed_is_taken_back_or_goes_back_and_never_both(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    """Refunds are opened while somebody takes back what was put off, a little later each time."""
    ends: Counter[str] = Counter()
    dead = await refunds.dead_letters()
    for turn in range(ROUNDS):
        owed = [(new_id(), await stripe.captured(500)) for _ in range(EACH)]
        await switch.stop()
        await refunds.tell(*(due(order_id, intent, 500) for order_id, intent in owed))
        await put_off(refunds, *(order_id for order_id, _ in owed))
        names = [await refund_of(staff, order_id) for order_id, _ in owed]

        async def late(number: int, name: str, turn: int = turn) -> Answer:
            await asyncio.sleep(SPREAD_SECONDS * (turn * EACH + number) / (ROUNDS * EACH))
            return await take_back(staff, name)

        opening = asyncio.create_task(switch.open())
        answers = await asyncio.gather(*(late(number, name) for number, name in enumerate(names)))
        await opening

        for (order_id, intent), answer in zip(owed, answers, strict=True):
            state = "canceled" if answer.status == 200 else "succeeded"
            assert answer.status == 200 or (answer.status, answer.body["code"]) == (409, "already_decided")
            await settled(refunds, order_id, (state, 500))
            assert [made["amount"] for made in await stripe.refunds_of(intent)] == (
                [500] if state == "succeeded" else []
            )
            said = await types_said(refunds, order_id)
            assert said == ["refund.requested.v1", "refund.approved.v1", f"refund.{state}.v1"]
            ends[state] += 1

    assert set(ends) == {"canceled", "succeeded"}, "each came first at times"
    assert refunds.deadlocks() == 0
    assert await refunds.dead_letters() == dead
    assert await refunds.owner.fetchval("SELECT count(*) FROM refunds.put_off") == 0


async def test_what_a_refund_in_the_dashboard_leaves_no_room_for_is_put_off_no_more(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    asked = (await staff.ask(order_id, amount_minor=60_000)).body
    await switch.stop()
    await agreed(refunds, asked)
    await stripe.refund_by_hand(intent, 50_000)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))

    await settled(refunds, order_id, ("canceled", 60_000), ("succeeded", 50_000))
    assert await refunds.owner.fetchval(PUT_OFF, [order_id]) == 0
    refused = await take_back(staff, asked["refund_id"])
    assert (refused.status, refused.body["refund_status"]) == (409, "canceled")


async def short_beside_staffs(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> tuple[UUID, str, Json]:
    """An order whose stock ran out while a refund of all of it, which staff had asked for, was put off."""
    order_id, intent = await paid(refunds, stripe, 80_000)
    asked = (await staff.ask(order_id)).body
    await switch.stop()
    await agreed(refunds, asked)
    await refunds.tell(shortfall(order_id))
    return order_id, intent, asked


async def test_what_staff_take_back_is_opened_where_the_system_owes_it(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    """Stock ran out while a refund of the whole order was put off, which left nothing to be owed."""
    order_id, intent, asked = await short_beside_staffs(refunds, stripe, staff, switch)
    assert await state_of(refunds, order_id) == [("approved", 80_000)]

    taken = await take_back(staff, asked["refund_id"], who="sam", role="support")
    await put_off(refunds, order_id)
    waiting = await state_of(refunds, order_id)
    await goes_on(refunds, stripe, switch)
    await settled(refunds, order_id, ("canceled", 80_000), ("succeeded", 80_000))
    await refunds.tell(shortfall(order_id))

    assert (taken.status, taken.body["status"], taken.body["refundable_minor"]) == (200, "canceled", 0)
    assert waiting == [("canceled", 80_000), ("approved", 80_000)]
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [80_000]
    assert len(await state_of(refunds, order_id)) == 2


async def test_beside_a_refund_in_the_dashboard_the_rest_of_what_staff_asked_for_is_opened_where_it_is_owed(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent, _ = await short_beside_staffs(refunds, stripe, staff, switch)
    await stripe.refund_by_hand(intent, 50_000)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))
    await goes_on(refunds, stripe, switch)

    await settled(refunds, order_id, ("canceled", 80_000), ("succeeded", 50_000), ("succeeded", 30_000))
    assert sorted(one["amount"] for one in await stripe.refunds_of(intent)) == [30_000, 50_000]


async def test_store_credit_of_which_a_part_is_taken_back_is_owed_whole(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = new_id(), await stripe.captured(160_000)
    await refunds.tell(paid_with_credit(order_id, intent, 160_000))
    first, second = [(await staff.ask(order_id, amount_minor=amount)).body for amount in (80_000, 60_000)]
    await switch.stop()
    for one in (first, second):
        await agreed(refunds, one)
    await refunds.tell(shortfall(order_id))

    taken = await take_back(staff, first["refund_id"])
    await goes_on(refunds, stripe, switch)

    async def all_is_back() -> bool:
        states = await state_of(refunds, order_id)
        return sum(amount for state, amount in states if state in ("succeeded", "submitted")) == 160_000 + CREDIT

    await eventually(all_is_back, within_seconds=30, what="all of both tenders")
    assert taken.status == 200
    assert sum(made["amount"] for made in await stripe.refunds_of(intent)) == 160_000
