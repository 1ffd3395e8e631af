"""Somebody stops money going back: nothing goes back, nothing is lost by it, and all else goes on."""

import asyncio
import json
import re
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from payments_shared.contracts import fulfillment, inventory
from payments_shared.ids import external_id, new_id
from refunds.decide import owing
from refunds.store import refunds as store
from sandbox.services.resolver import Servers
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_released_credit import CREDIT, paid_with_credit
from tests.refunds.test_requests import PATH, Json, Staff, event, paid, staff
from tests.refunds.test_system_refunds import due, order_paid, settled, state_of, types_said
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import OneService, running
from tests.support.switching import Switch, obeys_its_battery

__all__ = ["staff"]
pytestmark = pytest.mark.servers
REFUNDS = 12


@pytest.fixture(scope="module")
async def refunds(servers: Servers) -> AsyncIterator[OneService]:
    """One that may be stopped and killed; its sweeps look often, and would say commands again."""
    async with running(
        "refunds",
        servers,
        beside=("stripe",),
        PAYMENTS_HEAL_SECONDS="0.3",
        PAYMENTS_SWEEP_SECONDS="0.3",
        PAYMENTS_RESUBMIT_SECONDS="0.5",
    ) as service:
        yield service


@pytest.fixture
async def switch(refunds: OneService) -> AsyncIterator[Switch]:
    """The switch of refunds, which is open before and after."""
    async with aiohttp.ClientSession() as http:
        made = Switch(refunds, http, "refunds")
        yield made
        await made.open()


async def put_off(refunds: OneService, *orders: UUID, each: int = 1) -> None:
    """Until the refunds of `orders` are put off, so many of each."""

    async def all_are() -> bool:
        sql = """SELECT count(*) FROM refunds.put_off JOIN refunds.refunds AS r ON r.id = refund_id
                  WHERE r.order_id = ANY($1)"""
        return bool(await refunds.owner.fetchval(sql, orders) == each * len(orders))

    await eventually(all_are, within_seconds=30, what="they are put off")


async def test_its_switch_is_turned_by_operators_and_its_history_only_grows(switch: Switch) -> None:
    await obeys_its_battery(switch)


async def test_while_stopped_nobody_gives_money_back_and_his_key_is_not_used_up(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = await paid(refunds, stripe)
    known, key = secrets.token_hex(12), secrets.token_hex(12)
    first = await staff.ask(order_id, key=known, amount_minor=100)
    await settled(refunds, order_id, ("succeeded", 100))
    await switch.stop()

    again = await staff.ask(order_id, key=known, amount_minor=100)
    refused = await staff.ask(order_id, key=key, amount_minor=200)

    assert (again.status, again.raw, again.replayed) == (201, first.raw, True)
    assert (refused.status, refused.body["code"]) == (503, "refunds_stopped")
    assert await state_of(refunds, order_id) == [("succeeded", 100)]
    await switch.open()
    made = await staff.ask(order_id, key=key, amount_minor=200)
    assert (made.status, made.replayed) == (201, False)
    await settled(refunds, order_id, ("succeeded", 100), ("succeeded", 200))
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [200, 100]


async def test_while_stopped_nobody_approves_and_who_refuses_or_takes_back_may(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    waiting = []
    for _ in range(3):
        order_id, _ = await paid(refunds, stripe, 80_000)
        waiting.append((await staff.ask(order_id)).body)
    assert {one["status"] for one in waiting} == {"awaiting_approval"}
    await switch.stop()

    approved = await staff.approve(waiting[0])
    rejected = await staff.call(
        "POST", f"{PATH}s/{waiting[1]['refund_id']}/reject", {"note": "no"}, who="ann", role="approver"
    )
    canceled = await staff.call("POST", f"{PATH}s/{waiting[2]['refund_id']}/cancel", {"note": "by mistake"})

    assert (approved.status, approved.body["code"]) == (503, "refunds_stopped")
    assert [(one.status, one.body["status"]) for one in (rejected, canceled)] == [(200, "rejected"), (200, "canceled")]
    await switch.open()
    assert (await staff.approve(waiting[0])).status == 200


async def test_a_refusal_says_when_to_ask_again(refunds: OneService, switch: Switch) -> None:
    await switch.stop()
    headers = {**refunds.person("support"), "Idempotency-Key": secrets.token_hex(12)}
    body = {"order_id": external_id("ord", new_id()), "reason": "goodwill"}

    async with switch.http.post(refunds.deployment.public_url("refunds") + PATH, json=body, headers=headers) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "30")


async def test_what_waits_for_the_switch_says_so(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await switch.stop()
    await refunds.tell(due(order_id, intent, 500))
    await put_off(refunds, order_id)

    async def reasons() -> set[str | None]:
        (listed,) = (await staff.call("GET", f"{PATH}s?order_id={external_id('ord', order_id)}")).body["refunds"]
        shown = (await staff.call("GET", f"{PATH}s/{listed['refund_id']}")).body
        return {one["pending_reason"] for one in (listed, shown, *shown["parts"])}

    waiting = await reasons()
    await switch.open()
    await settled(refunds, order_id, ("succeeded", 500))
    assert (waiting, await reasons()) == ({"stopped"}, {None})


async def test_what_the_system_owes_waits_costs_no_attempt_and_goes_back_once_it_is_open(
    refunds: OneService, stripe: StripeBeside, switch: Switch
) -> None:
    """Also across a kill in the middle, and while sweeps look for what stands still."""
    owed = [(new_id(), await stripe.captured(500)) for _ in range(REFUNDS)]
    orders = [order_id for order_id, _ in owed]
    dead = await refunds.dead_letters()
    await switch.stop()

    half = REFUNDS // 2
    for order_id, intent in owed[:half]:
        await refunds.tell(due(order_id, intent, 500))
    envelopes = [await refunds.say(due(order_id, intent, 500)) for order_id, intent in owed[half:]]
    await asyncio.to_thread(refunds.deployment.kill, "refunds")
    refunds.deployment.start("refunds")
    await asyncio.to_thread(refunds.deployment.wait_ready, "refunds")
    await refunds.heard(*envelopes)
    await put_off(refunds, *orders)
    seen = Exposition(switch.http, refunds.url)
    healed = await seen.of("payments_sweeper_healed_total", kind="refund")
    await asyncio.sleep(3)  # above all tiers and the patience of the sweep

    assert [await stripe.refunds_of(intent) for _, intent in owed] == [[]] * REFUNDS
    assert await seen.of("payments_retries_published_total") == 0
    assert await seen.of("payments_sweeper_healed_total", kind="refund") == healed, "what waits is asked of nobody"
    assert await seen.of("payments_switch_stopped", switch="refunds") == 1
    await switch.open()
    for order_id in orders:
        await settled(refunds, order_id, ("succeeded", 500))
    assert [[r["amount"] for r in await stripe.refunds_of(intent)] for _, intent in owed] == [[500]] * REFUNDS
    assert not await refunds.owner.fetchval("SELECT count(*) FROM refunds.put_off")
    assert await refunds.dead_letters() == dead


async def test_what_store_credit_paid_waits_as_well(refunds: OneService, stripe: StripeBeside, switch: Switch) -> None:
    order_id, intent = new_id(), await stripe.captured(700)
    await switch.stop()

    canceled = fulfillment.ShipmentCanceled(
        order_id=order_id,
        shipment_id=new_id(),
        lines=(inventory.StockLine(sku="MUG", quantity=1),),
        reason=fulfillment.DISPUTE_LOST,
    )
    await refunds.tell(paid_with_credit(order_id, intent, 700), canceled)

    await settled(refunds, order_id, ("approved", 700), ("approved", CREDIT))
    await put_off(refunds, order_id, each=2)
    assert "store_credit.issued.v1" not in await types_said(refunds, order_id)
    await switch.open()
    await settled(refunds, order_id, ("succeeded", 700), ("submitted", CREDIT))
    assert (await types_said(refunds, order_id)).count("store_credit.issued.v1") == 1
    assert [r["amount"] for r in await stripe.refunds_of(intent)] == [700]


async def paid_by_a_member(refunds: OneService, stripe: StripeBeside, amount: int) -> UUID:
    """An order of so much that a signed-in buyer paid, who may have store credit."""
    order_id, intent = new_id(), await stripe.captured(amount)
    message = order_paid(order_id, (intent, amount))
    signed_in = message.customer.model_copy(update={"account": f"user-{order_id.hex}"})
    await refunds.tell(message.model_copy(update={"customer": signed_in}))
    return order_id


async def test_what_a_card_paid_does_not_become_store_credit_while_stopped(
    refunds: OneService, stripe: StripeBeside, staff: Staff, switch: Switch
) -> None:
    order_id = await paid_by_a_member(refunds, stripe, 80_000)
    made = await staff.ask(order_id, destination="store_credit")
    assert made.body["status"] == "awaiting_approval"
    await stripe.arm("delay", path="/v1/disputes", method="GET", seconds=2)
    await staff.approve(made.body)
    await asyncio.sleep(0.5)

    await switch.stop()  # while Stripe is asked which disputes there are

    await put_off(refunds, order_id)
    assert "store_credit.issued.v1" not in await types_said(refunds, order_id)
    await stripe.disarm()
    await switch.open()
    await settled(refunds, order_id, ("submitted", 80_000))
    assert (await types_said(refunds, order_id)).count("store_credit.issued.v1") == 1


async def test_facts_of_stripe_are_learned_while_stopped(
    refunds: OneService, stripe: StripeBeside, switch: Switch
) -> None:
    """Commands that only ask share the queue with those that give money back."""
    owed, order_id = new_id(), new_id()
    surplus, intent = await stripe.captured(400), await stripe.captured(1000)
    await refunds.tell(order_paid(order_id, (intent, 1000)))
    await switch.stop()
    await refunds.tell(due(owed, surplus, 400))
    await put_off(refunds, owed)
    await stripe.refund_by_hand(intent, 250)
    charge: Json = {
        "id": "ch_x", "object": "charge", "status": "succeeded", "created": 1, "payment_intent": intent,
        "amount_refunded": 250,
    }  # fmt: skip

    await refunds.tell(event("charge.refunded", charge))

    await settled(refunds, order_id, ("succeeded", 250))
    assert await state_of(refunds, owed) == [("approved", 400)]


def payctl(
    switch: Switch, folder: Path, *arguments: str, role: str = "operator", **changed: str
) -> tuple[int, str, str]:
    token = folder / "token"
    token.write_text(switch.service.deployment.keys.token("olga", role))
    environment = {
        "PATH": "/usr/bin:/bin", "COLUMNS": "160", "PAYMENTS_TOKEN_FILE": str(token),
        "PAYMENTS_REFUNDS_URL": switch.service.url, **changed,
    }  # fmt: skip
    done = subprocess.run(
        [str(Path(sys.executable).parent / "payctl"), "switches", *arguments],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


async def test_payctl_stops_opens_and_tells(switch: Switch, tmp_path: Path) -> None:
    async def said(*arguments: str, **changed: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(payctl, switch, tmp_path, *arguments, **changed)

    status, text, error = await said("stop", "refunds", "--reason", "rule 12 \x1b[2J")

    assert (status, error) == (0, "")
    assert re.fullmatch(r"refunds: stopped since \S+ by olga: rule 12 �\[2J\n", text)
    status, text, _ = await said("show", "refunds", role="viewer")
    assert (status, text.startswith("refunds: stopped since "), "olga" in text) == (0, True, True)
    assert await said("open", "refunds", role="viewer") == (1, "", "forbidden: This needs another role.\n")
    status, text, _ = await said("open", "refunds", "--json", "--url", switch.service.url, PAYMENTS_REFUNDS_URL="")
    assert (status, json.loads(text)["state"]) == (0, "open")
    lost = await said("show", "mails")
    assert (lost[0], "--url or PAYMENTS_NOTIFICATIONS_URL" in lost[2]) == (2, True)
    assert (await said("stop", "refunds"))[0] == 2, "a reason is needed"
    assert (await said("stop", "everything", "--reason", "at once"))[0] == 2, "there are three"


async def test_what_is_put_off_counts_as_unanswered_by_nobody(
    refunds: OneService, stripe: StripeBeside, switch: Switch
) -> None:
    order_id, intent = new_id(), await stripe.captured(400)
    await switch.stop()
    await refunds.tell(due(order_id, intent, 400))
    await put_off(refunds, order_id)
    long_ago = "UPDATE refunds.refunds SET created_at = now() - interval '1 day' WHERE order_id = $1"
    await refunds.owner.execute(long_ago, order_id)

    async with refunds.owner.acquire() as connection:
        trying = connection.transaction()
        await trying.start()
        await connection.execute("SET LOCAL search_path = refunds, payments")
        waiting, _ = await store.measure_unanswered(connection, owing.ANSWERED_WITHIN)
        await connection.execute("DELETE FROM put_off")  # a command that is lost, and no switch to blame
        lost, _ = await store.measure_unanswered(connection, owing.ANSWERED_WITHIN)
        await trying.rollback()
    assert (waiting, lost) == (0, 1)


async def test_what_stripe_made_under_an_earlier_key_is_found_before_another_is_asked_for(
    refunds: OneService, stripe: StripeBeside, switch: Switch
) -> None:
    """Stripe kept a 500, nothing was found, and then it was made after all."""
    order_id, intent = new_id(), await stripe.captured(500)
    own = owing.refund_id(intent, "surplus_payment")
    await switch.stop()
    await refunds.tell(due(order_id, intent, 200))
    await put_off(refunds, order_id)
    await refunds.owner.execute("UPDATE refunds.refunds SET stripe_attempt = 1 WHERE id = $1", own)
    await stripe.refund_by_hand(intent, 200, refund_id=external_id("ref", own))

    await switch.open()

    await settled(refunds, order_id, ("succeeded", 200))
    assert [made["amount"] for made in await stripe.refunds_of(intent)] == [200]
