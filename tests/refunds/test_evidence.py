"""Staff see what proves a disputed payment, and hand it in: once, as it was looked at, whatever happens on the way."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from payments_shared.contracts import checkout, fulfillment, notifications
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import external_id, new_id
from refunds.model.packs import Pack
from refunds.routes.printing import print_pack
from sandbox.services.children import clean_environment
from sandbox.services.resolver import Servers
from tests.refunds.stripe import Json, StripeBeside
from tests.refunds.test_requests import Answer, Staff, event
from tests.refunds.test_system_refunds import buyer, order_paid
from tests.support import documented
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers
POINTS = ("after_evidence_file", "before_evidence", "after_evidence")


@dataclass(frozen=True, slots=True)
class Desk:
    """Staff before one disputed payment."""

    staff: Staff
    stripe: StripeBeside
    order_id: UUID
    intent: str
    dispute_id: str

    @property
    def path(self) -> str:
        return f"/api/payments/disputes/{self.dispute_id}/evidence"

    async def pack(self) -> Json:
        """The pack as it stands."""
        answer = await self.staff.call("GET", self.path)
        assert answer.status == 200, answer
        return dict(answer.body["pack"])

    async def hand_in(
        self,
        digest: str | None = None,
        *,
        key: str | None = None,
        submit: bool = True,
        role: str = "admin",
        **texts: str,
    ) -> Answer:
        """Hand in the pack that is shown, or that of `digest`."""
        digest = digest or (await self.pack())["digest"]
        body: Json = {"digest": digest, "submit": submit, "reason": "It was delivered."}
        body |= {"texts": texts} if texts else {}
        headers = {"Idempotency-Key": key or secrets.token_hex(12)}
        return await self.staff.call("POST", self.path, body, who="ada", role=role, **headers)

    async def submissions(self) -> list[Json]:
        """What was handed in, the newest first."""
        return list((await self.staff.call("GET", self.path)).body["submissions"])

    async def settled(self, *statuses: str) -> None:
        """Wait until everything that was handed in has these statuses, the newest first."""

        async def reached() -> bool:
            return [one["status"] for one in await self.submissions()] == list(statuses)

        await eventually(reached, within_seconds=40, what=f"submissions {statuses} of {self.dispute_id}")

    async def known_as(self, status: str) -> None:
        """Wait until the dispute is known with Stripe's `status`."""
        await known(self.staff.refunds, self.dispute_id, status)


async def known(refunds: OneService, dispute_id: str, status: str) -> None:
    async def asked() -> bool:
        sql = "SELECT stripe_status FROM refunds.disputes WHERE id = $1"
        return bool(await refunds.owner.fetchval(sql, dispute_id) == status)

    await eventually(asked, within_seconds=20, what=f"{dispute_id} {status}")


async def desk_of(refunds: OneService, stripe: StripeBeside, staff: Staff, **dispute: Any) -> Desk:
    """An order that was placed, paid, sent and disputed."""
    order_id, intent, shipment_id = new_id(), await stripe.captured(10_000), new_id()
    about = {"order_id": order_id, "shipment_id": shipment_id}
    placed = checkout.OrderPlaced(
        order_id=order_id, currency="usd", subtotal_minor=10_000, discount_minor=0, total_minor=10_000, lines=(),
        customer=buyer(order_id), expires_at="2026-01-01T00:00:00Z",
        client=checkout.Client(address="203.0.113.7", user_agent="Mozilla/5.0"),
    )  # fmt: skip
    mail = notifications.NotificationSent(
        mail_id=new_id(), kind="order_confirmation", ref="1", order_id=order_id, message_id="<1@shop.example>",
        recipient=buyer(order_id).email,
    )  # fmt: skip
    await refunds.tell(
        placed,
        order_paid(order_id, (intent, 10_000)),
        fulfillment.ShipmentCreated(lines=(StockLine(sku="MUG", quantity=1),), **about),
        fulfillment.ShipmentShipped(carrier="Post", tracking_number="RR123", **about),
        fulfillment.ShipmentDelivered(**about),
        mail,
    )
    made = await stripe.disputed(intent, **dispute)
    await refunds.tell(event("charge.dispute.created", made))
    await known(refunds, made["id"], made["status"])
    return Desk(staff, stripe, order_id, intent, made["id"])


@pytest.fixture
async def staff(refunds: OneService) -> AsyncIterator[Staff]:
    """Whoever works at the shop."""
    async with aiohttp.ClientSession(refunds.deployment.public_url("refunds")) as http:
        yield Staff(refunds, http)


@pytest.fixture
async def desk(refunds: OneService, stripe: StripeBeside, staff: Staff) -> Desk:
    """A payment that is disputed as fraudulent."""
    return await desk_of(refunds, stripe, staff)


async def test_the_pack_has_what_was_heard_of_the_order_and_prints_as_the_bank_gets_it(desk: Desk) -> None:
    answer = await desk.staff.call("GET", desk.path)
    again = await desk.staff.call("GET", desk.path)
    token = desk.staff.refunds.deployment.keys.token("sam", "support")
    async with desk.staff.http.get(f"{desk.path}.pdf", headers={"Authorization": f"Bearer {token}"}) as printed:
        document = await printed.read()

    assert documented.errors("refunds", _schema(), answer.body, "body") == []
    assert again.body == answer.body
    pack = answer.body["pack"]
    assert (pack["order"]["order_id"], pack["order"]["ip_address"]) == (
        external_id("ord", desk.order_id),
        "203.0.113.7",
    )
    assert [charge["disputed"] for charge in pack["charges"]] == [True]
    assert [parcel["tracking_number"] for parcel in pack["parcels"]] == ["RR123"]
    assert [mail["recipient"] for mail in pack["mails"]] == [buyer(desk.order_id).email]
    assert pack["evidence"]["customer_purchase_ip"] == "203.0.113.7"
    assert (printed.status, printed.content_type) == (200, "application/pdf")
    assert document == await asyncio.to_thread(print_pack, Pack.model_validate(pack))


def _schema() -> Json:
    answers = documented.document("refunds")["paths"]["/api/payments/disputes/{dispute_id}/evidence"]["get"][
        "responses"
    ]
    return dict(answers["200"]["content"]["application/json"]["schema"])


async def test_what_is_handed_in_is_kept_with_its_person_and_is_what_stripe_gets(desk: Desk) -> None:
    pack = await desk.pack()

    made = await desk.hand_in(pack["digest"], key="the-same-key", customer_name="Ada Lovelace")
    again = await desk.hand_in(pack["digest"], key="the-same-key", customer_name="Ada Lovelace")
    await desk.settled("taken")
    await desk.known_as("under_review")
    twice = await desk.hand_in(pack["digest"])

    assert (made.status, again.raw, again.replayed) == (202, made.raw, True)
    [kept] = await desk.submissions()
    assert (kept["actor"], kept["reason"], kept["digest"]) == ("ada", "It was delivered.", pack["digest"])
    there = await desk.stripe.dispute(desk.dispute_id)
    sent = {**pack["evidence"], "customer_name": "Ada Lovelace"}
    got = {name: text for name, text in there["evidence"].items() if text}
    assert got == {**sent, "uncategorized_file": kept["file_id"]}
    assert there["evidence_details"]["submission_count"] == 1
    assert await desk.stripe.file(kept["file_id"]) == await asyncio.to_thread(
        print_pack, Pack.model_validate({**pack, "evidence": sent})
    )
    assert (twice.status, twice.body["code"]) == (409, "evidence_submitted")


async def test_nothing_is_handed_in_that_nobody_looked_at(desk: Desk) -> None:
    seen = (await desk.pack())["digest"]
    shipped = fulfillment.ShipmentReturned(order_id=desk.order_id, shipment_id=new_id(), lines=())
    await desk.staff.refunds.tell(shipped)

    refused = await desk.hand_in(seen)
    no_admin = await desk.hand_in(role="support")

    assert (refused.status, refused.body["code"]) == (409, "evidence_changed")
    assert (no_admin.status, no_admin.body["code"]) == (403, "forbidden")
    assert await desk.submissions() == []


async def test_of_ten_people_at_once_one_hands_it_in(desk: Desk) -> None:
    digest = (await desk.pack())["digest"]

    answers = await asyncio.gather(*(desk.hand_in(digest) for _ in range(10)))
    await desk.settled("taken")

    assert Counter(answer.status for answer in answers) == {202: 1, 409: 9}
    assert (await desk.stripe.dispute(desk.dispute_id))["evidence_details"]["submission_count"] == 1


async def test_of_evidence_from_long_ago_the_digest_is_left_once_the_dispute_is_decided(desk: Desk) -> None:
    """And of a card that paid long ago, nothing; how it was charged stays."""
    owner = desk.staff.refunds.owner
    await desk.hand_in()
    await desk.settled("taken")
    await desk.known_as("under_review")
    old = "UPDATE refunds.submissions SET settled_at = payments.business_now() - interval '541 days' WHERE dispute_id = $1"
    await owner.execute(old, desk.dispute_id)
    card = (
        "INSERT INTO refunds.charges VALUES ($1, 'card', 'a hash', payments.business_now() - make_interval(days => $2))"
        " ON CONFLICT (payment_intent) DO UPDATE SET card = excluded.card, charged_at = excluded.charged_at"
    )
    for intent, days in ((f"{desk.intent}_old", 401), (f"{desk.intent}_young", 399)):
        await owner.execute(card, intent, days)
    cards = (
        "SELECT card, method_type FROM refunds.charges WHERE payment_intent LIKE $1 || '\\_%' ORDER BY payment_intent"
    )

    async def forgotten() -> bool:
        return (await owner.fetch(cards, desk.intent))[0]["card"] is None

    await eventually(forgotten, what="the card of old")  # one round forgets both, evidence first
    [before] = await desk.submissions()
    won = "UPDATE refunds.disputes SET state = 'won', closed_at = payments.business_now() WHERE id = $1"
    await owner.execute(won, desk.dispute_id)

    async def bare() -> bool:
        return [one["evidence"] for one in await desk.submissions()] == [{}]

    await eventually(bare, what="evidence that is forgotten")
    [after] = await desk.submissions()
    assert before["evidence"] != {}
    assert after == {**before, "evidence": {}}
    assert [tuple(row) for row in await owner.fetch(cards, desk.intent)] == [(None, "card"), ("a hash", "card")]


async def test_evidence_lies_ready_first_and_is_sent_later(desk: Desk) -> None:
    staged = await desk.hand_in(submit=False)
    await desk.settled("taken")
    lying = await desk.stripe.dispute(desk.dispute_id)
    sent = await desk.hand_in()
    await desk.settled("taken", "taken")

    assert (staged.status, staged.body["submit"], sent.body["submit"]) == (202, False, True)
    assert (lying["status"], lying["evidence_details"]["has_evidence"]) == ("needs_response", True)
    assert (await desk.stripe.dispute(desk.dispute_id))["status"] == "under_review"


async def test_what_was_answered_as_an_inquiry_is_answered_again_as_a_dispute(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    desk = await desk_of(refunds, stripe, staff, inquiry=True, reason="product_not_received")
    await desk.hand_in()
    await desk.settled("taken")
    await desk.known_as("warning_under_review")
    twice = await desk.hand_in()

    await stripe.escalated(desk.dispute_id)
    await refunds.tell(event("charge.dispute.updated", await stripe.dispute(desk.dispute_id)))
    await desk.known_as("needs_response")
    again = await desk.hand_in()
    await desk.settled("taken", "taken")

    assert (twice.body["code"], again.status) == ("evidence_submitted", 202)
    assert (await stripe.dispute(desk.dispute_id))["status"] == "under_review"


async def test_after_its_day_and_after_the_decision_nothing_is_handed_in(desk: Desk) -> None:
    owner = desk.staff.refunds.owner
    await owner.execute("UPDATE refunds.disputes SET past_due = true WHERE id = $1", desk.dispute_id)
    late = await desk.hand_in()
    await desk.stripe.decided(desk.dispute_id, won=False)
    await desk.staff.refunds.tell(event("charge.dispute.closed", await desk.stripe.dispute(desk.dispute_id)))
    await desk.known_as("lost")
    decided = await desk.hand_in()

    assert (late.status, late.body["code"]) == (409, "too_late")
    assert (decided.status, decided.body["code"], decided.body["dispute_status"]) == (409, "dispute_closed", "lost")


async def test_a_no_of_stripes_is_kept_with_its_code(desk: Desk) -> None:
    digest = (await desk.pack())["digest"]
    await desk.stripe.decided(desk.dispute_id, won=True)  # nobody has told us yet

    await desk.hand_in(digest)
    await desk.settled("refused")
    await desk.known_as("won")

    [kept] = await desk.submissions()
    assert kept["refusal"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("kind", "path", "count"),
    [
        ("cut_after", "/v1/files", 2),
        ("cut_after", "/v1/disputes", 2),
        ("error_500", "/v1/files", 1),
        ("error_500", "/v1/disputes", 1),
        ("html_502", "/v1/disputes", 3),
    ],
)
async def test_an_answer_that_is_lost_is_asked_for_and_nothing_is_sent_twice(
    desk: Desk, kind: str, path: str, count: int
) -> None:
    await desk.pack()
    await desk.stripe.arm(kind, path, count=count)

    await desk.hand_in()
    await desk.settled("taken")

    assert await desk.stripe.struck() == count
    [kept] = await desk.submissions()
    there = await desk.stripe.dispute(desk.dispute_id)
    assert there["evidence_details"]["submission_count"] == 1
    assert there["evidence"]["uncategorized_file"] == kept["file_id"]


async def test_payctl_shows_it_and_hands_it_in_by_its_digest(desk: Desk, tmp_path: Path) -> None:
    deployed, token = desk.staff.refunds.deployment, tmp_path / "token"
    token.write_text(deployed.keys.token("olga", "admin"))

    async def payctl(*arguments: str) -> tuple[int, str]:
        environment = {"PAYMENTS_PUBLIC_URL": deployed.public_url("refunds"), "PAYMENTS_TOKEN_FILE": str(token)}
        command = [sys.executable, "-m", "operations.payctl", *arguments]
        done = await asyncio.to_thread(
            subprocess.run, command, env=clean_environment(**environment), capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    pdf, everything, words = (tmp_path / name for name in ("out.pdf", "out.json", "words.json"))
    shown = await payctl("dispute-evidence", desk.dispute_id, "--pdf", str(pdf), "--json", str(everything))
    pack = json.loads(everything.read_text(encoding="utf-8"))["pack"]
    words.write_text(json.dumps({"customer_name": "Ada, as she signed"}))
    submit = ("dispute-submit", desk.dispute_id, "--reason", "Delivered.", "--texts", str(words), "--digest")
    wrong = await payctl(*submit, "0" * 64)
    first = await payctl(*submit, pack["digest"])
    again = await payctl(*submit, pack["digest"])
    await desk.settled("taken")

    assert shown[0] == 0
    assert pack["digest"] in shown[1]
    assert pdf.read_bytes() == await asyncio.to_thread(print_pack, Pack.model_validate(pack))
    assert (wrong[0], wrong[1].partition(":")[0]) == (1, "evidence_changed")
    assert (first[0], first[1]) == again
    [kept] = await desk.submissions()
    assert (kept["actor"], kept["evidence"]["customer_name"]) == ("olga", "Ada, as she signed")


async def test_what_proves_an_order_is_forgotten_once_no_bank_asks_any_more(
    refunds: OneService, stripe: StripeBeside, desk: Desk
) -> None:
    old, young = new_id(), new_id()
    mails = [
        notifications.NotificationSent(
            mail_id=new_id(), kind="x", ref="1", order_id=order_id, message_id="<1@x>", recipient="a@b.example"
        )
        for order_id in (old, young)
    ]
    await refunds.tell(*mails)
    sql = "UPDATE refunds.exhibits SET kept_at = payments.business_now() - interval '541 days' WHERE order_id = ANY($1)"
    await refunds.owner.execute(sql, [old, desk.order_id])

    async def forgotten() -> bool:
        count = "SELECT count(*) FROM refunds.exhibits WHERE order_id = $1"
        return not await refunds.owner.fetchval(count, old)

    await eventually(forgotten, what="old exhibits are deleted")
    left = {
        row["order_id"]
        for row in await refunds.owner.fetch(
            "SELECT DISTINCT order_id FROM refunds.exhibits WHERE order_id = ANY($1)", [young, desk.order_id]
        )
    }
    assert left == {young, desk.order_id}  # his dispute is not decided


@pytest.mark.timeout(180)
async def test_a_crash_at_each_step_sends_nothing_twice(servers: Servers, tmp_path: Path) -> None:
    """One submission, of which the process dies at one step after the other."""
    often = {"PAYMENTS_HEAL_SECONDS": "0.3", "PAYMENTS_RESUBMIT_SECONDS": "2"}
    async with (
        running("refunds", servers, beside=("stripe",), **often) as refunds,
        aiohttp.ClientSession(refunds.deployment.stripe_url) as http,
        aiohttp.ClientSession(refunds.deployment.public_url("refunds")) as door,
    ):
        deployed = refunds.deployment
        desk = await desk_of(refunds, StripeBeside(http), Staff(refunds, door))
        digest = (await desk.pack())["digest"]

        for point in POINTS:
            log = tmp_path / point
            await asyncio.to_thread(deployed.stop, "refunds")
            deployed.start("refunds", PAYMENTS_FAILPOINT=f"{point}=kill:1", PAYMENTS_FAILPOINT_LOG=str(log))
            if point == POINTS[0]:
                await asyncio.to_thread(deployed.wait_ready, "refunds")
                assert (await desk.hand_in(digest)).status == 202
            await eventually(partial(_died, refunds, log), within_seconds=60, what=f"refunds dies {point}")
        await asyncio.to_thread(deployed.stop, "refunds")
        deployed.start("refunds")
        await asyncio.to_thread(deployed.wait_ready, "refunds")
        await desk.settled("taken")

        there = await desk.stripe.dispute(desk.dispute_id)
        [kept] = await desk.submissions()
        assert there["evidence_details"]["submission_count"] == 1
        assert there["evidence"]["uncategorized_file"] == kept["file_id"]


async def _died(refunds: OneService, log: Path) -> bool:
    struck = await asyncio.to_thread(log.exists)
    return struck and not refunds.deployment.children["refunds"].running
