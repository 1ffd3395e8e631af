"""SIGTERM under load: what was finished never comes again, and what was not is there for the next start."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import aio_pika
import aiohttp
import pytest

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import external_id, new_id
from payments_shared.messaging.envelope import decode
from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.notifications.words import order_paid
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers
MESSAGES = 1500
ROLLS = 3
DRAIN_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Left:
    """A message that a stopped service left behind."""

    id: UUID
    redelivered: bool


async def left_behind(service: OneService, queue: str) -> list[Left]:
    """What waits in a queue, all of it looked at and given back in its order."""
    found = []
    connection = await aio_pika.connect(service.deployment.provisioned.amqp_urls[service.name])
    async with connection:
        channel = await connection.channel()
        taken = await channel.get_queue(queue, ensure=False)
        while (message := await taken.get(fail=False)) is not None:
            found.append(Left(decode(message.body)[0].id, bool(message.redelivered)))
    return found  # the closed connection gives them back


async def known(service: OneService) -> set[UUID]:
    return {row["message_id"] for row in await service.owner.fetch(f"SELECT message_id FROM {service.schema}.inbox")}


async def stopped(service: OneService) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    status = await asyncio.to_thread(service.deployment.stop, service.name)
    assert status == 0, service.deployment.children[service.name].tail()
    assert loop.time() - started < DRAIN_SECONDS_MAX, "it must not be killed by whoever rolls it"


async def test_facts_that_were_finished_before_a_sigterm_never_come_again(
    servers: Servers, record_property: Callable[[str, object], None]
) -> None:
    async with running("inventory", servers, PAYMENTS_SWEEP_SECONDS="3600") as inventory:
        unfinished: list[int] = []
        for roll in range(ROLLS):
            before = len(await known(inventory))
            said = await asyncio.gather(*(inventory.say(OrderExpired(order_id=new_id())) for _ in range(MESSAGES)))

            async def under_way(before: int = before) -> bool:
                return len(await known(inventory)) >= before + 100

            if roll < ROLLS - 1:
                await eventually(under_way, within_seconds=60, what="it works on them")
            await stopped(inventory)

            finished, left = await known(inventory), await left_behind(inventory, "inventory.events")
            again = [one for one in left if one.id in finished]
            assert again == [], "finished, and delivered again"
            assert {envelope.id for envelope in said} <= finished | {one.id for one in left}, "lost"
            unfinished.append(len(left))
            inventory.deployment.start("inventory")
            await asyncio.to_thread(inventory.deployment.wait_ready, "inventory")
            await inventory.heard(*said)
        assert await inventory.dead_letters() == 0
        assert any(unfinished), "it was stopped in the middle of its work"
        record_property("struck", f"SIGTERM {ROLLS} times, {MESSAGES} messages each, unfinished: {unfinished}")


@pytest.fixture
async def slow(servers: Servers) -> AsyncIterator[OneService]:
    """Notifications beside a mail server that takes its time for each mail."""
    async with running("notifications", servers, beside=("mailbox",)) as service:
        yield service


async def test_commands_that_are_under_way_at_a_sigterm_are_finished_and_no_other_is_begun(slow: OneService) -> None:
    orders = [new_id() for _ in range(30)]
    async with aiohttp.ClientSession(slow.deployment.mailbox_url) as http:
        mailbox = Mailbox(http)
        await mailbox.arm("delay", count=1000, seconds=0.5)
        await slow.tell(*(order_paid(order_id) for order_id in orders))

        async def talking() -> bool:
            return await mailbox.struck() >= 2

        await eventually(talking, within_seconds=60, what="mails on their way")
        await stopped(slow)

        finished, left = await known(slow), await left_behind(slow, "notifications.work")
        assert left, "the rest waits"
        assert [one for one in left if one.id in finished] == []
        assert await slow.owner.fetchval("SELECT count(*) FROM notifications.mails WHERE state = 'sending'") == 0
        await mailbox.arm("none", count=0)
        slow.deployment.start("notifications")
        await asyncio.to_thread(slow.deployment.wait_ready, "notifications")

        async def all_sent() -> bool:
            sql = "SELECT count(*) FROM notifications.mails WHERE state = 'sent'"
            return bool(await slow.owner.fetchval(sql) == len(orders))

        await eventually(all_sent, within_seconds=60, what="every mail")
        mails = [await mailbox.about(order_id) for order_id in orders]
        assert [len(found) for found in mails] == [1] * len(orders), [external_id("ord", one) for one in orders]
