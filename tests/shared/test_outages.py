"""An outage, however long, costs no command: neither the database's nor that of what the command calls."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.contracts.notifications import DeliverMail
from payments_shared.errors import Poison, Retryable
from payments_shared.ids import new_id
from payments_shared.messaging import Call, calls
from payments_shared.messaging.recoverability import ATTEMPT, FIRST_FAILED_AT, OUTAGE_MAX, REPLAY_ID, Failure
from payments_shared.messaging.topology import RETRY_TIERS_MS
from payments_shared.metrics import REGISTRY
from payments_shared.provision import LOGIN_CONNECTIONS, Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import RETRY_TIERS_MS as SHORT_TIERS_MS
from tests.shared.messaging import administrator, half_of, provisioned, waiting
from tests.support.deadline import eventually

NOW = datetime(2026, 1, 2, tzinfo=UTC)
AWAY = Retryable("stripe_unavailable", "Stripe did not answer in time.")


def failure(error: Exception, *, attempt: int, since: timedelta, queue: str = "refunds.work") -> Failure:
    headers = {ATTEMPT: attempt, FIRST_FAILED_AT: (NOW - since).isoformat()}
    return Failure(error, "refunds", queue, "handler", "type", headers, "pay.events", "key", NOW)


def test_a_command_whose_dependency_is_away_stays_in_the_last_tier_for_a_day() -> None:
    hours = [failure(AWAY, attempt=5 + 6 * n, since=timedelta(hours=n)).next_tier_ms(RETRY_TIERS_MS) for n in range(24)]

    assert hours == [RETRY_TIERS_MS[-1]] * 24
    assert failure(AWAY, attempt=150, since=OUTAGE_MAX).next_tier_ms(RETRY_TIERS_MS) is None


@pytest.mark.parametrize("queue", ["refunds.work", "refunds.events"])
@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        ConnectionResetError("reset by peer"),
    ],
)
def test_what_loses_its_connection_to_the_database_time_and_again_is_no_dead_letter(
    error: Exception, queue: str
) -> None:
    """A pooler that drops each COMMIT answers every question: the breaker stays closed, and the tiers ran out."""
    lost = [failure(error, attempt=5 + n, since=timedelta(hours=n), queue=queue) for n in range(24)]

    assert {one.next_tier_ms(RETRY_TIERS_MS) for one in lost} == {RETRY_TIERS_MS[-1]}
    assert failure(error, attempt=150, since=OUTAGE_MAX, queue=queue).next_tier_ms(RETRY_TIERS_MS) is None


@pytest.mark.parametrize("error", [AWAY, ConnectionResetError("reset by peer")])
def test_what_a_person_sent_again_is_soon_a_dead_letter_again(error: Exception) -> None:
    """After a quarter of an hour without word the desk shows it as open: somebody might pay the refund by hand."""
    headers = {ATTEMPT: 5, FIRST_FAILED_AT: NOW.isoformat(), REPLAY_ID: str(new_id())}
    again = Failure(error, "refunds", "refunds.work", "handler", "type", headers, "pay.events", "key", NOW)

    assert again.next_tier_ms(RETRY_TIERS_MS) is None
    assert failure(error, attempt=5, since=timedelta(0)).next_tier_ms(RETRY_TIERS_MS) == RETRY_TIERS_MS[-1]


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError(),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.LockNotAvailableError("lock timeout"),
        asyncpg.DataError("invalid input"),
        asyncpg.UniqueViolationError("twice"),
    ],
)
def test_what_the_database_says_of_the_work_itself_takes_the_tiers_and_no_more(error: Exception) -> None:
    assert failure(error, attempt=1, since=timedelta(0)).next_tier_ms(RETRY_TIERS_MS) == RETRY_TIERS_MS[0]
    assert failure(error, attempt=5, since=timedelta(hours=1)).next_tier_ms(RETRY_TIERS_MS) is None


def test_no_other_failure_outlasts_the_tiers() -> None:
    hour = timedelta(hours=1)

    assert failure(KeyError("a bug"), attempt=5, since=hour).next_tier_ms(RETRY_TIERS_MS) is None
    assert failure(Poison("no", "no"), attempt=1, since=hour).next_tier_ms(RETRY_TIERS_MS) is None
    assert failure(AWAY, attempt=5, since=hour, queue="refunds.events").next_tier_ms(RETRY_TIERS_MS) is None


def test_a_time_of_the_first_failure_that_is_none_makes_nothing_eternal() -> None:
    for value in ("yesterday", NOW.replace(tzinfo=None).isoformat()):
        headers = {ATTEMPT: 5, FIRST_FAILED_AT: value}
        odd = Failure(AWAY, "refunds", "refunds.work", "handler", "type", headers, "pay.events", "key", NOW)

        assert odd.next_tier_ms(RETRY_TIERS_MS) is None


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


def command() -> DeliverMail:
    return DeliverMail(mail_id=new_id(), kind="order_confirmation", ref="r", order_id=new_id())


@pytest.mark.servers
async def test_a_command_survives_an_outage_longer_than_all_tiers_together(servers: Servers, made: Provisioned) -> None:
    tries, done = 0, asyncio.Event()

    async def deliver(call: Call, _: DeliverMail) -> None:
        nonlocal tries
        tries += 1
        if tries <= 3 * len(SHORT_TIERS_MS):
            raise Retryable("smtp_unavailable", "The mail server did not take the mail.")
        async with call.conclude():
            done.set()

    async with half_of("notifications", made, work=[calls(DeliverMail, deliver)]) as half:
        await half.announce(command())
        await asyncio.wait_for(done.wait(), timeout=20)

    async with administrator(servers, made) as admin:
        assert await waiting(admin, "notifications.dlq") == 0


@pytest.mark.servers
async def test_a_command_waits_for_the_database_without_spending_its_attempts(
    servers: Servers, made: Provisioned
) -> None:
    login = made.database_urls["notifications"].split("//")[1].split(":")[0]
    done = asyncio.Event()

    async def deliver(call: Call, _: DeliverMail) -> None:
        async with call.conclude():
            done.set()

    def paused() -> bool:
        labels = {"queue": "notifications.work", "reason": "database"}
        return REGISTRY.get_sample_value("payments_consumer_paused", labels) == 1

    async with (
        half_of("notifications", made, work=[calls(DeliverMail, deliver)]) as half,
        administrator(servers, made) as admin,
    ):
        await asyncio.wait_for(half.messaging.publisher.link.ready.wait(), timeout=10)
        await _shut_out(half.owner, login)
        try:
            await half.say(command())

            async def waits() -> bool:
                return paused()

            await eventually(waits, what="the consumer waits")
            for _ in range(30):  # several times as long as both tiers
                assert await waiting(admin, "notifications.dlq") == 0
                await asyncio.sleep(0.05)
        finally:
            await half.owner.execute(f'ALTER ROLE "{login}" CONNECTION LIMIT {LOGIN_CONNECTIONS}')
        await asyncio.wait_for(done.wait(), timeout=20)

        async def goes_on() -> bool:
            return not paused()

        await eventually(goes_on, what="the consumer says that it goes on")
        assert await waiting(admin, "notifications.dlq") == 0


async def _shut_out(owner: "asyncpg.Connection[asyncpg.Record]", login: str) -> None:
    await owner.execute(f'ALTER ROLE "{login}" CONNECTION LIMIT 0')
    await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", login)
