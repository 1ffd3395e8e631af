"""A message takes effect once, together with what it causes, whatever copies come and wherever a process dies."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Transaction, on
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, half_of, metric, provisioned, waiting
from tests.support.deadline import eventually
from tests.support.one_service import running

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


async def test_copies_in_one_batch_and_in_several_take_effect_once(servers: Servers, made: Provisioned) -> None:
    heard: Counter[UUID] = Counter()

    async def hear(_: Transaction, message: OrderExpired) -> None:
        heard[message.order_id] += 1

    orders = [new_id() for _ in range(40)]
    expected = metric("payments_inbox_duplicates_total")
    async with (
        administrator(servers, made) as admin,
        half_of("checkout", made) as checkout,
    ):
        await checkout.announce(*(OrderExpired(order_id=order_id) for order_id in orders))

        async def all_said() -> bool:
            return await checkout.unpublished() == 0 and await waiting(admin, "inventory.events") == len(orders)

        await eventually(all_said, within_seconds=60, what="the messages wait")
        for copies in (3, 2):
            for _ in range(copies):
                await checkout.owner.execute("UPDATE checkout.outbox SET published_at = NULL")
                checkout.outbox.wake.set()

                async def said_again() -> bool:
                    return await checkout.unpublished() == 0

                await eventually(said_again, within_seconds=60, what="all are said again")
            expected += copies * len(orders)
            async with half_of("inventory", made, events=[on(OrderExpired, hear)]):

                async def all_dropped(expected: float = expected) -> bool:
                    assert set(heard.values()) <= {1}, "a copy took effect"
                    return metric("payments_inbox_duplicates_total") == expected and len(heard) == len(orders)

                await eventually(all_dropped, within_seconds=60, what="every copy is known as one")

    assert heard == dict.fromkeys(orders, 1)


async def test_a_process_that_dies_before_its_commit_hears_the_message_again(servers: Servers) -> None:
    """An acknowledgement before the commit would have lost it."""
    orders = [new_id() for _ in range(5)]
    async with running("inventory", servers, PAYMENTS_SWEEP_SECONDS="3600") as inventory:
        child = inventory.deployment.children["inventory"]
        await asyncio.to_thread(inventory.deployment.stop, "inventory")
        inventory.deployment.start("inventory", PAYMENTS_FAILPOINT="before_commit=kill:1")
        child = inventory.deployment.children["inventory"]
        envelopes = [await inventory.say(OrderExpired(order_id=order_id)) for order_id in orders]

        async def died() -> bool:
            return not child.running

        await eventually(died, within_seconds=60, what="the process dies")
        known = await inventory.owner.fetchval("SELECT count(*) FROM inventory.inbox")
        await asyncio.to_thread(inventory.deployment.kill, "inventory")
        inventory.deployment.start("inventory")

        assert known == 0, "it died before it had committed anything"
        await inventory.heard(*envelopes)


async def test_what_fails_at_the_commit_itself_is_not_said(servers: Servers, made: Provisioned) -> None:
    """A message that left, or was stored, on another way than the change would tell what never came true."""
    async with half_of("checkout", made) as checkout, administrator(servers, made) as admin:
        await checkout.owner.execute(
            """
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'refused at the commit'; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON checkout.products DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION public.refuse();
            """
        )

        async def change() -> None:
            async with checkout.outbox.transaction() as tx:
                await tx.connection.execute("INSERT INTO checkout.products (sku, name) VALUES ('X', 'x')")
                tx.announce(OrderExpired(order_id=new_id()))

        with pytest.raises(asyncpg.RaiseError, match="refused at the commit"):
            await change()

        await checkout.announce(OrderExpired(order_id=new_id()))

        async def said() -> bool:
            return await waiting(admin, "inventory.events") >= 1 and await checkout.unpublished() == 0

        await eventually(said, within_seconds=60, what="the message behind it")
        assert await checkout.owner.fetchval("SELECT count(*) FROM checkout.outbox") == 1
        assert await waiting(admin, "inventory.events") == 1
