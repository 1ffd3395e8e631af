"""A consumer that the broker put off comes back, and finds its queue as it should be."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from payments_shared.contracts.checkout import OrderExpired
from payments_shared.ids import new_id
from payments_shared.messaging import Transaction, drain, on
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, consuming, half_of, metric, provisioned
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


class Ear:
    """What was heard of each order; with `gate` closed a handler does not end."""

    def __init__(self) -> None:
        self.heard: Counter[UUID] = Counter()
        self.begun = 0
        self.ended = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def hear(self, _: Transaction, message: OrderExpired) -> None:
        self.begun += 1
        await self.gate.wait()
        self.heard[message.order_id] += 1
        self.ended += 1


async def test_a_consumer_whose_queue_was_deleted_declares_it_and_hears_again(
    servers: Servers, made: Provisioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "HEARERS_CHECK_SECONDS", 0.2)
    ear, orders = Ear(), [new_id() for _ in range(3)]
    async with (
        administrator(servers, made) as admin,
        half_of("inventory", made, events=[on(OrderExpired, ear.hear)]) as inventory,
        half_of("checkout", made) as checkout,
    ):
        await consuming(inventory)
        await admin.queue_delete("inventory.events")

        async def gone() -> bool:
            return not inventory.messaging.consumers[0].active

        await eventually(gone, within_seconds=60, what="the broker cancels the consumer")
        assert await inventory.messaging.checks()["consumers"]() == "not consuming inventory.events"
        await consuming(inventory)
        await checkout.announce(*(OrderExpired(order_id=order_id) for order_id in orders))

        async def all_heard() -> bool:
            return ear.heard == dict.fromkeys(orders, 1)

        await eventually(all_heard, within_seconds=60, what="what was said afterwards")
        assert await inventory.messaging.checks()["consumers"]() is None
        assert await inventory.messaging.checks()["topology"]() is None


async def test_a_handler_whose_connection_ends_commits_all_the_same_and_its_message_is_known(
    servers: Servers, made: Provisioned
) -> None:
    """A library that runs handlers as callbacks cancels them with their channel."""
    ear, order = Ear(), new_id()
    ear.gate.clear()
    stale = metric("payments_stale_acks_total")
    async with (
        half_of("inventory", made, events=[on(OrderExpired, ear.hear)]) as inventory,
        half_of("checkout", made) as checkout,
    ):
        await consuming(inventory)
        await checkout.announce(OrderExpired(order_id=order))

        async def begun() -> bool:
            return ear.begun == 1

        await eventually(begun, within_seconds=60, what="the handler works")
        await _end_connection(servers, made, "inventory-consume-events")

        async def lost() -> bool:
            return not inventory.messaging.consumers[0].active

        await eventually(lost, within_seconds=60, what="the connection is gone")
        duplicates = metric("payments_inbox_duplicates_total")
        ear.gate.set()

        async def known() -> bool:
            return metric("payments_inbox_duplicates_total") == duplicates + 1

        await eventually(known, within_seconds=60, what="the twin that the broker sends again")
        assert ear.heard == {order: 1}
        assert ear.ended == 1
        assert metric("payments_stale_acks_total") == stale + 1


async def _end_connection(servers: Servers, made: Provisioned, role: str) -> None:
    """As an administrator does it. The management API shows a connection some seconds late."""
    parts = urlsplit(servers.management_url)
    login = aiohttp.encode_basic_auth(parts.username or "", parts.password or "")
    url = f"{parts.scheme}://{parts.hostname}:{parts.port}/api"
    async with aiohttp.ClientSession(headers={"Authorization": login}) as http:

        async def ended() -> bool:
            async with http.get(f"{url}/vhosts/{quote(made.vhost, safe='')}/connections") as answer:
                rows = await answer.json()
            names = [row["name"] for row in rows if str(row.get("user_provided_name", "")).endswith(role)]
            for name in names:
                async with http.delete(f"{url}/connections/{quote(name, safe='')}") as answer:
                    assert answer.status in (204, 404)
            return bool(names)

        await eventually(ended, within_seconds=60, what=f"a connection {role}")
