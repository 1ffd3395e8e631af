"""Why of refunds at once no more pass than there is money: by the lock of the code, and without it by the database's."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from payments_shared.errors import Refused
from payments_shared.idempotency import Key
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from refunds.decide.asking import Asked
from refunds.handlers.requesting import Requesting
from refunds.model.bills import Amount
from refunds.model.requests import Destination, Person
from refunds.store.refunds import QUERIES
from tests.refunds.test_system_refunds import order_paid
from tests.support.deadline import eventually
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers
CLERKS: Final = 20
CAPTURED: Final = 200_000
WISH: Final = 60_000  # above the limit for one refund: it counts as spent, and Stripe is never asked
FIT: Final = CAPTURED // WISH
REFUSED: Final = "amount_exceeds_refundable"

WAITING: Final = """SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = 'clerks' AND wait_event_type = 'Lock' AND datname = current_database()"""

LOCK, READ = QUERIES["lock_order_and_payments"], QUERIES["read_position"]
UNLOCKED: Final = LOCK.replace("FOR UPDATE OF p", "").replace("FOR UPDATE\n", "\n")
# FROM: it locks before it reads, whether there are refunds to read or not. One that locks and one that does not, because it
# finds none, would wait for each other: the database's guard locks the payment, and then the new row's key the order.
LOCKED_LATE: Final = (
    READ.replace(
        "WITH active AS",
        "WITH held AS MATERIALIZED (SELECT order_id FROM orders WHERE order_id = $1 FOR UPDATE), active AS",
    )
    + "\n  FROM held"
)
# All clerks ask for one buyer: his lock would hide the mistake.
ALONE: Final = {"lock_standing": "SELECT $1::text, $2::text, $3::text, $4::text"}
MISTAKES: Final = {
    "no lock": {"lock_order_and_payments": UNLOCKED, **ALONE},
    "sums read by the statement that waits": {
        "lock_order_and_payments": UNLOCKED,
        "read_position": LOCKED_LATE,
        **ALONE,
    },
}


@pytest.fixture
async def requesting(refunds: OneService) -> AsyncIterator[Requesting]:
    """The handlers in this process, where mistakes can be made, with a connection for each clerk."""
    dsn = refunds.deployment.provisioned.database_urls["refunds"]
    pool = await open_pool(dsn, schema="refunds", application_name="clerks", max_size=CLERKS)
    yield Requesting(Outbox(pool, service="refunds"))
    await pool.close()


@pytest.fixture
async def order_id(refunds: OneService) -> AsyncIterator[UUID]:
    """An order that was paid by one capture; nothing of its refunds stays."""
    order_id = new_id()
    await refunds.tell(order_paid(order_id, (f"pi_{secrets.token_hex(8)}", CAPTURED)))
    yield order_id
    async with refunds.owner.acquire() as owner, owner.transaction():
        await owner.execute(
            "DELETE FROM refunds.refund_transitions USING refunds.refunds AS r WHERE refund_id = r.id AND r.order_id = $1",
            order_id,
        )
        await owner.execute("DELETE FROM refunds.refunds WHERE order_id = $1", order_id)
        await owner.execute("DELETE FROM refunds.requests WHERE order_id = $1", order_id)


@pytest.fixture
async def unguarded(refunds: OneService) -> AsyncIterator[None]:
    """The database's own guard is off."""
    for trigger in ("lock_what_is_refunded", "refunds_within_payment"):
        await refunds.owner.execute(f"ALTER TABLE refunds.refunds DISABLE TRIGGER {trigger}")
    yield
    for trigger in ("lock_what_is_refunded", "refunds_within_payment"):
        await refunds.owner.execute(f"ALTER TABLE refunds.refunds ENABLE TRIGGER {trigger}")


@pytest.fixture(params=MISTAKES)
def mistake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements of the handlers in this process, with a mistake in them."""
    for name, wrong in MISTAKES[request.param].items():
        assert wrong != QUERIES[name]
        monkeypatch.setitem(QUERIES._statements, name, wrong)


async def asked_by_all(refunds: OneService, requesting: Requesting, order_id: UUID) -> "Counter[str]":
    """What clerks came to who asked at once, each for `WISH` of one order: `made`, or why not. The order is held until
    all of them wait, for it or for one another, so that none of them is done before another begins."""

    async def ask(clerk: str) -> str:
        asked = Asked(order_id, Amount(WISH), Destination.ORIGINAL, "goodwill", "", Person(clerk))
        try:
            await requesting.request(asked, Key(clerk, "/test", secrets.token_hex(12), b""), lambda _: {})
        except Refused as refusal:
            return refusal.code
        except asyncpg.CheckViolationError as violation:
            return str(violation.constraint_name)
        return "made"

    async def all_wait() -> bool:
        return bool(await refunds.owner.fetchval(WAITING) == CLERKS)

    async with refunds.owner.acquire() as owner, owner.transaction():
        await owner.execute("SELECT FROM refunds.orders WHERE order_id = $1 FOR UPDATE", order_id)
        asked = [asyncio.ensure_future(ask(f"clerk-{number}")) for number in range(CLERKS)]
        await eventually(all_wait, within_seconds=30, what="clerks, all of whom wait")
    return Counter(await asyncio.gather(*asked))


async def spent_of(refunds: OneService, order_id: UUID) -> int:
    sql = "SELECT coalesce(sum(amount_minor), 0)::bigint FROM refunds.refunds WHERE order_id = $1"
    return int(await refunds.owner.fetchval(sql, order_id))


@pytest.mark.usefixtures("unguarded")
async def test_the_lock_alone_lets_as_many_pass_as_there_is_money(
    refunds: OneService, requesting: Requesting, order_id: UUID
) -> None:
    found = await asked_by_all(refunds, requesting, order_id)

    assert found == {"made": FIT, REFUSED: CLERKS - FIT}
    assert await spent_of(refunds, order_id) == FIT * WISH


@pytest.mark.usefixtures("unguarded", "mistake")
async def test_without_lock_or_guard_more_goes_back_than_was_paid(
    refunds: OneService, requesting: Requesting, order_id: UUID
) -> None:
    """What the other tests here would miss if the lock did nothing."""
    found = await asked_by_all(refunds, requesting, order_id)

    assert found["made"] > FIT
    assert await spent_of(refunds, order_id) > CAPTURED


@pytest.mark.usefixtures("mistake")
async def test_the_guard_alone_lets_as_many_pass_as_there_is_money(
    refunds: OneService, requesting: Requesting, order_id: UUID
) -> None:
    found = await asked_by_all(refunds, requesting, order_id)

    assert found["made"] == FIT
    assert found["refunds_within_payment"] > 0
    assert set(found) <= {"made", "refunds_within_payment", REFUSED}
    assert await spent_of(refunds, order_id) == FIT * WISH
