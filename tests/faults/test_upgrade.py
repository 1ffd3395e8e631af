"""A release that needs another schema comes, goes back, and comes again while people buy, and nobody notices."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.faults import evidence
from tests.faults.rolling import CHECKOUTS_A_SECOND, Fleet, People, fleet
from tests.faults.versions import DEMAND, EXPAND, FILL, VALIDATE, Version
from tests.support.shopping import Shopper, eventually

pytestmark = [pytest.mark.faults, pytest.mark.full]

NAME = "fulfillment"
BY_OLD = "SELECT count(*) FROM fulfillment.shipments WHERE packed_by IS NULL"
BY_NEW = "SELECT count(*) FROM fulfillment.shipments WHERE packed_by = 'the new one'"


@pytest_asyncio.fixture(loop_scope="session")
async def upgraded(servers: Servers) -> AsyncIterator[Fleet]:
    """All services, of each one instance, on a database that may be changed."""
    async with fleet(servers, f"upgraded{new_id().hex[-8:]}") as found:
        yield found


@pytest.mark.timeout(300)
async def test_a_column_is_added_written_by_two_versions_taken_back_and_demanded_while_people_buy(
    upgraded: Fleet, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    shopper, owner_url = upgraded.shopper, upgraded.deployment.provisioned.owner_database_url
    old = Version.copied(tmp_path / "old")
    new = old.next(tmp_path / "new").with_migration("add_packers", EXPAND).that_names_packers()
    last = new.next(tmp_path / "last")
    for name, sql in (("fill_packers", FILL), ("demand_packers", DEMAND), ("check_packers", VALIDATE)):
        last.with_migration(name, sql)

    async with People.of(shopper) as people:
        await people.bought_more(CHECKOUTS_A_SECOND)

        # Expand: the schema first, under the version that does not know of it.
        await new.migrate(owner_url)
        before = upgraded.serving[NAME]
        assert await upgraded.is_ready(before)

        # Both versions at work on one queue.
        first = await upgraded.begin(NAME, version=new.folder)
        upgraded.lead_to(NAME, first)
        both = await _more(shopper, BY_OLD, BY_NEW)

        # Back: the new version ends, and the old goes on over the newer schema, also from a fresh start.
        upgraded.lead_to(NAME, before)
        await upgraded.end(first)
        await _more(shopper, BY_OLD)
        await old.migrate(owner_url)
        await upgraded.roll(NAME, version=old.folder)
        back = await _more(shopper, BY_OLD)

        # Again, and this time the old version goes.
        await upgraded.roll(NAME, version=new.folder)
        await _more(shopper, BY_NEW)

        # Contract: only now may the schema demand what the old version did not write.
        await last.migrate(owner_url)
        await upgraded.roll(NAME, version=last.folder)
        ended = await _more(shopper, BY_NEW)
        await people.bought_more(CHECKOUTS_A_SECOND)

    await people.each_got_everything_once()
    again = await upgraded.again()
    assert await shopper.count(BY_OLD) == 0
    facts = [
        *people.rates(),
        f"shipments by both versions at once {both}, by the old after the way back {back}, by the new at the end {ended}",
        f"orders bought {len(people.bought)}, webhooks {dict(people.webhooks.statuses)}, failed 0",
        f"messages given back unfinished {again['redelivered']}, finished and given again {again['finished']}",
    ]
    record_property("struck", "; ".join(facts))
    evidence.keep("Two versions and three schemas", facts)
    assert (again["finished"], again["dead"]) == (0, 0)
    people.nobody_waited_for_long()


async def _more(shopper: Shopper, *counts: str) -> tuple[int, ...]:
    """Wait until each of these counts has grown, and say how far."""
    before = [await shopper.count(sql) for sql in counts]

    async def grown() -> tuple[int, ...]:
        now = [await shopper.count(sql) for sql in counts]
        grew = tuple(after - was for after, was in zip(now, before, strict=True))
        return grew if all(count >= 3 for count in grew) else ()

    found: tuple[int, ...] = await eventually(grown, within=60, what=f"more of {counts}")
    return found
