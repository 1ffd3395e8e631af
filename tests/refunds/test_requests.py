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
from tests.refunds.test_system_refunds import order_paid, settled, types_said
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers
Json = dict[str, Any]
PATH = "/api/payments/refund"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as staff got it."""

    status: int
    body: Json
    raw: bytes
    replayed: bool


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
        **headers: str,
    ) -> Answer:
        token = self.refunds.deployment.keys.token(who, role, email=f"{who}@shop.example")
        sent = {"Authorization": f"Bearer {token}", **headers}
        async with self.http.request(method, path, json=body, headers=sent) as answer:
            raw = await answer.read()
            replayed = answer.headers.get("Idempotency-Replayed") == "true"
            return Answer(answer.status, await answer.json(), raw, replayed)

    async def ask(self, order_id: UUID, *, who: str = "sam", key: str | None = None, **wish: object) -> Answer:
        body = {"order_id": external_id("ord", order_id), "reason": "goodwill", **wish}
        return await self.call("POST", PATH, body, who=who, **{"Idempotency-Key": key or secrets.token_hex(12)})

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


@pytest.mark.parametrize("round_", range(3))
async def test_of_fifty_refunds_at_once_as_many_pass_as_there_is_money(
    refunds: OneService, stripe: StripeBeside, staff: Staff, round_: int
) -> None:
    order_id, intent = await paid(refunds, stripe)

    answers = await asyncio.gather(*(staff.ask(order_id, amount_minor=300) for _ in range(50)))

    assert Counter(answer.status for answer in answers) == {201: 3, 409: 47}
    refused = [answer.body for answer in answers if answer.status == 409]
    assert {(body["code"], body["refundable"]) for body in refused} == {("amount_exceeds_refundable", 100)}
    await settled(refunds, order_id, *[("succeeded", 300)] * 3)
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [300] * 3


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

    assert (early.status, early.body["refundable"]) == (409, 20_000)
    assert (ended.status, ended.body["status"], ended.body["refundable_minor"]) == (200, state, 80_000)
    assert late.status == 201
    await settled(refunds, order_id, (state, 60_000), ("succeeded", 30_000))
    assert len(await stripe.refunds_of(intent)) == 1


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


async def test_a_refund_that_is_told_before_its_payment_waits_for_it(refunds: OneService, stripe: StripeBeside) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    await stripe.refund_by_hand(intent, 400)
    (made,) = await stripe.refunds_of(intent)

    await refunds.tell(event("refund.created", made))
    await refunds.tell(order_paid(order_id, (intent, 1000)))

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
