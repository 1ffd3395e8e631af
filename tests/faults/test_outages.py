"""A broker that is away, or takes nothing: every webhook is answered as ever, and what waited is soon heard."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import pytest

from payments_shared.contracts.catalog import CATALOG, schema_name
from sandbox.services.deployment import Deployment
from tests.faults.broker import alarm, away
from tests.faults.evidence import NETWORK, keep
from tests.faults.load import Buyers, all_end_once
from tests.faults.network import facts
from tests.faults.webhooks import HEARD, Webhooks, bodies_of, paid_unheard
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.faults
IN_FLIGHT: Final = ("unsaid", "unshipped", "unmailed")


@dataclass(frozen=True, slots=True)
class Outage:
    """What an outage met and left. `waited`: messages of webhooks that were unsaid at its end; the rest in seconds
    from the moment the broker was back."""

    work: dict[str, int]
    webhooks: Webhooks
    waited: int
    said: float
    heard: float
    at_rest: float

    def lines(self) -> list[str]:
        """The same for people."""
        found = self.webhooks
        return [
            f"in flight when it began   {self.work}",
            f"webhooks                  {found.statuses.total()}, answered {dict(found.statuses)}",
            f"slowest answer            {found.slowest:.2f} s",
            f"waited at the end         {self.waited} messages",
            f"after the end, all said   {self.said:.1f} s; heard {self.heard:.1f} s; at rest {self.at_rest:.1f} s",
            "audit                     every predicate holds",
        ]

    def __str__(self) -> str:
        return "; ".join(" ".join(line.split()) for line in self.lines())


async def webhooks_during(
    shopper: Shopper, outage: AbstractAsyncContextManager[None], *, a_second: int, seconds: float, orders: int
) -> Outage:
    """Webhooks about `orders` at that rate before and during `outage`; then until all is heard, with every effect."""
    load = Buyers(shopper, await shopper.offer(stock=orders))
    load.bought, events = await paid_unheard(shopper, load.sku, orders)
    webhooks = Webhooks(shopper)
    ended = asyncio.Event()
    sending = asyncio.create_task(webhooks.at_rate(bodies_of(events), a_second, ended))

    async def begun() -> bool:
        return len(webhooks.taken) >= a_second // 2

    await eventually(begun, what="the first webhooks answered")
    seen = await load.in_flight()
    work = {name: seen[name] for name in IN_FLIGHT}
    async with outage:
        await asyncio.sleep(seconds)  # the length of the fault
        ended.set()
        await sending
        waited = await _unsaid(shopper)
    back = time.monotonic()

    async def all_said() -> bool:
        return await _unsaid(shopper) == 0

    async def all_heard() -> bool:
        return not await _unheard(shopper)

    await eventually(all_said, within=120, what="every webhook said")
    said = time.monotonic() - back
    await eventually(all_heard, within=120, every=0.2, what="every webhook heard")
    heard = time.monotonic() - back
    await shopper.stripe("POST", "/_sim/chaos", {})
    await all_end_once(load)
    at_rest = time.monotonic() - back
    await shopper.audited()
    sql = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = ANY($1)"
    assert await shopper.count(sql, list(webhooks.taken)) == len(webhooks.taken)
    return Outage(work, webhooks, waited, said, heard, at_rest)


async def _unsaid(shopper: Shopper) -> int:
    return await shopper.count("SELECT count(*) FROM webhook_ingest.outbox WHERE published_at IS NULL")


async def _unheard(shopper: Shopper) -> int:
    """How many webhooks somebody who hears such events has not in the inbox."""
    hearers = {hearer for type_ in HEARD for hearer in CATALOG[f"stripe.{type_}"].hearers}
    missing = " + ".join(
        f"(SELECT count(*) FROM webhook_ingest.outbox AS o WHERE o.type = ANY($1) AND NOT EXISTS ("
        f"SELECT FROM {schema_name(hearer)}.inbox AS i WHERE i.day = o.day AND i.message_id = o.message_id))"
        for hearer in hearers
    )
    return await shopper.count(f"SELECT {missing}", [f"stripe.{type_}" for type_ in HEARD])


def judge(found: Outage, *, backlog: int) -> None:
    assert sum(found.work.values()) > 0, "nothing was in flight when the outage began"
    assert found.webhooks.statuses.keys() == {200}
    assert found.waited >= backlog, "what came meanwhile waits"


@pytest.mark.timeout(300)
async def test_webhooks_of_a_time_without_a_broker_are_answered_and_heard_when_it_is_back(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    found = await webhooks_during(shopper, away(struck.servers), a_second=50, seconds=5, orders=25)

    record_property("struck", f"broker away 5 s at 50 webhooks/s: {found}")
    judge(found, backlog=200)
    assert found.heard < 30


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_minute_without_a_broker_at_fifty_webhooks_a_second(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    found = await webhooks_during(shopper, away(struck.servers), a_second=50, seconds=60, orders=200)

    lines = [*await facts(struck.servers), "", *found.lines()]
    keep("The broker is away for a minute, at 50 webhooks a second", lines, document=NETWORK)
    record_property("struck", f"broker away 60 s at 50 webhooks/s: {found}")
    judge(found, backlog=2900)
    assert found.heard < 15


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_half_a_minute_with_a_full_disk_at_two_hundred_webhooks_a_second(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    found = await webhooks_during(shopper, alarm(struck.servers), a_second=200, seconds=30, orders=200)

    lines = [*await facts(struck.servers), "", *found.lines()]
    keep("The broker's disk is full for 30 s, at 200 webhooks a second", lines, document=NETWORK)
    record_property("struck", f"disk alarm 30 s at 200 webhooks/s: {found}")
    judge(found, backlog=5000)
    assert found.heard < 20
