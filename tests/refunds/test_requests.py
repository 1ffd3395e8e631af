"""People give money back through the API: exactly once, never more than was paid, with a second person where the rules
want one."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from payments_shared.contracts.stripe import EventData, StripeEvent
from payments_shared.ids import external_id, new_id
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_system_refunds import due, order_paid, settled, shortfall, state_of, types_said
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers
Json = dict[str, Any]
PATH = "/api/payments/refund"
ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as staff got it."""

    status: int
    body: Json
    raw: bytes
    replayed: bool
    decided_in_ms: float | None


@dataclass(frozen=True, slots=True)
class Staff:
    """People with tokens, at the public port."""

    refunds: OneService
    http: aiohttp.ClientSession

    async def call(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        who: str = "sam",
        role: str = "support",
        email: str | None = None,
        **headers: str,
    ) -> Answer:
        token = self.refunds.deployment.keys.token(who, role, email=email or f"{who}@shop.example")
        sent = {"Authorization": f"Bearer {token}", **headers}
        async with self.http.request(method, path, json=body, headers=sent) as answer:
            raw = await answer.read()
            replayed = answer.headers.get("Idempotency-Replayed") == "true"
            timing = answer.headers.get("Server-Timing", "").removeprefix("decision;dur=")
            return Answer(answer.status, await answer.json(), raw, replayed, float(timing) if timing else None)

    async def ask(
        self,
        order_id: UUID,
        *,
        who: str = "sam",
        role: str = "support",
        email: str | None = None,
        key: str | None = None,
        **wish: object,
    ) -> Answer:
        body = {"order_id": external_id("ord", order_id), "reason": "goodwill", **wish}
        headers = {"Idempotency-Key": key or secrets.token_hex(12)}
        return await self.call("POST", PATH, body, who=who, role=role, email=email, **headers)

    async def approve(self, refund: Json, *, who: str = "ann", role: str = "approver", **changed: object) -> Answer:
        body = {name: refund[name] for name in ("amount_minor", "currency", "version")} | changed
        return await self.call("POST", f"{PATH}s/{refund['refund_id']}/approve", body, who=who, role=role)


@pytest.fixture
async def staff(refunds: OneService) -> AsyncIterator[Staff]:
    """Whoever works at the shop."""
    async with aiohttp.ClientSession(refunds.deployment.public_url("refunds")) as http:
        yield Staff(refunds, http)


def event(type_: str, subject: Json) -> StripeEvent:
    """Stripe tells of a change of `subject`."""
    return StripeEvent(
        id="evt_" + secrets.token_hex(12), type=type_, created=1, livemode=False, data=EventData(object=subject)
    )


async def paid(refunds: OneService, stripe: StripeBeside, amount: int = 1000) -> tuple[UUID, str]:
    """An order of so much that was paid, and its intent."""
    order_id, intent = new_id(), await stripe.captured(amount)
    await refunds.tell(order_paid(order_id, (intent, amount)))
    return order_id, intent


async def test_an_amount_goes_back_at_once_and_the_answer_says_what_is_left(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)

    made = await staff.ask(order_id, amount_minor=300)
    await settled(refunds, order_id, ("succeeded", 300))
    shown = await staff.call("GET", f"{PATH}s/{made.body['refund_id']}")
    listed = await staff.call("GET", f"{PATH}s?order_id={external_id('ord', order_id)}&status=succeeded")

    assert (made.status, made.body["status"], made.body["refundable_minor"]) == (201, "approved", 700)
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [300]
    assert [step["after"] for step in shown.body["history"]] == ["approved", "submitted", "succeeded"]
    assert [one["refund_id"] for one in listed.body["refunds"]] == [made.body["refund_id"]]
    assert await types_said(refunds, order_id) == ["refund.requested.v1", "refund.approved.v1", "refund.succeeded.v1"]


async def test_of_fifty_refunds_at_once_as_many_pass_as_there_is_money(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    orders = [await paid(refunds, stripe) for _ in range(ROUNDS)]

    for order_id, _ in orders:
        answers = await asyncio.gather(*(staff.ask(order_id, who=f"sam-{n}", amount_minor=300) for n in range(50)))
        assert Counter(answer.status for answer in answers) == {201: 3, 409: 47}
        refused = [answer.body for answer in answers if answer.status == 409]
        assert {(body["code"], body["refundable"]) for body in refused} == {("amount_exceeds_refundable", 100)}

    for order_id, intent in orders:
        await settled(refunds, order_id, *[("succeeded", 300)] * 3)
        assert [r["amount"] for r in await stripe.refunds_of(intent)] == [300] * 3


async def test_of_twenty_refunds_of_forty_dollars_on_a_hundred_two_pass(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 10_000)

    admins = [f"admin-{number}" for number in range(20)]
    answers = await asyncio.gather(*(staff.ask(order_id, who=who, role="admin", amount_minor=4000) for who in admins))

    assert Counter(answer.status for answer in answers) == {201: 2, 409: 18}
    assert {answer.body["refundable"] for answer in answers if answer.status == 409} == {2000}
    await settled(refunds, order_id, *[("succeeded", 4000)] * 2)
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [4000] * 2


async def test_one_key_is_one_refund_and_two_keys_are_two(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, _ = await paid(refunds, stripe)

    same = await asyncio.gather(*(staff.ask(order_id, key="the-same-key", amount_minor=200) for _ in range(20)))
    other = await staff.ask(order_id, amount_minor=200)
    changed = await staff.ask(order_id, key="the-same-key", amount_minor=201)
    somebody = await staff.ask(order_id, who="sue", key="the-same-key", amount_minor=200)

    assert {answer.status for answer in same} == {201}
    assert len({answer.raw for answer in same}) == 1
    assert [answer.decided_in_ms is None for answer in same] == [answer.replayed for answer in same]
    assert Counter(answer.replayed for answer in same) == {True: 19, False: 1}
    assert (other.status, changed.status, changed.body["code"], somebody.status) == (
        201,
        422,
        "idempotency_mismatch",
        201,
    )
    await settled(refunds, order_id, *[("succeeded", 200)] * 3)


async def test_above_a_limit_another_person_agrees_and_nobody_to_his_own(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    refund = (await staff.ask(order_id, amount_minor=60_000)).body
    before = await stripe.refunds_of(intent)

    own = [
        await staff.approve(refund, who="sam"),
        await staff.approve(refund, who="SAM"),
        await staff.approve(refund, who="sam", role="support"),
        await staff.approve(refund, who="sam", role="admin"),
        await staff.call("POST", f"{PATH}s/{refund['refund_id']}/reject", {}, who="sam", role="approver"),
    ]
    changed = [
        await staff.approve(refund, amount_minor=59_999),
        await staff.approve(refund, currency="eur"),
        await staff.approve(refund, version=2),
    ]
    agreed = await staff.approve(refund, note="Seen the parcel.")
    twice = await staff.approve(agreed.body, who="abe")
    withdrawn = await staff.call("POST", f"{PATH}s/{refund['refund_id']}/cancel", {})

    assert (refund["status"], refund["needs"]) == ("awaiting_approval", ["per_refund"])
    assert before == []
    assert [(answer.status, answer.body["code"]) for answer in own] == [
        (403, "own_request"), (403, "own_request"), (403, "forbidden"), (403, "forbidden"), (403, "own_request"),
    ]  # fmt: skip
    assert {(answer.status, answer.body["code"]) for answer in changed} == {(409, "refund_changed")}
    assert (agreed.status, agreed.body["status"], agreed.body["decided_by"]) == (200, "approved", "ann")
    assert (twice.status, twice.body["code"]) == (409, "already_decided")
    assert (withdrawn.status, withdrawn.body["code"]) == (409, "already_decided")
    await settled(refunds, order_id, ("succeeded", 60_000))


async def test_of_many_orders_at_once_one_operator_and_one_buyer_get_no_more_alone_than_the_limits_say(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    """The operator's limit of a day is ten times that of one refund, the buyer's of a month four times."""
    orders = [await paid(refunds, stripe, 50_000) for _ in range(14)]
    of_one_buyer = [(new_id(), await stripe.captured(50_000)) for _ in range(8)]
    customer = order_paid(of_one_buyer[0][0]).customer
    bought = [order_paid(order_id, (intent, 50_000)) for order_id, intent in of_one_buyer]
    await refunds.tell(*(message.model_copy(update={"customer": customer}) for message in bought))

    by_one = await asyncio.gather(*(staff.ask(order_id, who="rob", amount_minor=50_000) for order_id, _ in orders))
    for_one = await asyncio.gather(
        *(staff.ask(order_id, who=f"eve-{n}", amount_minor=50_000) for n, (order_id, _) in enumerate(of_one_buyer))
    )

    assert Counter(tuple(answer.body["needs"]) for answer in by_one) == {(): 10, ("per_operator_day",): 4}
    alone = Counter("per_customer_month" in answer.body["needs"] for answer in for_one)
    assert alone == {False: 4, True: 4}


async def test_one_person_has_the_limit_of_a_day_once_under_all_of_his_accounts(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    """It is ten times that of one refund. Fourteen times he asks at once, under two subjects with one mailbox."""
    name = f"rob-{secrets.token_hex(4)}"
    orders = [await paid(refunds, stripe, 50_000) for _ in range(16)]

    async def ask(order: tuple[UUID, str], who: str, email: str) -> tuple[str, ...]:
        answer = await staff.ask(order[0], who=who, email=email, amount_minor=50_000)
        return tuple(answer.body["needs"])

    at_once = await asyncio.gather(
        *(ask(order, f"u-{n % 2}-{name}", f"{name}+{n}@shop.example") for n, order in enumerate(orders[:14]))
    )
    by_subject = await ask(orders[14], f"{name.upper()}@Shop.example", f"another-{name}@shop.example")
    by_another = await ask(orders[15], f"u-2-{name}", f"another-{name}@mail.example")

    assert Counter(at_once) == {(): 10, ("per_operator_day",): 4}
    assert (by_subject, by_another) == (("per_operator_day",), ())


@pytest.mark.parametrize("known_by", ["account", "tag"])
async def test_a_buyer_with_many_addresses_gets_no_more_alone_than_the_limit_of_a_month(
    refunds: OneService, stripe: StripeBeside, staff: Staff, known_by: str
) -> None:
    name = secrets.token_hex(8)
    asked = []
    for turn in range(5):
        order_id, intent = new_id(), await stripe.captured(50_000)
        message = order_paid(order_id, (intent, 50_000))
        tagged = f"{name}+{turn}@Example.com" if turn else f"{name}@example.com"
        changed = {"account": name} if known_by == "account" else {"email": tagged}
        await refunds.tell(message.model_copy(update={"customer": message.customer.model_copy(update=changed)}))
        asked.append(await staff.ask(order_id, who=f"liz-{name}-{turn}", amount_minor=50_000))

    assert [tuple(answer.body["needs"]) for answer in asked] == [(), (), (), (), ("per_customer_month",)]


@pytest.mark.parametrize(
    "ending", [("reject", "approver", "rejected"), ("cancel", "support", "canceled")], ids=lambda ending: ending[0]
)
async def test_what_waits_counts_as_spent_until_it_is_refused_or_taken_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff, ending: tuple[str, str, str]
) -> None:
    decision, role, state = ending
    order_id, intent = await paid(refunds, stripe, 80_000)
    refund = (await staff.ask(order_id, amount_minor=60_000)).body
    early = await staff.ask(order_id, amount_minor=30_000)

    ended = await staff.call("POST", f"{PATH}s/{refund['refund_id']}/{decision}", {"note": "No."}, who="ann", role=role)
    late = await staff.ask(order_id, amount_minor=30_000)
    shown = await staff.call("GET", f"{PATH}s/{refund['refund_id']}")
    ends = [one for one in await refunds.said(external_id("ord", order_id)) if one.type == f"refund.{state}.v1"]

    assert (early.status, early.body["refundable"]) == (409, 20_000)
    assert [(answer.body["version"], answer.body["decision_note"]) for answer in (ended, shown)] == [(2, "No.")] * 2
    assert [one.data.get("withdrawn_by") for one in ends] == ["ann" if decision == "cancel" else None]
    assert (ended.status, ended.body["status"], ended.body["refundable_minor"]) == (200, state, 80_000)
    assert late.status == 201
    await settled(refunds, order_id, (state, 60_000), ("succeeded", 30_000))
    assert len(await stripe.refunds_of(intent)) == 1


async def test_what_the_system_owes_goes_back_although_a_wish_for_it_waits(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    waits = (await staff.ask(order_id, amount_minor=60_000)).body

    await refunds.tell(shortfall(order_id))
    await settled(refunds, order_id, ("canceled", 60_000), ("succeeded", 80_000))
    late = await staff.call("POST", f"{PATH}s/{waits['refund_id']}/reject", {"note": "No."}, who="ann", role="approver")

    assert (late.status, late.body["code"]) == (409, "already_decided")
    assert [one["amount"] for one in await stripe.refunds_of(intent)] == [80_000]


async def paid_with_credit(refunds: OneService, amount_minor: int) -> UUID:
    """An order of a customer with an account, for which store credit alone paid."""
    order_id = new_id()
    message = order_paid(order_id, ("x", amount_minor))
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    credit = {"payments": (), "store_credit_minor": amount_minor, "customer": customer}
    await refunds.tell(message.model_copy(update=credit))
    return order_id


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ([60_000], [("canceled", 60_000)]),  # checkout gives the whole back by itself
        ([10_000, 60_000], [("submitted", 10_000), ("canceled", 60_000), ("submitted", 70_000)]),
    ],
)
async def test_after_a_shortfall_store_credit_goes_back_although_a_wish_for_it_waits(
    refunds: OneService, staff: Staff, asked: list[int], left: list[tuple[str, int]]
) -> None:
    order_id = await paid_with_credit(refunds, 80_000)
    for amount_minor in asked:
        waits = (await staff.ask(order_id, amount_minor=amount_minor)).body

    await refunds.tell(shortfall(order_id), shortfall(order_id))
    await settled(refunds, order_id, *left)
    late = await staff.call("POST", f"{PATH}s/{waits['refund_id']}/reject", {"note": "No."}, who="ann", role="approver")

    assert (late.status, late.body["code"]) == (409, "already_decided")


async def test_a_cause_that_is_told_again_takes_no_room_of_what_waits(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    await refunds.tell(due(order_id, intent, 10_000, "amount_mismatch"))
    await settled(refunds, order_id, ("succeeded", 10_000))
    await staff.ask(order_id, amount_minor=65_000)

    await refunds.tell(due(order_id, intent, 10_000, "amount_mismatch"))

    assert sorted(await state_of(refunds, order_id)) == [("awaiting_approval", 65_000), ("succeeded", 10_000)]


async def test_after_a_shortfall_the_rest_of_store_credit_goes_back_where_staff_gave_some_of_it_back(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(10_000)
    message = order_paid(order_id, (intent, 11_500))
    payment = message.payments[0].model_copy(update={"amount_minor": 10_000})
    customer = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    credit = {"payments": (payment,), "store_credit_minor": 1500, "customer": customer}
    await refunds.tell(message.model_copy(update=credit))
    await staff.ask(order_id, amount_minor=2300)
    await settled(refunds, order_id, ("succeeded", 2000), ("submitted", 300))

    await refunds.tell(shortfall(order_id))

    await settled(refunds, order_id, ("succeeded", 2000), ("submitted", 300), ("succeeded", 8000), ("submitted", 1200))


async def test_a_refund_made_in_the_dashboard_is_known_within_one_event(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)
    await stripe.refund_by_hand(intent, 400)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made), event("refund.updated", made))
    await settled(refunds, order_id, ("succeeded", 400))
    over = await staff.ask(order_id, amount_minor=601)
    listed = await staff.call("GET", f"{PATH}s?order_id={external_id('ord', order_id)}")
    of_stripe = await staff.call("GET", f"{PATH}s?origin=stripe&limit=100")
    of_people = await staff.call("GET", f"{PATH}s?origin=person&limit=100")

    ours = listed.body["refunds"][0]["refund_id"]
    assert ours in [one["refund_id"] for one in of_stripe.body["refunds"]]
    assert {one["origin"] for one in of_stripe.body["refunds"]} == {"stripe"}
    assert ours not in [one["refund_id"] for one in of_people.body["refunds"]]
    assert (over.status, over.body["refundable"]) == (409, 600)
    assert [(one["origin"], one["requester"]) for one in listed.body["refunds"]] == [("stripe", "stripe:dashboard")]


async def test_a_dashboard_that_leaves_no_room_ends_what_was_promised(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    await staff.ask(order_id, amount_minor=60_000)
    await stripe.refund_by_hand(intent, 50_000)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))

    await settled(refunds, order_id, ("canceled", 60_000), ("succeeded", 50_000))


async def test_a_second_refund_at_stripe_that_bears_the_same_name_is_counted_beside_the_first(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)
    ours = (await staff.ask(order_id, amount_minor=300)).body
    await settled(refunds, order_id, ("succeeded", 300))
    await stripe.refund_by_hand(intent, 300, refund_id=ours["refund_id"])
    made = await stripe.refunds_of(intent)

    for one in made:
        await refunds.tell(event("refund.created", one), event("refund.updated", one))
    over = await staff.ask(order_id, amount_minor=401)

    assert len({one["id"] for one in made}) == 2
    assert (over.status, over.body["refundable"]) == (409, 400)
    await settled(refunds, order_id, ("succeeded", 300), ("succeeded", 300))


async def test_an_answer_that_comes_after_another_refund_of_the_same_name_is_counted_as_well(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)
    await stripe.arm("delay", seconds=3)
    ours = (await staff.ask(order_id, amount_minor=300)).body

    async def asked() -> list[Json]:
        return await stripe.refunds_of(intent)

    (first,) = await eventually(asked, within_seconds=10, what="our refund at Stripe")
    await stripe.refund_by_hand(intent, 300, refund_id=ours["refund_id"])
    second = next(one for one in await asked() if one["id"] != first["id"])
    await refunds.tell(event("refund.created", second))

    await settled(refunds, order_id, ("succeeded", 300), ("succeeded", 300))
    shown = await staff.call("GET", f"{PATH}s/{ours['refund_id']}")
    assert shown.body["refundable_minor"] == 400


async def test_what_stripe_gave_back_in_the_name_of_a_refund_that_waits_is_counted(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 80_000)
    waits = (await staff.ask(order_id, amount_minor=60_000)).body
    await stripe.refund_by_hand(intent, 60_000, refund_id=waits["refund_id"])
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))

    await settled(refunds, order_id, ("canceled", 60_000), ("succeeded", 60_000))
    over = await staff.ask(order_id, amount_minor=20_001)
    assert (over.status, over.body["refundable"]) == (409, 20_000)


async def test_two_tellings_of_a_dashboard_refund_at_once_count_it_once(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe, 100_000)
    await staff.ask(order_id, amount_minor=60_000)
    await stripe.refund_by_hand(intent, 40_000)
    (made,) = await stripe.refunds_of(intent)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"

    async def both_wait() -> bool:
        return bool(await refunds.owner.fetchval(waiting) >= 2)

    async with refunds.owner.acquire() as other, other.transaction():
        await other.execute("SELECT FROM refunds.orders WHERE order_id = $1 FOR UPDATE", order_id)
        told = [await refunds.say(event(kind, made)) for kind in ("refund.created", "refund.updated")]
        await eventually(both_wait, within_seconds=10, what="two tellings that wait for the order")
    await refunds.heard(*told)

    await settled(refunds, order_id, ("awaiting_approval", 60_000), ("succeeded", 40_000))


async def test_a_refund_that_is_told_before_its_payment_waits_for_it(refunds: OneService, stripe: StripeBeside) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 400)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))
    await refunds.tell(order_paid(order_id, (intent, 1000)))

    await settled(refunds, order_id, ("succeeded", 400))


@pytest.mark.parametrize("turn", range(2))
async def test_a_refund_that_is_told_while_its_payment_becomes_known_is_not_lost(
    refunds: OneService, stripe: StripeBeside, turn: int
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 400)
    (made,) = await stripe.refunds_of(intent)
    messages = (event("refund.created", made), order_paid(order_id, (intent, 1000)))

    async def both_wait() -> bool:
        return bool(await refunds.owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") >= 2)

    async with refunds.owner.acquire() as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock(hashtextextended('payment:' || $1, 0))", intent)
        told = [await refunds.say(messages[index]) for index in (turn, 1 - turn)]
        await eventually(both_wait, within_seconds=10, what="both, which wait for the payment")
    await refunds.heard(*told)

    await settled(refunds, order_id, ("succeeded", 400))


async def test_a_success_that_the_bank_takes_back_is_told_by_its_event(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = await paid(refunds, stripe)
    asked = await staff.ask(order_id, amount_minor=600)
    await settled(refunds, order_id, ("succeeded", 600))
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.failed", {**made, "status": "failed", "failure_reason": "lost_or_stolen_card"}))
    await settled(refunds, order_id, ("failed", 600))
    shown = await staff.call("GET", f"{PATH}s/{asked.body['refund_id']}")

    assert (shown.body["status"], shown.body["refundable_minor"]) == ("failed", 1000)
    assert (await types_said(refunds, order_id))[-1] == "refund.failed.v1"


async def test_a_charge_that_was_refunded_more_than_is_known_is_asked_after(
    refunds: OneService, stripe: StripeBeside
) -> None:
    order_id, intent = await paid(refunds, stripe)
    await stripe.refund_by_hand(intent, 250)
    charge = {
        "id": "ch_x",
        "object": "charge",
        "status": "succeeded",
        "created": 1,
        "payment_intent": intent,
        "amount_refunded": 250,
    }

    await refunds.tell(event("charge.refunded", charge))

    await settled(refunds, order_id, ("succeeded", 250))


@pytest.mark.parametrize(
    "waits",
    [("LacksFunds", "pending", "insufficient_funds"), ("AsksBuyer", "requires_action", None)],
    ids=lambda waits: waits[0],
)
async def test_what_waits_for_somebody_says_why_and_is_told_once(
    refunds: OneService, stripe: StripeBeside, staff: Staff, waits: tuple[str, str, str | None]
) -> None:
    name, status, reason = waits
    order_id, intent = new_id(), await stripe.captured(1000, card=f"pm_card_refund{name}")
    await refunds.tell(order_paid(order_id, (intent, 1000)))

    asked = await staff.ask(order_id, amount_minor=400)
    await settled(refunds, order_id, (status, 400))
    (made,) = await stripe.refunds_of(intent)
    await refunds.tell(event("refund.created", made), event("refund.updated", made))
    before = await staff.call("GET", f"{PATH}s/{asked.body['refund_id']}")
    await refunds.tell(event("refund.updated", await stripe.move_refund(made["id"], "succeeded")))
    await settled(refunds, order_id, ("succeeded", 400))
    over = await staff.call("GET", f"{PATH}s/{asked.body['refund_id']}")

    (part,), (done,) = before.body["parts"], over.body["parts"]
    assert (part["status"], part["pending_reason"]) == (status, reason)
    assert (part["action_expires_at"] is not None) is (status == "requires_action")
    assert (done["pending_reason"], done["action_expires_at"]) == (None, None)
    assert (await types_said(refunds, order_id)).count("refund.pending.v1") == 1


async def test_who_leaves_a_rule_out_resets_nothing_unseen(refunds: OneService) -> None:
    admin, url = refunds.person("admin", subject="root"), f"{refunds.url}/admin/refund-rules"
    async with aiohttp.ClientSession(headers=admin) as http:
        before = await (await http.get(url)).json()
        pointers = {}
        for name in before:
            rest = {member: value for member, value in before.items() if member != name}
            async with http.put(url, json={**rest, "reason": "Without one."}) as answer:
                assert answer.status == 422, name
                pointers[name] = [error["pointer"] for error in (await answer.json())["errors"]]
        after = await (await http.get(url)).json()

    assert pointers == {name: [f"/{name}"] for name in before}
    assert {"window_days", "final_sale"} <= before.keys()
    assert after == before


@pytest.mark.parametrize("known_by", ["subject", "address"])
async def test_who_loosens_a_rule_spares_others_the_second_person_and_not_himself(
    refunds: OneService, stripe: StripeBeside, staff: Staff, known_by: str
) -> None:
    """Under whichever of his names he did it: his address as a subject, or another account with that address."""
    carol, url = f"carol-{secrets.token_hex(4)}", f"{refunds.url}/admin/refund-rules"
    mailbox, opaque = f"{carol.upper()}+x@shop.example", known_by == "address"
    order_id, _ = await paid(refunds, stripe, 120_000)
    maker, asker = (f"u-17-{carol}", f"u-42-{carol}") if opaque else (mailbox, carol)
    token = refunds.deployment.keys.token(maker, "admin", email=mailbox if opaque else None)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        before = await (await http.get(url)).json()
        loose = {**before, "per_refund": {**before["per_refund"], "usd": 100_000}, "reason": "It takes too long."}
        made = await http.put(url, json=loose)
    own = await staff.ask(order_id, who=asker, role="admin", email=f"{carol}@shop.example", amount_minor=50_001)
    others = await staff.ask(order_id, who="sue", amount_minor=50_002)
    async with aiohttp.ClientSession(headers=refunds.person("admin", subject="root")) as http:
        back = await http.put(url, json={**before, "version": before["version"] + 1, "reason": "As it was."})

    assert (made.status, back.status, before["per_refund"]["usd"]) == (200, 200, 50_000)
    assert (own.body["status"], own.body["needs"]) == ("awaiting_approval", ["per_refund"])
    assert (others.body["status"], others.body["needs"]) == ("approved", [])


async def test_rules_bind_from_their_change_on_and_each_change_is_kept(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    admin, url = refunds.person("admin", subject="root"), f"{refunds.url}/admin/refund-rules"
    async with aiohttp.ClientSession(headers=admin) as http:
        before = await (await http.get(url)).json()
        wanted = {**before, "per_refund": {**before["per_refund"], "usd": 100}, "reason": "Carefully."}
        answers = await asyncio.gather(*(http.put(url, json=wanted) for _ in range(5)))
        order_id, _ = await paid(refunds, stripe)
        asked = await staff.ask(order_id, amount_minor=101)
        final = {**wanted, "version": before["version"] + 1, "final_sale": ["MUG"], "window_days": 1}
        await http.put(url, json=final)
        old = await staff.ask(order_id, amount_minor=1)
        await http.put(url, json={**final, "version": before["version"] + 2, "window_days": None})
        sold = await staff.ask(order_id, lines=[{"line": 0, "quantity": 1}])
        await http.put(url, json={**before, "version": before["version"] + 3, "reason": "As it was."})
        changes = (await (await http.get(f"{url}/changes")).json())["changes"]

    assert Counter(answer.status for answer in answers) == {200: 1, 409: 4}
    assert (asked.body["status"], asked.body["needs"]) == ("awaiting_approval", ["per_refund"])
    assert (old.status, old.body["code"]) == (422, "outside_window")
    assert (sold.status, sold.body["code"], sold.body["skus"]) == (422, "final_sale", ["MUG"])
    latest = changes[3]
    assert (latest["actor"], latest["reason"]) == ("root", "Carefully.")
    assert latest["before"]["per_refund"] == before["per_refund"]
    assert latest["rules"]["per_refund"]["usd"] == 100
