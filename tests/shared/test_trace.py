"""One trace id leads from a shop's request over every service to the last consumer's log, and to PostgreSQL."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio

from payments_shared import tracing
from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Transaction, on
from payments_shared.postgres import acquire, open_pool
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.shared.messaging import consuming, half_of, provisioned
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.servers
NAMES = ("stripe", "frontdoor", "checkout", "inventory", "operations")
SETTLED = "message.settled"
ASKED = "http.request"

# What each table's writer is called at the database, kept by a trigger of the test alone.
WATCH = """
CREATE TABLE public.names (relation text NOT NULL, name text NOT NULL);
CREATE FUNCTION public.remember_name() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO public.names VALUES (tg_table_schema, current_setting('application_name'));
    RETURN NULL;
END $$;
CREATE TRIGGER remember_name AFTER INSERT ON checkout.orders FOR EACH STATEMENT EXECUTE FUNCTION public.remember_name();
CREATE TRIGGER remember_name AFTER INSERT ON inventory.reservations FOR EACH STATEMENT
    EXECUTE FUNCTION public.remember_name();
CREATE TRIGGER remember_name AFTER INSERT ON operations.timeline FOR EACH STATEMENT
    EXECUTE FUNCTION public.remember_name();
"""


@pytest_asyncio.fixture(loop_scope="session")
async def talkative(servers: Servers) -> AsyncIterator[Deployment]:
    """Services that say each message they settle."""
    extra = {"PAYMENTS_LOG_LEVEL": "DEBUG"}
    async with deploy(servers, namespace="trace" + secrets.token_hex(3), names=NAMES, extra=extra) as running:
        yield running


def _said(deployment: Deployment, service: str, trace_id: str, event: str, key: str) -> list[str]:
    """What a service logged of an event in a trace, in alphabetical order."""
    text = deployment.children[service].log.read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines() if trace_id in line]
    return sorted(line[key] for line in found if line["event"] == event)


async def test_one_trace_id_from_the_request_to_the_last_consumer_and_to_postgres(talkative: Deployment) -> None:
    trace_id = secrets.token_hex(16)
    async with Shopper.of(talkative) as shopper:
        await shopper.owner.execute(WATCH)
        sku = await shopper.offer(stock=0)
        body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
        url = talkative.front_door_url + "/api/payments/checkout-session"
        traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"

        answer = await shopper.call(
            "POST", url, body, **{"Idempotency-Key": secrets.token_hex(12), "traceparent": traceparent}
        )

        assert answer.status == 409, answer

        async def told() -> bool:
            return (
                _said(talkative, "operations", trace_id, SETTLED, "type") == ["order.canceled.v1", "order.placed.v1"]
                and _said(talkative, "inventory", trace_id, SETTLED, "type") == ["order.canceled.v1"]
                and _said(talkative, "inventory", trace_id, ASKED, "route") == ["/internal/reservations"]
                and _said(talkative, "checkout", trace_id, ASKED, "route") == ["/api/payments/checkout-session"]
            )

        await eventually(told, within=60, what="every log from the door to the last consumer")
        names = {tuple(row) for row in await shopper.owner.fetch("SELECT relation, name FROM public.names")}
        assert {
            ("checkout", f"checkout {trace_id}"),
            ("inventory", f"inventory {trace_id}"),
            ("operations", f"operations {trace_id}"),
        } <= names
        stored = """SELECT count(*) FROM checkout.outbox
                     WHERE convert_from(body, 'UTF8')::jsonb ->> 'traceparent' LIKE '00-' || $1 || '-%'"""
        assert await shopper.count(stored, trace_id) == 2, "and it stays in the outbox"


async def test_what_was_said_outside_any_trace_begins_one_that_all_its_hearers_share(servers: Servers) -> None:
    """As all that Stripe starts, whose requests carry none."""
    found: dict[str, str | None] = {}
    message_ids: set[str] = set()

    def ear(service: str) -> Callable[[Transaction, OrderExpired], Awaitable[None]]:
        async def hear(tx: Transaction, _: OrderExpired) -> None:
            found[service] = tracing.current_trace_id()
            assert tx.cause is not None
            message_ids.add(tx.cause.id.hex)

        return hear

    async with (
        provisioned(servers) as made,
        half_of("inventory", made, events=[on(OrderExpired, ear("inventory"))]) as inventory,
        half_of("operations", made, events=[on(OrderExpired, ear("operations"))]) as operations,
        half_of("checkout", made) as checkout,
    ):
        await consuming(inventory)
        await consuming(operations)
        await asyncio.wait_for(checkout.messaging.publisher.link.ready.wait(), timeout=30)
        await checkout.say(OrderExpired(order_id=new_id()))

        async def both() -> bool:
            return len(found) == 2

        await eventually(both, within=60, what="both hear it")
    assert set(found.values()) == message_ids
    assert len(message_ids) == 1


async def test_a_transaction_has_the_name_of_its_trace_only_while_it_lasts(servers: Servers) -> None:
    pool = await open_pool(servers.admin_dsn, schema="public", application_name="test")
    look = "SELECT application_name FROM pg_stat_activity WHERE pid = $1"
    async with acquire(pool) as connection:
        other = await asyncpg.connect(servers.admin_dsn)
        pid = connection.get_server_pid()
        with tracing.continued(None) as traceparent:
            for _ in range(2):
                async with connection.transaction(), connection.transaction():  # a savepoint changes nothing
                    inside = await other.fetchval(look, pid)
                with pytest.raises(ZeroDivisionError):
                    async with connection.transaction():
                        raise ZeroDivisionError
                assert inside == f"test {tracing.trace_id_of(traceparent)}"
                assert await other.fetchval(look, pid) == "test"
        async with connection.transaction():
            assert await other.fetchval(look, pid) == "test", "outside any trace"
        await other.close()
    await asyncio.wait_for(pool.close(), timeout=10)
