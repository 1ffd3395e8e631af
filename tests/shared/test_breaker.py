"""While what its handlers need is away a queue rests: nothing is taken, nothing given back, no attempt spent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.contracts.notifications import DeliverMail
from payments_shared.errors import Retryable
from payments_shared.ids import new_id
from payments_shared.messaging import Call, Transaction, breaker, calls, on
from payments_shared.messaging.breaker import Dependency, needed
from payments_shared.messaging.consumer import OUTAGES_MAX, WORK_CONCURRENCY
from payments_shared.provision import LOGIN_CONNECTIONS, Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import RETRY_TIERS_MS, Half, administrator, consuming, half_of, metric, provisioned, waiting
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
QUEUE = "notifications.work"
PREFETCH = 2 * WORK_CONCURRENCY


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


@dataclass(slots=True)
class Post:
    """What the handler needs: it takes nothing while `away`, and says so when it is asked. It answers a command only
    once `open`."""

    away: bool = True
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0
    tried: "Counter[UUID]" = field(default_factory=Counter)
    done: "Counter[UUID]" = field(default_factory=Counter)

    async def ask(self) -> None:
        self.asked += 1
        if self.away:
            raise Retryable("post_unavailable", "No answer.")

    async def deliver(self, call: Call, command: DeliverMail) -> None:
        self.tried[command.mail_id] += 1
        await self.open.wait()
        if self.away:
            raise Retryable("post_unavailable", "No answer.")
        async with call.conclude():
            self.done[command.mail_id] += 1

    @property
    def needed(self) -> Dependency:
        return needed("post", "post_unavailable", self.ask)


def commands(count: int) -> list[DeliverMail]:
    return [DeliverMail(mail_id=new_id(), kind="test", ref="r", order_id=new_id()) for _ in range(count)]


def paused() -> bool:
    return metric("payments_consumer_paused", queue=QUEUE, reason="post") == 1


async def rests() -> None:
    async def is_paused() -> bool:
        return paused()

    await eventually(is_paused, within_seconds=60, what="the queue rests")


async def all_done(post: Post, wanted: list[DeliverMail]) -> None:
    async def ended() -> bool:
        return post.done.keys() == {command.mail_id for command in wanted}

    await eventually(ended, within_seconds=60, what="every command")
    assert set(post.done.values()) == {1}


class _Away:
    """The service's database is away while the block runs: `begin` and `end` are for its login."""

    begin: ClassVar[str]
    end: ClassVar[str]

    def __init__(self, half: Half) -> None:
        self._owner = half.owner
        self._login = half.made.database_urls[half.service].split("//")[1].split(":")[0]

    async def __aenter__(self) -> None:
        await self._owner.execute(f'ALTER ROLE "{self._login}" {self.begin}')
        sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1"
        await self._owner.execute(sql, self._login)

    async def __aexit__(self, *_: object) -> None:
        await self._owner.execute(f'ALTER ROLE "{self._login}" {self.end}')


class _shut_out(_Away):  # noqa: N801 - used as a function
    """The login is refused."""

    begin = "CONNECTION LIMIT 0"
    end = f"CONNECTION LIMIT {LOGIN_CONNECTIONS}"


class _demoted(_Away):  # noqa: N801 - used as a function
    """Whatever the login begins can only read, and goes on so in each session that was opened meanwhile."""

    begin = "SET default_transaction_read_only = on"
    end = "RESET default_transaction_read_only"


async def test_a_queue_that_rests_keeps_what_it_has_and_takes_no_more(servers: Servers, made: Provisioned) -> None:
    post, wanted = Post(), commands(3 * PREFETCH)
    retries, redelivered = metric("payments_retries_published_total"), metric("payments_messages_redelivered_total")

    async with (
        administrator(servers, made) as admin,
        half_of("notifications", made, work=[calls(DeliverMail, post.deliver)], needs=[post.needed]) as half,
    ):
        await half.announce(*wanted)

        (consumer,) = half.messaging.consumers

        async def prefetched() -> bool:
            return await waiting(admin, QUEUE) == len(wanted) - PREFETCH

        async def alone() -> bool:
            return not consumer.active and await prefetched()

        await eventually(prefetched, within_seconds=60, what="as many as one consumer takes")
        post.open.set()
        await rests()
        await eventually(alone, within_seconds=60, what="no consumer, and the prefetched still with us")
        asked = post.asked

        async def asked_again_and_again() -> bool:
            return post.asked >= asked + 4

        await eventually(asked_again_and_again, within_seconds=60, what="questions")
        assert post.tried.total() <= WORK_CONCURRENCY, "no message is the question"
        assert await alone()
        assert await half.messaging.checks()["consumers"]() is None, "it rests and is not missing"
        assert metric("payments_consumers_expected", queue=QUEUE) == 0

        post.away = False
        await all_done(post, wanted)
        assert not paused()
        await consuming(half)

    assert metric("payments_retries_published_total") == retries, "no attempt is spent"
    assert metric("payments_messages_redelivered_total") == redelivered, "nothing was given back"


async def test_a_long_rest_gives_back_once_what_the_broker_would_soon_take_away(
    servers: Servers, made: Provisioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "HOLD_SECONDS", 0.5)
    monkeypatch.setattr(breaker, "AGAIN_MAX_SECONDS", 0.1)
    post, wanted = Post(), commands(5)
    redelivered = metric("payments_messages_redelivered_total")

    async with (
        administrator(servers, made) as admin,
        half_of("notifications", made, work=[calls(DeliverMail, post.deliver)], needs=[post.needed]) as half,
    ):
        post.open.set()
        await half.announce(*wanted)
        await rests()

        async def given_back() -> bool:
            return await waiting(admin, QUEUE) == len(wanted)

        await eventually(given_back, within_seconds=60, what="all are at the broker")
        asked = post.asked

        async def asked_for_long() -> bool:
            assert await given_back(), "nothing is taken again before it is of use"
            return post.asked >= asked + 10

        await eventually(asked_for_long, within_seconds=60, what="questions")
        post.away = False
        await all_done(post, wanted)

    assert metric("payments_messages_redelivered_total") <= redelivered + len(wanted)


async def test_a_new_connection_in_a_rest_takes_nothing(servers: Servers, made: Provisioned) -> None:
    post, wanted = Post(), commands(5)

    async with (
        administrator(servers, made) as admin,
        half_of("notifications", made, work=[calls(DeliverMail, post.deliver)], needs=[post.needed]) as half,
    ):
        post.open.set()
        await half.announce(*wanted)
        await rests()
        (consumer,) = half.messaging.consumers
        await _cut(consumer.subscription.link._connection)

        async def back_and_idle() -> bool:
            return consumer.subscription.link.ready.is_set() and await waiting(admin, QUEUE) == len(wanted)

        await eventually(back_and_idle, within_seconds=60, what="a new connection, and all messages at the broker")
        assert not consumer.active
        post.away = False
        await all_done(post, wanted)


async def test_a_service_that_stops_in_a_rest_leaves_everything_to_the_next(
    servers: Servers, made: Provisioned
) -> None:
    post, wanted = Post(), commands(3 * PREFETCH)
    post.open.set()
    retries = metric("payments_retries_published_total")

    async with administrator(servers, made) as admin:
        async with half_of("notifications", made, work=[calls(DeliverMail, post.deliver)], needs=[post.needed]) as half:
            await half.announce(*wanted)
            await rests()

        async def all_back() -> bool:
            return await waiting(admin, QUEUE) == len(wanted)

        await eventually(all_back, within_seconds=60, what="all are at the broker")
    assert not post.done
    assert metric("payments_retries_published_total") == retries
    post.away = False
    async with half_of("notifications", made, work=[calls(DeliverMail, post.deliver)], needs=[post.needed]):
        await all_done(post, wanted)


async def test_what_fails_while_everything_answers_waits_in_the_tiers_and_holds_up_nobody(
    made: Provisioned,
) -> None:
    post, wanted = Post(away=False), commands(10)
    post.open.set()
    odd = wanted[0].mail_id

    async def deliver(call: Call, command: DeliverMail) -> None:
        if command.mail_id == odd and post.tried[odd] < 2:
            post.tried[odd] += 1
            raise Retryable("post_unavailable", "Not this one, not now.")
        await post.deliver(call, command)

    retries = metric("payments_retries_published_total")
    async with half_of("notifications", made, work=[calls(DeliverMail, deliver)], needs=[post.needed]) as half:
        await half.announce(*wanted)
        await all_done(post, wanted)

    assert metric("payments_retries_published_total") == retries + 2
    assert post.asked == 2


async def test_a_fact_that_the_database_refuses_again_and_again_holds_up_no_other(
    servers: Servers, made: Provisioned
) -> None:
    """A lock that is never free, a statement that always takes too long: its queue stood still behind it."""
    odd, heard = new_id(), set[UUID]()

    async def hear(_: Transaction, message: OrderExpired) -> None:
        if message.order_id == odd:
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")
        heard.add(message.order_id)

    orders = [odd, *(new_id() for _ in range(5))]
    async with (
        administrator(servers, made) as admin,
        half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory,
        half_of("checkout", made) as checkout,
    ):
        await consuming(inventory)
        await checkout.announce(*(OrderExpired(order_id=order_id) for order_id in orders))

        async def ended() -> bool:
            return heard == set(orders[1:]) and await waiting(admin, "inventory.dlq") == 1

        await eventually(ended, within_seconds=60, what="five heard, and a dead letter")
        assert metric("payments_consumer_paused", queue="inventory.events") == 0


@pytest.mark.parametrize("away", [_shut_out, _demoted])
async def test_the_database_is_away_and_a_batch_waits_as_a_whole(
    servers: Servers, made: Provisioned, away: type[_Away]
) -> None:
    """A failover leaves connections on a server that answers every question and takes nothing: all became dead
    letters, and the pool stayed there."""
    heard: Counter[UUID] = Counter()

    async def hear(tx: Transaction, message: OrderExpired) -> None:
        await tx.connection.execute("SELECT 1")
        heard[message.order_id] += 1

    orders = [new_id() for _ in range(60)]
    retries, redelivered = metric("payments_retries_published_total"), metric("payments_messages_redelivered_total")
    async with (
        administrator(servers, made) as admin,
        half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory,
        half_of("checkout", made) as checkout,
    ):
        await consuming(inventory)
        async with away(inventory):
            await checkout.announce(*(OrderExpired(order_id=order_id) for order_id in orders))

            async def resting() -> bool:
                return metric("payments_consumer_paused", queue="inventory.events", reason="database") == 1

            await eventually(resting, within_seconds=60, what="the queue rests")
            assert not heard

        async def all_heard() -> bool:
            return heard.keys() == set(orders)

        await eventually(all_heard, within_seconds=60, what="every fact")
        assert await waiting(admin, "inventory.dlq") == 0
    assert metric("payments_retries_published_total") == retries
    assert metric("payments_messages_redelivered_total") == redelivered


async def test_a_fact_under_which_the_database_ends_each_time_is_soon_alone_and_a_dead_letter(
    servers: Servers, made: Provisioned
) -> None:
    """A statement that kills its server took the whole batch with it, and again at once when the server was back."""
    orders, heard, ended = [new_id() for _ in range(20)], set[UUID](), 0
    odd = orders[7]

    async def hear(tx: Transaction, message: OrderExpired) -> None:
        if message.order_id != odd:
            heard.add(message.order_id)
            return
        nonlocal ended
        ended += 1
        away = _shut_out(inventory)
        await away.__aenter__()
        asyncio.get_running_loop().call_later(0.2, lambda: restarts.append(asyncio.ensure_future(away.__aexit__())))
        await tx.connection.execute("SELECT 1")

    restarts: list[asyncio.Future[None]] = []
    async with (
        administrator(servers, made) as admin,
        half_of("inventory", made, events=[on(OrderExpired, hear)]) as inventory,
        half_of("checkout", made) as checkout,
    ):
        await checkout.announce(*(OrderExpired(order_id=order_id) for order_id in orders))

        async def ended_well() -> bool:
            return heard == set(orders) - {odd} and await waiting(admin, "inventory.dlq") == 1

        await eventually(ended_well, within_seconds=90, what="the others are heard, and a dead letter")
        letter = await (await admin.get_queue("inventory.dlq")).get(no_ack=True)
        assert letter is not None
        assert str(letter.headers["pay-fault-exception-type"]).endswith(".Destructive")
        assert len(restarts) == ended <= OUTAGES_MAX * (2 + len(RETRY_TIERS_MS)) + 5, "three, five halves, three alone"


async def _cut(connection: object) -> None:
    transport = getattr(connection, "transport", None)
    assert transport is not None
    await transport.connection.close(asyncio.CancelledError())
