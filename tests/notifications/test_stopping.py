"""Somebody stops mails: none goes out, all are kept, and each goes out once when they are opened."""

import asyncio
import json
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest

from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.notifications.test_invitations import expired, fate, somebody
from tests.notifications.words import order_paid
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import RETRY_TIERS_MS, OneService, running
from tests.support.switching import Switch, obeys_its_battery

pytestmark = pytest.mark.servers
ORDERS = 20
RESEND_SECONDS = 2  # after the tiers


@pytest.fixture(scope="module")
async def notifications(servers: Servers) -> AsyncIterator[OneService]:
    """One that may be stopped and killed; its sweep looks often, and would send again."""
    async with running(
        "notifications",
        servers,
        beside=("mailbox",),
        PAYMENTS_SWEEP_SECONDS="0.2",
        PAYMENTS_RESEND_SECONDS=str(RESEND_SECONDS),
    ) as service:
        yield service


@pytest.fixture
async def switch(notifications: OneService) -> AsyncIterator[Switch]:
    """The switch of mails, which is open before and after."""
    async with aiohttp.ClientSession() as http:
        made = Switch(notifications, http, "mails")
        yield made
        await made.open()


async def all_sent(notifications: OneService, orders: list[UUID]) -> None:
    async def sent() -> bool:
        sql = "SELECT count(*) FROM notifications.mails WHERE state = 'sent' AND order_id = ANY($1)"
        return bool(await notifications.owner.fetchval(sql, orders) == len(orders))

    await eventually(sent, within_seconds=60, what="every mail")


async def died(notifications: OneService) -> bool:
    return not notifications.deployment.children["notifications"].running


def causes_of_retries(notifications: OneService) -> set[str]:
    """What stands in its log of every message that was not dealt with."""
    log = notifications.deployment.children["notifications"].log.read_text(encoding="utf-8")
    lines = [json.loads(line) for line in log.splitlines() if '"message.failed"' in line]
    return {line["detail"] for line in lines}


async def test_its_switch_is_turned_by_operators_and_its_history_only_grows(switch: Switch) -> None:
    await obeys_its_battery(switch)


async def test_while_stopped_no_mail_goes_out_and_afterwards_each_does_once(
    notifications: OneService, mailbox: Mailbox, switch: Switch
) -> None:
    """Also across a kill between telling the broker and knowing that it was told, after which commands are there twice,
    and while the sweep looks for mails that were not sent."""
    orders = [new_id() for _ in range(ORDERS)]
    seen, dead = Exposition(switch.http, notifications.url), await notifications.dead_letters()

    async def rests() -> bool:
        return await seen.of("payments_consumer_paused", queue="notifications.work", reason="switch") == 1

    await switch.stop()
    await notifications.tell(*(order_paid(order_id) for order_id in orders[: ORDERS // 2]))
    await eventually(rests, within_seconds=30, what="the queue of commands rests")
    await asyncio.to_thread(notifications.deployment.kill, "notifications")
    notifications.deployment.start("notifications", PAYMENTS_FAILPOINT="relay_after_publish_before_mark=kill:1")
    await asyncio.to_thread(notifications.deployment.wait_ready, "notifications")
    envelopes = [await notifications.say(order_paid(order_id)) for order_id in orders[ORDERS // 2 :]]
    await eventually(lambda: died(notifications), within_seconds=30, what="the crash of the relay")
    notifications.deployment.start("notifications")
    await asyncio.to_thread(notifications.deployment.wait_ready, "notifications")
    await notifications.heard(*envelopes)
    await eventually(rests, within_seconds=30, what="it rests after the start as well")
    await asyncio.sleep(RESEND_SECONDS + 5 * sum(RETRY_TIERS_MS) / 1000)

    assert [await mailbox.about(order_id) for order_id in orders] == [[]] * ORDERS
    assert await rests()
    assert await seen.of("payments_retries_published_total") == 0, "no attempt was spent"
    assert await seen.of("payments_switch_stopped", switch="mails") == 1
    await switch.open()
    await all_sent(notifications, orders)
    assert [len(await mailbox.about(order_id)) for order_id in orders] == [1] * ORDERS
    waited = causes_of_retries(notifications) - {"mail_in_hand: Another is sending the mail."}
    assert not waited, "nothing waits but the second copy of a command, for the first"
    assert await notifications.dead_letters() == dead
    assert not await rests()


async def test_an_invitation_that_is_not_true_any_more_stays_here_when_mails_are_opened(
    notifications: OneService, mailbox: Mailbox, switch: Switch
) -> None:
    left, bought = new_id(), new_id()
    buyer = somebody()
    await switch.stop()
    await notifications.tell(expired(left, somebody()), expired(bought, buyer), order_paid(bought, email=buyer))

    await switch.open()

    await all_sent(notifications, [left])

    async def kept_back() -> bool:
        return await fate(notifications, bought) == ("suppressed", "paid")

    await eventually(kept_back, within_seconds=30, what="the invitation is kept back")
    await eventually(lambda: mailbox.about(bought), within_seconds=30, what="the confirmation")
    assert [mail["kind"] for mail in await mailbox.about(bought)] == ["order_confirmation"]
