"""A mail server that is away for longer than all retry tiers together costs no attempt and no mail."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest

from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.notifications.words import order_paid
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import RETRY_TIERS_MS, OneService, running

pytestmark = pytest.mark.servers
ORDERS = 30
RESEND_SECONDS = 6  # after the tiers; the outage is longer, and what waited is sent in less
COMMAND = "notifications.cmd.deliver.v1"
SETTLED = "payments_messages_consumed_total"


@pytest.fixture(scope="module")
async def notifications(servers: Servers) -> AsyncIterator[OneService]:
    """One whose sweep looks often, and would send again in the middle of the outage."""
    async with running(
        "notifications",
        servers,
        beside=("mailbox",),
        PAYMENTS_SWEEP_SECONDS="0.2",
        PAYMENTS_RESEND_SECONDS=str(RESEND_SECONDS),
    ) as service:
        yield service


async def sent(notifications: OneService, orders: list[UUID]) -> int:
    sql = "SELECT count(*) FROM notifications.mails WHERE state = 'sent' AND order_id = ANY($1)"
    return int(await notifications.owner.fetchval(sql, orders))


async def commands(notifications: OneService) -> int:
    return int(await notifications.owner.fetchval("SELECT count(*) FROM notifications.outbox WHERE type = $1", COMMAND))


async def test_a_mail_server_that_is_away_costs_no_attempt(notifications: OneService) -> None:
    orders = [new_id() for _ in range(ORDERS)]
    async with aiohttp.ClientSession() as http:
        seen = Exposition(http, notifications.url)

        async def rests() -> bool:
            return await seen.of("payments_consumer_paused", queue="notifications.work", reason="smtp") == 1

        await asyncio.to_thread(notifications.deployment.kill, "mailbox")
        await notifications.tell(*(order_paid(order_id) for order_id in orders))
        await eventually(rests, within_seconds=60, what="the queue of commands rests")
        said, settled = await commands(notifications), await seen.of(SETTLED, type=COMMAND)
        loop = asyncio.get_running_loop()
        long_enough = loop.time() + RESEND_SECONDS + 10 * sum(RETRY_TIERS_MS) / 1000
        while loop.time() < long_enough:
            assert await rests()
            await asyncio.sleep(0.1)
        assert await commands(notifications) == said, "no sweep says a twin of what waits"
        assert await seen.of(SETTLED, type=COMMAND) == settled, "no command was settled"
        assert await seen.of("payments_retries_published_total") == 0

        notifications.deployment.start("mailbox")

        async def all_sent() -> bool:
            return await sent(notifications, orders) == ORDERS

        await eventually(all_sent, within_seconds=60, what="every mail")
        assert await seen.of("payments_retries_published_total") == 0, "no attempt was spent"
        assert await commands(notifications) == said, "no sweep says twins of what has just begun to flow"
        assert await seen.of("payments_messages_redelivered_total") == 0, "nothing was given back"
        assert await seen.of("payments_consumer_paused") == 0
    assert await notifications.dead_letters() == 0
    async with aiohttp.ClientSession(notifications.deployment.mailbox_url) as http:
        mailbox = Mailbox(http)
        assert [len(await mailbox.about(order_id)) for order_id in orders] == [1] * ORDERS
