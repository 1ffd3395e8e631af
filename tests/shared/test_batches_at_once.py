"""While many messages wait a second batch is under way beside the first, and no word about it overtakes the first."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Batch, together
from payments_shared.messaging.consumer import BATCH_MAX
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import Half, consuming, half_of, metric, provisioned
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers

MANY = 3 * BATCH_MAX
FEW = BATCH_MAX // 5
QUIET_SECONDS = 0.5  # for what must not happen


@pytest.fixture(scope="module")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment in which nothing runs."""
    async with provisioned(servers) as found:
        yield found


@dataclass(slots=True)
class Slow:
    """A handler that decides about what comes first only when it may. `runs`: how many messages each time."""

    may: asyncio.Event = field(default_factory=asyncio.Event)
    runs: list[int] = field(default_factory=list)

    async def expired(self, batch: Batch[OrderExpired]) -> None:
        self.runs.append(len(batch.messages))
        if len(self.runs) == 1:
            await self.may.wait()


async def recorded(half: Half) -> int:
    """How many messages have taken effect, by the database."""
    return int(await half.owner.fetchval("SELECT count(*) FROM inventory.inbox"))


def acknowledged() -> float:
    """How many the broker was told of."""
    return metric("payments_messages_consumed_total", type=OrderExpired.TYPE, outcome="applied")


async def begun(speaker: Half, half: Half, slow: Slow) -> int:
    """One message is under way, and stays it; how many had taken effect before."""
    await consuming(half)
    before = await recorded(half)
    await speaker.announce(OrderExpired(order_id=new_id()))

    async def started() -> bool:
        return len(slow.runs) == 1

    await eventually(started, within_seconds=30, what="the first is under way")
    return before


async def test_a_full_batch_is_decided_beside_the_first_and_acknowledged_after_it(made: Provisioned) -> None:
    slow = Slow()
    async with (
        half_of("checkout", made) as speaker,
        half_of("inventory", made, events=[together(OrderExpired, slow.expired)]) as half,
    ):
        before, told = await begun(speaker, half, slow), acknowledged()
        await speaker.announce(*(OrderExpired(order_id=new_id()) for _ in range(MANY)))

        async def committed() -> bool:
            return await recorded(half) == before + BATCH_MAX

        await eventually(committed, within_seconds=30, what="the second batch has taken effect")
        await asyncio.sleep(QUIET_SECONDS)
        assert slow.runs == [1, BATCH_MAX], "there are never three"
        assert acknowledged() == told, "the first is still open"

        slow.may.set()

        async def finished() -> bool:
            return acknowledged() == told + 1 + MANY

        await eventually(finished, within_seconds=30, what="all are acknowledged")
        assert await recorded(half) == before + 1 + MANY


async def test_a_few_wait_for_the_first_since_more_will_have_come(made: Provisioned) -> None:
    slow = Slow()
    async with (
        half_of("checkout", made) as speaker,
        half_of("inventory", made, events=[together(OrderExpired, slow.expired)]) as half,
    ):
        told = acknowledged()
        await begun(speaker, half, slow)
        await speaker.announce(*(OrderExpired(order_id=new_id()) for _ in range(FEW)))

        async def here() -> bool:
            return half.messaging.consumers[0].subscription.waiting.qsize() == FEW

        await eventually(here, within_seconds=30, what="a few are here")
        await asyncio.sleep(QUIET_SECONDS)
        assert slow.runs == [1]

        slow.may.set()

        async def finished() -> bool:
            return acknowledged() == told + 1 + FEW

        await eventually(finished, within_seconds=30, what="all are acknowledged")
        assert slow.runs == [1, FEW]
