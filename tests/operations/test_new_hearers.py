"""Who hears a type since today is told nothing of yesterday, and missed nothing of it."""

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from operations.audit import Verdict, run_audit
from operations.payctl.restored import Unready, begin_restore
from payments_shared import bindings
from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import CATALOG, schema_name
from payments_shared.ids import new_id
from payments_shared.messaging.inbox import REMEMBERED_DAYS, RETENTION_DAYS
from payments_shared.provision import Provisioned, provision
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers

pytestmark = pytest.mark.servers

TYPE = "shipment.delivered.v1"
NEW = "notifications"  # hears it since today
OLD = sorted(CATALOG[TYPE].hearers - {NEW})
EVER = "SELECT count(*) FROM payments.bindings WHERE asked_at = '-infinity' AND made_at = '-infinity'"
PUBLISHED = "SELECT published_at IS NOT NULL FROM fulfillment.outbox WHERE message_id = $1"
SAY = """
INSERT INTO fulfillment.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
VALUES (($3::timestamptz AT TIME ZONE 'UTC')::date, $1, $2, $2 || '.b00', 'ord_1', '{}', $3)
"""


@dataclass(slots=True)
class Installation:
    """A database and a broker in which no service runs, and what releases and people do to it."""

    servers: Servers
    name: str
    made: Provisioned
    owner: "asyncpg.Connection[asyncpg.Record]"

    @classmethod
    async def first(cls, servers: Servers) -> "Installation":
        name = "hearers_" + secrets.token_hex(4)
        made = await _provision(servers, name)
        return cls(servers, name, made, await asyncpg.connect(made.owner_database_url))

    async def provision(self) -> None:
        """As every deployment does."""
        self.made = await _provision(self.servers, self.name)

    async def forget_that_new_hears(self) -> None:
        """The release before, which has no such binding."""
        sql = "DELETE FROM payments.bindings WHERE type = $1 AND service = $2"
        assert await self.owner.execute(sql, TYPE, NEW) == "DELETE 1"

    async def say(self, *, heard_by: Sequence[str], ago: timedelta = timedelta(0)) -> UUID:
        """A message that was published, and is in these inboxes."""
        message_id, at = new_id(), utc_now() - ago
        await self.owner.execute(SAY, message_id, TYPE, at)
        for service in heard_by:
            inbox = (
                f"INSERT INTO {schema_name(service)}.inbox (message_id, handler, type, day) VALUES ($1, 'h', $2, $3)"
            )
            await self.owner.execute(inbox, message_id, TYPE, at.date())
        return message_id

    async def begin(self) -> None:
        await begin_restore(self.made.owner_database_url, utc_now(), actor="olga", reason="a test")

    async def is_published(self, message_id: UUID) -> bool:
        return bool(await self.owner.fetchval(PUBLISHED, message_id))

    async def missed(self) -> tuple[str, ...]:
        """What predicate I23 says was lost."""
        (finding,) = (await run_audit(self.made.database_urls["auditor"], only={"I23"})).findings
        assert (finding.verdict is Verdict.VIOLATED) == bool(finding.first)
        return finding.first


async def _provision(servers: Servers, name: str) -> Provisioned:
    return await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=name, vhost=name, prefix=f"{name}_",
    )  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def installation(servers: Servers) -> AsyncIterator[Installation]:
    first = await Installation.first(servers)
    yield first
    await first.owner.close()
    await remove_deployment(servers, namespace=first.name, prefix=f"{first.name}_")


async def test_a_new_hearer_is_told_nothing_old_and_what_it_then_misses_is_found(installation: Installation) -> None:
    await installation.forget_that_new_hears()
    old = await installation.say(heard_by=OLD, ago=timedelta(days=1))
    await installation.provision()

    assert await installation.missed() == ()
    await installation.begin()
    assert await installation.is_published(old)

    lost = await installation.say(heard_by=OLD)
    assert await installation.missed() == (f"{lost}/{TYPE}/{NEW}",)
    await installation.begin()
    assert [await installation.is_published(one) for one in (old, lost)] == [True, False]


async def test_what_an_old_hearer_lost_is_found_beside_a_new_one(installation: Installation) -> None:
    await installation.forget_that_new_hears()
    lost = await installation.say(heard_by=OLD[1:], ago=timedelta(days=1))
    await installation.provision()

    assert await installation.missed() == (f"{lost}/{TYPE}/{OLD[0]}",)
    await installation.begin()
    assert not await installation.is_published(lost)


async def test_what_its_hearers_may_have_forgotten_is_neither_missed_nor_said_again(installation: Installation) -> None:
    """The day of an outbox is kept while something of it is unsaid, and then its hearers have dropped theirs."""
    forgotten = await installation.say(heard_by=(), ago=timedelta(days=RETENTION_DAYS))
    lost = await installation.say(heard_by=OLD, ago=timedelta(days=REMEMBERED_DAYS - 1))

    assert await installation.missed() == (f"{lost}/{TYPE}/{NEW}",)
    await installation.begin()
    assert [await installation.is_published(one) for one in (forgotten, lost)] == [True, False]


async def test_what_was_said_while_a_queue_was_being_bound_is_said_again_and_not_missed(
    installation: Installation,
) -> None:
    """Between asking and being heard nobody knows whether the queue had it."""
    await installation.forget_that_new_hears()
    await bindings.ask(installation.owner, bindings.heard())
    said = await installation.say(heard_by=OLD)

    assert await installation.missed() == ()
    await installation.provision()
    assert await installation.missed() == ()
    await installation.begin()
    assert not await installation.is_published(said)


async def test_what_a_first_installation_hears_it_hears_since_ever_however_often_it_is_provisioned(
    installation: Installation,
) -> None:
    before = await installation.owner.fetch("SELECT * FROM payments.bindings ORDER BY type, service")
    lost = await installation.say(heard_by=OLD, ago=timedelta(days=30))

    await installation.provision()

    assert await installation.owner.fetch("SELECT * FROM payments.bindings ORDER BY type, service") == before
    assert {(row["type"], row["service"]) for row in before} >= set(bindings.heard())
    assert await installation.missed() == (f"{lost}/{TYPE}/{NEW}",)


async def test_a_database_from_before_the_table_is_provisioned_before_a_restore_begins(
    installation: Installation,
) -> None:
    """All that was heard then was heard since ever: by an upgrade, and after a restore to a moment before it."""
    known = await installation.owner.fetchval(EVER)
    await installation.owner.execute("DROP TABLE payments.bindings")
    lost = await installation.say(heard_by=OLD, ago=timedelta(days=1))
    with pytest.raises(Unready, match="provision first"):
        await installation.begin()

    await installation.provision()
    await installation.begin()

    assert await installation.owner.fetchval(EVER) == known > 100
    assert not await installation.is_published(lost)


async def test_a_later_release_finds_no_table_and_what_it_adds_is_heard_since_now(installation: Installation) -> None:
    """Whoever skips the release that brought the table, or restores to a moment before it."""
    await installation.owner.execute("DROP TABLE payments.bindings")
    began = utc_now()

    await bindings.ask(installation.owner, [*bindings.heard(), ("order.gifted.v1", "inventory")])
    await bindings.made(installation.made.owner_database_url)

    found = await installation.owner.fetch("SELECT * FROM payments.bindings WHERE asked_at > '-infinity'")
    added = [row for row in found if row["type"] == "order.gifted.v1"]
    assert [(row["service"], row["asked_at"] > began - timedelta(seconds=5)) for row in added] == [("inventory", True)]
    assert added[0]["made_at"] >= added[0]["asked_at"] > datetime(2020, 1, 1, tzinfo=UTC)
