"""A database that takes connections and never answers is told to callers within five seconds, one that is stopped at
once; both are survived."""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf

import psutil
import pytest

from sandbox.services.deployment import Deployment
from tests.faults.evidence import NETWORK, keep
from tests.faults.lateness import watched
from tests.faults.network import facts
from tests.faults.webhooks import Webhooks, about_nobody
from tests.support.shopping import Answer, Json, Shopper, eventually

pytestmark = pytest.mark.faults
ANSWER_SECONDS_MAX = 5.0
STOPPED_ANSWER_SECONDS_MAX = 2.0
TRIES = 3
RECOVERY_SECONDS_MAX = 10.0
FROZEN_SECONDS = 15.0
EVENTS, ORDERS, LOOKS = 40, 15, 15


async def _deliver(shopper: Shopper, body: bytes) -> Answer:
    return await Webhooks(shopper).deliver(body)


async def _place(shopper: Shopper, sku: str, key: str) -> Answer:
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    url = shopper.deployment.public_url("checkout") + "/api/payments/checkout-session"
    return await shopper.call("POST", url, body, **{"Idempotency-Key": key})


async def _look(shopper: Shopper, order: Json) -> Answer:
    url = f"{shopper.deployment.public_url('checkout')}/api/payments/orders/{order['order_id']}"
    return await shopper.call("GET", url, **{"Order-Token": order["order_token"]})


def _server(shopper: Shopper) -> psutil.Process:
    postgres = shopper.deployment.servers.postgres
    assert postgres is not None
    assert postgres.child is not None
    return psutil.Process(postgres.child.pid)


async def _backends(shopper: Shopper, which: str) -> list[psutil.Process]:
    """The processes to stop: PostgreSQL's first, from which the others come, or those that serve the two services."""
    if which == "server":
        return [_server(shopper)]
    return await _serving(shopper, "webhook-ingest", "checkout")


async def _serving(shopper: Shopper, *services: str) -> list[psutil.Process]:
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = ANY($1)"
    return [psutil.Process(row["pid"]) for row in await shopper.owner.fetch(sql, list(services))]


@asynccontextmanager
async def _frozen(processes: Sequence[psutil.Process]) -> AsyncIterator[list[psutil.Process]]:
    """Stop `processes` and their children; they go on at the end of the block whatever happens."""
    stopped: list[psutil.Process] = []

    async def all_stopped() -> bool:
        return all(process.status() == psutil.STATUS_STOPPED for process in stopped if process.is_running())

    try:
        for process in processes:
            process.suspend()
            stopped.append(process)
        for child in [child for process in processes for child in process.children()]:
            child.suspend()
            stopped.append(child)
        await eventually(all_stopped, what="the fault to strike")
        yield stopped
    finally:
        for process in reversed(stopped):
            if process.is_running():
                process.resume()


async def _timed(call: "asyncio.Future[Answer]") -> tuple[Answer, float]:
    started = time.monotonic()
    return await call, time.monotonic() - started


@dataclass(slots=True)
class Callers:
    """Callers who come at their moments, whatever became of those before: purchases and looks at an order."""

    shopper: Shopper
    sku: str
    seen: Json
    placed: dict[str, Answer] = field(default_factory=dict)
    looked: list[Answer] = field(default_factory=list)
    slowest: float = 0.0
    busy: int = 0

    async def come(self, *, a_second: float, seconds: float) -> None:
        """One of each, so many times a second."""
        started = time.monotonic()
        under_way = []
        for place in range(int(a_second * seconds)):
            await asyncio.sleep(max(0.0, started + place / a_second - time.monotonic()))
            under_way += [asyncio.ensure_future(self._place()), asyncio.ensure_future(self._look())]
        await asyncio.gather(*under_way)

    async def _place(self) -> None:
        key = secrets.token_hex(12)
        self.placed[key] = await self._counted(_place(self.shopper, self.sku, key))

    async def _look(self) -> None:
        self.looked.append(await self._counted(_look(self.shopper, self.seen)))

    async def _counted(self, call: Coroutine[None, None, Answer]) -> Answer:
        self.busy += 1
        answer, seconds = await _timed(asyncio.ensure_future(call))
        self.busy -= 1
        self.slowest = max(self.slowest, seconds)
        return answer


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_fifteen_seconds_of_a_frozen_database_hang_no_request_and_lose_nothing(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    sku = await shopper.offer(stock=500)
    callers = Callers(shopper, sku, (await _place(shopper, sku, secrets.token_hex(12))).body)
    webhooks = Webhooks(shopper)
    bodies = [about_nobody() for _ in range(30 * 25)]
    calling = asyncio.gather(callers.come(a_second=5, seconds=25), webhooks.at_rate(bodies, 30))

    async def in_the_middle() -> bool:
        return callers.busy > 0 and len(webhooks.taken) > 60

    await eventually(in_the_middle, every=0.005, what="requests under way")
    async with watched() as late, _frozen([_server(shopper)]):
        in_flight = callers.busy
        await asyncio.sleep(FROZEN_SECONDS)  # the length of the fault
    thawed = time.monotonic()

    async def taken_again() -> bool:
        return (await _deliver(shopper, about_nobody())).status == 200

    await eventually(taken_again, within=RECOVERY_SECONDS_MAX, what="a webhook taken after the thaw")
    back = time.monotonic() - thawed
    await calling
    answers = [*callers.placed.values(), *callers.looked]
    statuses = Counter(answer.status for answer in answers)
    refused = [answer for answer in answers if answer.status == 503] + webhooks.refusals
    lines = [
        *await facts(struck.servers),
        "",
        f"in flight when it began   {in_flight} requests",
        f"webhooks                  {webhooks.statuses.total()}, answered {dict(webhooks.statuses)}",
        f"purchases and looks       {len(answers)}, answered {dict(statuses)}",
        f"slowest answer            webhook {webhooks.slowest:.1f} s, other {callers.slowest:.1f} s",
        f"measured by a process     that was late by {late.worst:.2f} s at worst",
        f"after the end             a webhook was taken in {back:.1f} s",
    ]
    keep("The database is frozen for 15 s", lines, document=NETWORK)
    record_property("struck", "; ".join(" ".join(line.split()) for line in lines[3:]))

    assert in_flight > 0
    assert webhooks.statuses[503] > 100
    assert statuses[503] > 50
    assert webhooks.statuses.keys() | statuses.keys() <= {200, 201, 503}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert max(callers.slowest, webhooks.slowest) - late.worst < ANSWER_SECONDS_MAX
    sql = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = ANY($1::text[])"
    assert await shopper.count(sql, list(webhooks.taken)) == len(webhooks.taken), "what was taken is kept"
    await _recovers(shopper, sku, bodies, list(callers.placed))
    await shopper.audited()


async def _least(once: Callable[[], Awaitable[float]]) -> float:
    """The least seconds of up to three tries. A wait that is built in is there each time; a busy machine's is not."""
    seconds: list[float] = []
    while len(seconds) < TRIES and min(seconds, default=ANSWER_SECONDS_MAX) >= ANSWER_SECONDS_MAX:
        seconds.append(await once())
    return min(seconds)


@pytest.mark.parametrize("which", ["server", "backends"])
async def test_callers_are_told_within_five_seconds_and_nothing_is_lost(
    shopper: Shopper, struck: Deployment, which: str, record_property: Callable[[str, object], None]
) -> None:
    sku = await shopper.offer(stock=500)
    seen = (await _place(shopper, sku, secrets.token_hex(12))).body
    assert (await _deliver(shopper, about_nobody())).status == 200

    async def once() -> float:
        bodies = [about_nobody() for _ in range(EVENTS)]
        keys = [secrets.token_hex(12) for _ in range(ORDERS)]
        # Traffic first, so that connections exist and work is in flight when the database stops.
        running = [asyncio.ensure_future(_place(shopper, sku, secrets.token_hex(12))) for _ in range(30)]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

        async with watched() as late, _frozen(await _backends(shopper, which)) as stopped:
            in_flight = sum(not placing.done() for placing in running)
            calls = [
                *(_deliver(shopper, body) for body in bodies),
                *(_place(shopper, sku, key) for key in keys),
                *(_look(shopper, seen) for _ in range(LOOKS)),
            ]
            answers = await asyncio.gather(*(_timed(asyncio.ensure_future(call)) for call in calls))
        slowest = max(seconds for _, seconds in answers)
        record_property(
            "struck",
            f"{len(stopped)} processes of the {which} frozen, {in_flight} purchases in flight, slowest answer"
            f" {slowest:.1f} s, this process late by {late.worst:.2f} s",
        )

        assert in_flight > 0
        refused = [answer for answer, _ in answers if answer.status == 503]
        if which == "server":
            assert len(refused) == len(answers), [answer.status for answer, _ in answers]
        assert {answer.status for answer, _ in answers} <= {200, 201, 503}
        if not refused:
            return inf  # nobody met the fault, which proves nothing
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert all(answer.body["code"] == "database_unavailable" for answer in refused)
        await _recovers(shopper, sku, bodies, keys)
        assert {(await placing).status for placing in running} <= {201, 503}
        return slowest - late.worst

    assert await _least(once) < ANSWER_SECONDS_MAX


async def test_a_purchase_whose_hold_is_not_answered_is_not_kept_waiting_for_its_tidying_up(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    """Inventory took four seconds to say that its database is away; then checkout waited for its own as long again."""

    async def once() -> float:
        sku, key = await shopper.offer(stock=5), secrets.token_hex(12)
        assert (await _place(shopper, sku, secrets.token_hex(12))).status == 201  # connections exist

        async def at_inventory() -> bool:
            sql = "SELECT count(*) FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1"
            return await shopper.count(sql, sku) == 2

        async with watched() as late, _frozen(await _serving(shopper, "inventory")):
            placing = asyncio.ensure_future(_timed(asyncio.ensure_future(_place(shopper, sku, key))))
            await eventually(at_inventory, every=0.01, what="an order that waits for its hold")
            async with _frozen(await _serving(shopper, "checkout")) as stopped:
                in_flight = not placing.done()
                answer, seconds = await placing
        record_property(
            "struck",
            f"{len(stopped)} backends of checkout frozen, in flight {int(in_flight)} purchase that waits for its hold,"
            f" answered {answer.status} after {seconds:.1f} s, this process late by {late.worst:.2f} s",
        )

        assert in_flight
        assert answer.status == 503
        await _recovers(shopper, sku, [], [key])
        return seconds - late.worst

    assert await _least(once) < ANSWER_SECONDS_MAX
    await shopper.audited()


async def test_a_stopped_database_is_told_to_stripe_at_once_and_each_event_is_stored_when_it_is_back(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    postgres = struck.servers.postgres
    assert postgres is not None
    sku = await shopper.offer(stock=10)
    assert (await _deliver(shopper, about_nobody())).status == 200  # a connection exists that dies with the server
    bodies = [about_nobody() for _ in range(EVENTS)]

    await asyncio.to_thread(postgres.stop)
    try:
        async with watched() as late:
            alone = await _timed(asyncio.ensure_future(_deliver(shopper, bodies[0])))
            crowd = await asyncio.gather(*(_timed(asyncio.ensure_future(_deliver(shopper, body))) for body in bodies))
    finally:
        await asyncio.to_thread(postgres.start)
    answers = [alone, *crowd]
    slowest = max(seconds for _, seconds in answers)
    record_property("struck", f"database stopped, in flight {len(answers)} deliveries, slowest answer {slowest:.2f} s")

    assert [answer.status for answer, _ in answers] == [503] * len(answers)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer, _ in answers)
    assert all(answer.body["code"] == "database_unavailable" for answer, _ in answers)
    assert slowest - late.worst < STOPPED_ANSWER_SECONDS_MAX
    await _recovers(shopper, sku, bodies, [secrets.token_hex(12)])
    assert [name for name, child in struck.children.items() if not child.running] == []


async def _recovers(shopper: Shopper, sku: str, bodies: Sequence[bytes], keys: Sequence[str]) -> None:
    """What was refused is sent again, and each event and order exists once."""

    async def all_delivered() -> bool:
        return {(await _deliver(shopper, body)).status for body in bodies} == {200}

    async def all_placed() -> bool:
        return {(await _place(shopper, sku, key)).status for key in keys} == {201}

    if bodies:
        await eventually(all_delivered, within=RECOVERY_SECONDS_MAX, what="every event taken")
    await eventually(all_placed, within=30.0, what="every order placed")
    ids = [json.loads(body)["id"] for body in bodies]
    stored = await shopper.count(
        "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = ANY($1::text[])", ids
    )
    placed = await shopper.count(
        "SELECT count(DISTINCT resource_id) FROM checkout.idempotency_keys WHERE key = ANY($1::text[])", list(keys)
    )
    assert (stored, placed) == (len(bodies), len(keys))
    others = """SELECT count(*) FROM checkout.orders AS o
                 WHERE lines -> 0 ->> 'sku' = $1 AND state <> 'canceled' AND NOT EXISTS (
                       SELECT FROM checkout.idempotency_keys AS k WHERE k.resource_id = o.id)"""

    async def no_other() -> bool:
        return await shopper.count(others, sku) == 0

    await eventually(no_other, within=30.0, what="no order but the one of each key")
