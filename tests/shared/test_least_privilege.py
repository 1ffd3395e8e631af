"""Each service's logins open its own doors and no other."""

import secrets
from collections.abc import AsyncIterator

import aio_pika
import aio_pika.exceptions
import asyncpg
import pytest
import pytest_asyncio

from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
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
