"""Each service's logins open its own doors and no other."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import aio_pika
import aio_pika.abc
import aio_pika.exceptions
import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from payments_shared.contracts.catalog import CONSUMERS, SERVICES, said_by, schema_name
from payments_shared.permissions import exceptions_of
from payments_shared.provision import Provisioned, provision
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers

NAME = "privilege_" + secrets.token_hex(3)


async def provisioned_again(servers: Servers, passwords: dict[str, str] | None = None) -> Provisioned:
    return await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database=NAME, vhost=NAME, prefix=f"{NAME}_", with_sandbox=True, passwords=passwords,
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    """A deployment without services."""
    yield await provisioned_again(servers)
    await remove_deployment(servers, namespace=NAME, prefix=f"{NAME}_")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_sees_its_own_schema_alone(made: Provisioned, service: str) -> None:
    own = schema_name(service)
    connection = await asyncpg.connect(made.database_urls[service])

    assert await connection.fetchval(f"SELECT count(*) FROM {own}.outbox") == 0
    for other in SERVICES:
        if other != service:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetchval(f"SELECT count(*) FROM {schema_name(other)}.outbox")
    for statement in (
        f"CREATE TABLE {own}.mine (a int)", "CREATE TABLE public.mine (a int)", "CREATE SCHEMA mine",
        f"DROP TABLE {own}.outbox", f"TRUNCATE {own}.outbox", f"ALTER TABLE {own}.outbox DISABLE TRIGGER ALL",
        "CREATE ROLE mine", "SET ROLE auditor_app", "UPDATE payments.business_clock SET ahead = interval '1 day'",
        "SELECT pg_read_file('/etc/passwd')", "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT * FROM stripe_truth.sessions",
    ):  # fmt: skip
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidParameterValueError)):
            await connection.execute(statement)
    await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_writes_into_no_other_schema_and_drops_nothing_of_it(made: Provisioned, service: str) -> None:
    connection = await asyncpg.connect(made.database_urls[service])
    try:
        for other in {schema_name(name) for name in SERVICES if name != service}:
            for statement in (
                f"INSERT INTO {other}.inbox (day, message_id, handler, type) VALUES (current_date, gen_random_uuid(), 'x', 'x')",
                f"UPDATE {other}.outbox SET published_at = now()", f"DELETE FROM {other}.outbox",
                f"SELECT nextval('{other}.outbox_seq')", f"TRUNCATE {other}.outbox",
                f"SELECT payments.keep_partitions('{other}', 7)", f"SET ROLE {other}_app",
            ):  # fmt: skip
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
        for statement in (
            f"SELECT payments.keep_partitions('{schema_name(service)}', 6)",
            f"DELETE FROM {schema_name(service)}.outbox",
            f"UPDATE {schema_name(service)}.schema_migrations SET name = name", "LISTEN x; NOTIFY x; CREATE TEMP TABLE t ()",
        ):  # fmt: skip
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RaiseError)):
                await connection.execute(statement)
    finally:
        await connection.close()


HELD = """
SELECT n.nspname || '.' || c.relname AS name,
       array_agg(r.name ORDER BY r.name) FILTER (WHERE has_table_privilege(current_user, c.oid, r.name)) AS held
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
 CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS r(name)
 WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
 GROUP BY 1
"""
CALLED = """
SELECT n.nspname || '.' || p.proname
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prorettype <> 'trigger'::regtype
   AND (p.provolatile <> 'i' OR p.prosecdef)  -- the others only calculate
   AND has_schema_privilege(current_user, n.oid, 'USAGE') AND has_function_privilege(current_user, p.oid, 'EXECUTE')
"""
ALL_SCHEMAS = [schema_name(service) for service in SERVICES]


async def held(url: str) -> dict[str, set[str]]:
    """What a login may do with each table of all services."""
    connection = await asyncpg.connect(url)
    try:
        return {row["name"]: set(row["held"] or ()) for row in await connection.fetch(HELD, ALL_SCHEMAS)}
    finally:
        await connection.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_login_may_do_with_its_tables_what_the_page_says(made: Provisioned, service: str) -> None:
    exceptions, schema = exceptions_of(service), schema_name(service)
    found = await held(made.database_urls[service])
    expected = {}
    for name in found:
        own, _, table = name.partition(".")
        rights = {"SELECT", "INSERT", "UPDATE"}
        rights -= {"INSERT"} if table in exceptions.never_inserted else set()
        rights -= {"UPDATE"} if table in exceptions.never_updated else set()
        rights |= {"DELETE"} if table in exceptions.deleted_from else set()
        expected[name] = rights if own == schema else set()
    expected[f"{schema}.schema_migrations"] = {"SELECT"}

    assert found == expected
    named = exceptions.never_inserted | exceptions.never_updated | exceptions.deleted_from
    assert {table.partition(".")[2] for table in found} >= named


async def test_the_auditor_holds_no_right_but_to_read(made: Provisioned) -> None:
    """It could drop days of inbox and outbox, since it sees the schemas of all services."""
    found = await held(made.database_urls["auditor"])
    connection = await asyncpg.connect(made.database_urls["auditor"])
    try:
        called = {row[0] for row in await connection.fetch(CALLED)}
        for service in SERVICES:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute("SELECT payments.keep_partitions($1, 7)", schema_name(service))
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(f"SELECT nextval('{schema_name(service)}.outbox_seq')")
    finally:
        await connection.close()

    assert set(map(frozenset, found.values())) == {frozenset({"SELECT"})}
    assert len(found) > 30
    assert called == {"payments.business_now"}


async def test_the_auditor_reads_everything_and_writes_nothing(made: Provisioned) -> None:
    connection = await asyncpg.connect(made.database_urls["auditor"])

    for service in SERVICES:
        schema = schema_name(service)
        assert await connection.fetchval(f"SELECT count(*) FROM {schema}.outbox") == 0
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
            await connection.execute(f"DELETE FROM {schema}.outbox")
    await connection.close()


@pytest.mark.parametrize("service", CONSUMERS)
async def test_a_broker_user_reads_its_own_queues_and_touches_no_other(made: Provisioned, service: str) -> None:
    async def refused(queue: str) -> bool:
        connection = await aio_pika.connect(made.amqp_urls[service])
        async with connection:
            channel = await connection.channel()
            try:
                declared = await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
                await declared.delete()
            except aio_pika.exceptions.AMQPError as error:
                return "ACCESS_REFUSED" in str(error)
            return False

    for other in CONSUMERS:
        if other != service:
            assert await refused(f"{other}.events")
            assert await refused(f"{other}.dlq") or service == "operations"
    assert await refused("anything")


def _foreign(service: str) -> tuple[str, str]:
    """A service that is not `service`, and a type that only it says and only others hear."""
    other = "checkout" if service != "checkout" else "inventory"
    return other, "order.paid.v1" if other == "checkout" else "stock.committed.v1"


Act = Callable[[aio_pika.abc.AbstractChannel], Awaitable[object]]


def forgeries(service: str) -> dict[str, Act]:
    """What no service may do at the broker with its own login."""
    other, said = _foreign(service)
    (own, *_) = said_by(service)
    queue = f"{other}.events"

    def publishing(exchange: str, key: str, **properties: str) -> Act:
        async def publish(channel: aio_pika.abc.AbstractChannel) -> object:
            target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange
            return await target.publish(aio_pika.Message(b"{}", **properties), routing_key=key)  # type: ignore[arg-type] # user_id

        return publish

    async def never(_: aio_pika.abc.AbstractIncomingMessage) -> None:
        pytest.fail("another's message was handed over")

    async def consume(channel: aio_pika.abc.AbstractChannel) -> object:
        return await (await channel.get_queue(queue, ensure=False)).consume(never)

    async def take(channel: aio_pika.abc.AbstractChannel) -> object:
        return await (await channel.get_queue(queue, ensure=False)).get(fail=False)

    async def purge(channel: aio_pika.abc.AbstractChannel) -> object:
        return await (await channel.get_queue(queue, ensure=False)).purge()

    async def bind(channel: aio_pika.abc.AbstractChannel) -> object:
        return await (await channel.get_queue(f"{service}.events", ensure=False)).bind("pay.events", "payout.paid.v9.*")

    async def bind_for(channel: aio_pika.abc.AbstractChannel) -> object:
        return await (await channel.get_queue(queue, ensure=False)).bind("pay.events", f"{own.name}.*")

    return {
        "say another's type": publishing("pay.events", f"{said}.b00"),
        "say a type that nobody knows": publishing("pay.events", "payout.paid.v9.b00"),
        "say under another's name": publishing("pay.events", f"{own.name}.b00", user_id=f"{NAME}_{other}"),
        "put into another's queue": publishing("", queue),
        "put into another's queue as a retry": publishing("pay.retry.5000", queue),
        "make a dead letter of another": publishing("pay.dlx", other),
        "read another's queue": consume,
        "take from another's queue": take,
        "hear what is not for it": bind,
        "bind another's queue": bind_for,
        "empty another's queue": purge,
        "delete another's queue": lambda channel: channel.queue_delete(queue),
        "declare a queue": lambda channel: channel.declare_queue("mine", durable=True),
        "declare an exchange": lambda channel: channel.declare_exchange("mine", aio_pika.ExchangeType.TOPIC),
        "delete an exchange": lambda channel: channel.exchange_delete("pay.events"),
    }


@pytest.mark.parametrize("service", SERVICES)
async def test_the_broker_refuses_every_forgery(made: Provisioned, service: str) -> None:
    said = {}
    connection = await aio_pika.connect(made.amqp_urls[service])
    async with connection:
        for name, act in forgeries(service).items():
            channel = await connection.channel()
            try:
                await asyncio.wait_for(act(channel), timeout=10)
            except aio_pika.exceptions.AMQPError as error:
                said[name] = str(error)
            else:
                said[name] = "let through"

    refusals = ("ACCESS_REFUSED", "PRECONDITION_FAILED")
    assert {name: text for name, text in said.items() if not any(word in text for word in refusals)} == {}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_broker_user_administers_nothing(made: Provisioned, service: str) -> None:
    """The management API shows a service its vhost, for the check of the topology, and obeys it in nothing else."""
    parts = urlsplit(made.management_urls[service])
    base = f"{parts.scheme}://{parts.hostname}:{parts.port}/api"
    login = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    asked: list[tuple[str, str, dict[str, object]]] = [
        ("PUT", f"permissions/{NAME}/{NAME}_{service}", dict(everything)),
        ("PUT", f"topic-permissions/{NAME}/{NAME}_{service}", {"exchange": "pay.events", "write": ".*", "read": ".*"}),
        ("PUT", "users/mine", {"password": secrets.token_hex(8), "tags": "administrator"}),
        ("PUT", f"users/{NAME}_{service}", {"password": secrets.token_hex(8), "tags": "administrator"}),
        ("PUT", "vhosts/mine", {}),
        ("DELETE", f"vhosts/{NAME}", {}),
        ("PUT", f"policies/{NAME}/mine", {"pattern": ".*", "definition": {"max-length": 1}}),
        ("GET", "users", {}),
        ("GET", "definitions", {}),
    ]
    answers = {}
    async with aiohttp.ClientSession(headers=login) as http:
        for method, path, body in asked:
            async with http.request(method, f"{base}/{path}", json=body if method == "PUT" else None) as answer:
                answers[f"{method} {path}"] = answer.status
        async with http.get(f"{base}/queues/{NAME}") as answer:
            own = answer.status

    assert set(answers.values()) == {401}, answers
    assert own == 200


async def test_provisioning_again_changes_nothing_but_the_passwords(servers: Servers, made: Provisioned) -> None:
    connection = await asyncpg.connect(made.owner_database_url)
    await connection.execute("INSERT INTO checkout.products (sku, name) VALUES ('KEPT', 'kept')")

    again = await provisioned_again(servers)

    assert await connection.fetchval("SELECT name FROM checkout.products WHERE sku = 'KEPT'") == "kept"
    await connection.close()
    renewed = await asyncpg.connect(again.database_urls["checkout"])
    await renewed.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(made.database_urls["checkout"])
