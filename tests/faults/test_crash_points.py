"""A process that dies exactly between two steps: the work goes on where it stopped, and no step happens twice."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.contracts.checkout import OrderUnheld
from payments_shared.ids import new_id
from payments_shared.messaging import Outbox
from payments_shared.postgres import open_pool
from sandbox.services.deployment import Deployment
from tests.faults import evidence
from tests.faults.load import Buyers, Clerk, all_end_once
from tests.faults.poison import DeadLetters, undecodable
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.faults

CONSUMING: Final = ("after_claim", "before_commit", "after_commit_before_ack", "after_ack")
SAYING: Final = ("relay_before_publish", "relay_after_publish_before_mark", "relay_after_mark")
CHECKING_OUT: Final = (
    "after_commit", "before_hold", "after_hold", "before_stripe_call", "after_stripe_call", "before_answer_kept",
    "after_answer_kept",
)  # fmt: skip
POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "checkout": (*CHECKING_OUT, *CONSUMING, *SAYING),
    "webhook-ingest": ("ingest_before_commit", "ingest_after_commit", *SAYING),
    "inventory": ("after_commit", *CONSUMING, *SAYING),
    "fulfillment": (*CONSUMING, *SAYING),
    "refunds": ("after_commit", "before_stripe_call", "after_stripe_call", *CONSUMING, *SAYING),
    "notifications": ("after_commit", "before_mail", "after_mail", *CONSUMING, *SAYING),
    "operations": CONSUMING,
}
HANDING_ON: Final = ("retry_before_publish", "retry_after_publish_before_ack")
KEEPING: Final = ("before_commit", "after_commit", "letter_after_commit_before_ack", "letter_after_ack")
REPLAYING: Final = ("replay_before_publish", "replay_after_publish_before_mark")
STRUCK_ELSEWHERE: Final = {
    "before_handler",  # by the message that kills whoever handles it
    "after_confirmation",  # by the crashes of one-click payments
    "before_retry_hold",  # these by the crashes of their later attempts
    "before_retry",
    "after_retry",
    "before_credit_spent",  # by those of orders that store credit pays all of
    "after_credit_spent",
    "after_evidence_file",  # by those of evidence that is handed in
    "before_evidence",
    "after_evidence",
}
ROOT: Final = Path(__file__).parents[2]

ORDERS: Final = 20
ARRIVAL_SECONDS: Final = 0.25
RECOVERY_SECONDS_MAX: Final = 10.0

Work = dict[str, int]
Record = Callable[[str, object], None]


def test_every_place_where_a_process_may_be_killed_is_struck() -> None:
    sources = [*ROOT.glob("shared/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    found = {name for path in sources for name in re.findall(r'\bfailpoint\("(\w+)"', path.read_text())}

    struck = {name for points in POINTS.values() for name in points} | {*HANDING_ON, *KEEPING, *REPLAYING}

    assert found == struck | STRUCK_ELSEWHERE


@dataclass(slots=True)
class Blow:
    """A process that dies at `point` when it comes there the `hit`-th time, while `in_flight` says what it harms."""

    struck: Deployment
    service: str
    point: str
    hit: int
    log: Path
    in_flight: Callable[[], Awaitable[Work]]
    work: Work = field(default_factory=dict)

    async def arm(self) -> None:
        """Start the process anew, so that it will die."""
        await asyncio.to_thread(self.struck.stop, self.service)
        plan = {"PAYMENTS_FAILPOINT": f"{self.point}=kill:{self.hit}", "PAYMENTS_FAILPOINT_LOG": str(self.log)}
        self.struck.start(self.service, **plan)

    async def falls(self, record_property: Record) -> None:
        """Wait until it died there, with work in flight.

        Raises:
            AssertionError: it never came there, or nothing was in flight.
        """
        await eventually(self._died, within=60, every=0.02, what=f"{self.service} dies {self.point}")
        assert self.log.read_text().startswith(f"{self.point} kill")
        record_property("struck", f"{self.service} died {self.point}, in flight {self.work}")
        assert sum(self.work.values()) > 0

    async def _died(self) -> bool:
        # The last look that found something is what was in flight when it struck, give or take a moment.
        if any((seen := await self.in_flight()).values()):
            self.work = seen
        return not self.struck.children[self.service].running

    async def rise(self) -> float:
        """Start the process as it should be; the moment at which it is ready."""
        await asyncio.to_thread(self.struck.stop, self.service)
        self.struck.start(self.service)
        await asyncio.to_thread(self.struck.wait_ready, self.service)
        return monotonic_seconds()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", POINTS)
async def test_a_crash_between_two_steps_is_harmless(
    shopper: Shopper, struck: Deployment, service: str, tmp_path: Path, record_property: Record
) -> None:
    buyers = Buyers(shopper, await shopper.offer(stock=1000))
    clerk = await Clerk.of(shopper, buyers.sku) if service == "refunds" else None
    buying: list[asyncio.Task[None]] = []

    try:
        for point in POINTS[service]:
            blow = Blow(struck, service, point, 1, tmp_path / point, buyers.in_flight)
            await blow.arm()
            if clerk is not None:
                buying.append(asyncio.create_task(clerk.give_back()))
            # Two purchases, one of them paid twice: between them they pass every point.
            buying += [asyncio.create_task(buyers.buy(surplus=surplus)) for surplus in (True, False)]
            await blow.falls(record_property)
    finally:
        await blow.rise()
    await asyncio.gather(*buying)

    deaths = len(POINTS[service]) if service == "notifications" else 0
    await all_end_once(buyers, mails_again_max=deaths)
    if clerk is not None:
        await clerk.each_went_back_once()
    await _all_remembered(shopper)
    await shopper.audited()


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("service", POINTS)
async def test_twenty_orders_under_way_at_each_point_end_once_and_soon(
    shopper: Shopper, struck: Deployment, service: str, tmp_path: Path, record_property: Record
) -> None:
    recovered: list[tuple[Blow, float]] = []
    sku = await shopper.offer(stock=10_000)

    for point in POINTS[service]:
        buyers = Buyers(shopper, sku)
        blow = Blow(struck, service, point, 2, tmp_path / point, buyers.in_flight)
        await blow.arm()
        buying = asyncio.create_task(_buy_one_after_the_other(buyers))
        await blow.falls(record_property)
        ready = await blow.rise()
        await buying
        await all_end_once(buyers, mails_again_max=int(service == "notifications"))
        await _all_remembered(shopper)
        recovered.append((blow, monotonic_seconds() - ready))
        assert len(buyers.bought) == ORDERS

    _say_recovered(f"orders at {service}", recovered, ORDERS)
    await shopper.audited()
    assert [(blow.point, seconds) for blow, seconds in recovered if seconds > RECOVERY_SECONDS_MAX] == []


async def _buy_one_after_the_other(buyers: Buyers) -> None:
    """A crowd that came at once would be decided about in one batch, and a process would never get to its second."""
    async with asyncio.TaskGroup() as crowd:
        for number in range(ORDERS):
            crowd.create_task(buyers.buy(surplus=number % 4 == 0))
            await asyncio.sleep(ARRIVAL_SECONDS)


@pytest.mark.timeout(300)
async def test_a_crash_while_a_command_is_handed_to_a_retry_tier_is_harmless(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Record
) -> None:
    """The mail server refuses for a moment; the process dies while it puts the command aside."""
    await _handed_to_a_tier(shopper, struck, tmp_path, record_property, orders=2)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_twenty_commands_handed_to_a_retry_tier_end_once_and_soon(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Record
) -> None:
    recovered = await _handed_to_a_tier(shopper, struck, tmp_path, record_property, orders=ORDERS)

    _say_recovered("commands on their way to a retry tier", recovered, ORDERS)
    assert [(blow.point, seconds) for blow, seconds in recovered if seconds > RECOVERY_SECONDS_MAX] == []


async def _handed_to_a_tier(
    shopper: Shopper, struck: Deployment, folder: Path, record_property: Record, *, orders: int
) -> list[tuple[Blow, float]]:
    sku = await shopper.offer(stock=1000)
    recovered: list[tuple[Blow, float]] = []
    for point in HANDING_ON:
        buyers = Buyers(shopper, sku)
        blow = Blow(struck, "notifications", point, 1, folder / point, buyers.in_flight)
        await blow.arm()
        refusals = {"kind": "refuse", "count": orders, "code": 451}
        await shopper.call("POST", f"{struck.mailbox_url}/_control/faults", refusals)
        buying = [asyncio.create_task(buyers.buy(surplus=False)) for _ in range(orders)]
        await blow.falls(record_property)
        ready = await blow.rise()
        await asyncio.gather(*buying)
        await all_end_once(buyers, mails_again_max=1)
        recovered.append((blow, monotonic_seconds() - ready))
    await shopper.audited()
    return recovered


@pytest.mark.timeout(300)
async def test_a_crash_while_a_dead_letter_is_made_or_kept_is_harmless(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Record
) -> None:
    await _made_dead(shopper, struck, tmp_path, record_property, letters=3, hit=1)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_twenty_dead_letters_under_way_at_each_point_are_kept_once_and_soon(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Record
) -> None:
    recovered = await _made_dead(shopper, struck, tmp_path, record_property, letters=ORDERS, hit=2)

    _say_recovered("dead letters", recovered, ORDERS)
    assert [(blow.point, seconds) for blow, seconds in recovered if seconds > RECOVERY_SECONDS_MAX] == []


async def _made_dead(
    shopper: Shopper, struck: Deployment, folder: Path, record_property: Record, *, letters: int, hit: int
) -> list[tuple[Blow, float]]:
    recovered: list[tuple[Blow, float]] = []
    for service, points in (("fulfillment", HANDING_ON), ("operations", KEEPING)):
        for point in points:
            dead = DeadLetters(shopper, "fulfillment", [undecodable() for _ in range(letters)])
            blow = Blow(struck, service, point, hit, folder / f"{service}-{point}", dead.in_flight)
            await blow.arm()
            await dead.publish()
            await blow.falls(record_property)
            ready = await blow.rise()
            await dead.all_kept_once()
            recovered.append((blow, monotonic_seconds() - ready))
    return recovered


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_twenty_replays_under_way_at_each_point_take_effect_once_and_soon(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Record
) -> None:
    recovered: list[tuple[Blow, float]] = []
    for point in REPLAYING:
        messages = await _failed_for_good(shopper, struck, ORDERS)
        blow = Blow(struck, "operations", point, 1, tmp_path / point, partial(_unresolved, shopper, messages))
        await blow.arm()
        await asyncio.to_thread(struck.wait_ready, "operations")
        letters = await _letters_of(shopper, messages)
        bulk = {"act": "replay", "reason": "a test", "rate": 200, "filter": {"ids": letters}}
        await shopper.admin("POST", "operations", "/admin/dead-letters/bulks", bulk)
        await blow.falls(record_property)
        ready = await blow.rise()
        await eventually(partial(_all_resolved, shopper, messages), within=60, what="all replays resolved")
        recovered.append((blow, monotonic_seconds() - ready))
        taken = "SELECT count(*) FROM fulfillment.inbox WHERE message_id = ANY($1) AND outcome = 'applied'"
        assert await shopper.count(taken, messages) == ORDERS
    await shopper.audited()

    _say_recovered("replays", recovered, ORDERS)
    assert [(blow.point, seconds) for blow, seconds in recovered if seconds > RECOVERY_SECONDS_MAX] == []


async def _failed_for_good(shopper: Shopper, struck: Deployment, count: int) -> list[UUID]:
    """Messages of checkout's that are dead letters of fulfillment, which would take them now."""
    dsn = struck.provisioned.database_urls["checkout"]
    pool = await open_pool(dsn, schema="checkout", application_name="crash-points")
    await shopper.owner.execute("ALTER TABLE fulfillment.orders RENAME TO mislaid")
    async with Outbox(pool, service="checkout").transaction() as tx:
        messages = [tx.announce(OrderUnheld(order_id=new_id())) for _ in range(count)]
    await pool.close()

    async def all_kept() -> bool:
        return len(await _letters_of(shopper, messages)) == count

    await eventually(all_kept, within=90, what=f"{count} dead letters of fulfillment")
    await shopper.owner.execute("ALTER TABLE fulfillment.mislaid RENAME TO orders")
    return messages


async def _letters_of(shopper: Shopper, messages: Sequence[UUID]) -> list[str]:
    sql = "SELECT id FROM operations.dead_letters WHERE service = 'fulfillment' AND message_id = ANY($1)"
    return [str(row["id"]) for row in await shopper.owner.fetch(sql, [str(one) for one in messages])]


async def _unresolved(shopper: Shopper, messages: Sequence[UUID]) -> Work:
    sql = "SELECT count(*) FROM operations.dead_letters WHERE status <> 'resolved' AND message_id = ANY($1)"
    return {"unresolved": await shopper.count(sql, [str(one) for one in messages])}


async def _all_resolved(shopper: Shopper, messages: Sequence[UUID]) -> bool:
    return (await _unresolved(shopper, messages))["unresolved"] == 0


async def _all_remembered(shopper: Shopper) -> None:
    """Wait until operations has a copy of every fact that was said."""
    said = " UNION ALL ".join(
        f"SELECT day, message_id FROM {schema_name(name)}.outbox WHERE type NOT LIKE '%.cmd.%'" for name in SERVICES
    )
    sql = f"""SELECT count(*) FROM ({said}) AS said WHERE NOT EXISTS (
        SELECT FROM operations.inbox AS i WHERE i.day = said.day AND i.message_id = said.message_id)"""

    async def remembered() -> bool:
        return await shopper.count(sql) == 0

    await eventually(remembered, within=60, every=0.2, what="every fact remembered by operations")


def _say_recovered(what: str, recovered: Sequence[tuple[Blow, float]], number: int) -> None:
    columns = ("service", "died", "in flight when it struck", "of", "recovered after")
    rows = [(b.service, b.point, _in_words(b.work), number, f"{seconds:.1f} s") for b, seconds in recovered]
    evidence.keep(f"Crash points: {what}", evidence.table(columns, rows))


def _in_words(work: Work) -> str:
    return ", ".join(f"{count} {name}" for name, count in work.items() if count)
