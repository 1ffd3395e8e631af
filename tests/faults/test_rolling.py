"""Services are replaced while people buy, and nobody notices."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.catalog import SERVICES
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.faults import evidence
from tests.faults.rolling import CHECKOUTS_A_SECOND, Fleet, People, fleet

pytestmark = pytest.mark.faults

Record = Callable[[str, object], None]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rolled(servers: Servers) -> AsyncIterator[Fleet]:
    """All services, of each one instance that can be replaced."""
    async with fleet(servers, f"rolled{new_id().hex[-8:]}") as found:
        yield found


@pytest.mark.timeout(300)
async def test_each_service_is_replaced_while_people_buy_and_nobody_notices(
    rolled: Fleet, record_property: Record
) -> None:
    await _rolled(rolled, record_property, rounds=1)


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_each_service_is_replaced_twenty_times_while_people_buy_and_nobody_notices(
    rolled: Fleet, record_property: Record
) -> None:
    carried = await _rolled(rolled, record_property, rounds=20)

    assert carried > 0.9 * CHECKOUTS_A_SECOND, "the machine is too slow for the rate that this is about"


async def _rolled(rolled: Fleet, record_property: Record, *, rounds: int) -> float:
    """Replace all services so many times; how many checkouts a second there were."""
    rolls: list[tuple[int, str, str, int, int]] = []
    async with People.of(rolled.shopper) as people:
        await people.bought_more(CHECKOUTS_A_SECOND)
        for number in range(1, rounds + 1):
            for name in SERVICES:
                began, before = monotonic_seconds(), (len(people.bought), len(people.webhooks.taken))
                await rolled.roll(name)
                seconds = f"{monotonic_seconds() - began:.1f} s"
                rolls.append(
                    (number, name, seconds, len(people.bought) - before[0], len(people.webhooks.taken) - before[1])
                )
                assert people.failed == [], f"while {name} was replaced"
        await people.bought_more(CHECKOUTS_A_SECOND)
    await people.each_got_everything_once()
    again = await rolled.again()

    totals = [
        *people.rates(),
        f"{len(rolls)} instances replaced",
        f"webhooks {dict(people.webhooks.statuses)}",
        f"orders bought {len(people.bought)}, refunds {people.given_back}, answers {dict(people.answers)}, failed 0",
        f"messages given back unfinished {again['redelivered']}, finished and given again {again['finished']}",
        "every order announced, committed, shipped and mailed once; audit: every predicate holds",
    ]
    record_property("struck", "; ".join(totals))
    columns = ("round", "service", "took", "orders meanwhile", "webhooks meanwhile")
    evidence.keep("Rolling restarts", [*evidence.table(columns, rolls), *totals])
    assert (again["finished"], again["dead"]) == (0, 0)
    people.nobody_waited_for_long()
    assert all(orders and webhooks for *_, orders, webhooks in rolls), "somebody bought during each"
    return people.carried


@pytest.mark.timeout(180)
async def test_who_is_told_to_end_answers_those_who_are_inside_and_those_who_come_late(rolled: Fleet) -> None:
    before = rolled.serving["checkout"]
    sku = await rolled.shopper.offer(stock=100)
    await rolled.shopper.stripe("POST", "/_sim/chaos", {})
    placing = [asyncio.ensure_future(rolled.shopper.checkout(sku)) for _ in range(20)]
    after = await rolled.begin("checkout")

    rolled.lead_to("checkout", after)
    placing += [asyncio.ensure_future(rolled.shopper.checkout(sku)) for _ in range(20)]
    ending = asyncio.ensure_future(rolled.end(before))
    placing += [asyncio.ensure_future(rolled.shopper.checkout(sku)) for _ in range(20)]

    assert [answer.status for answer in await asyncio.gather(*placing)] == [201] * 60
    await ending
