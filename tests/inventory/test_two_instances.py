"""Several instances apply batches about the same orders and articles while their holds come: nobody waits in a circle."""

import asyncio
import random
from datetime import timedelta
from uuid import UUID

import pytest

from inventory.consumers import bindings
from inventory.handlers import Handlers
from inventory.model import Line, OutOfStock, ReservationClosed
from payments_shared.clock import utc_now
from payments_shared.contracts import checkout
from payments_shared.contracts.message import Message
from payments_shared.ids import new_id
from payments_shared.messaging.deciding import Decider
from sandbox.services.resolver import Servers
from tests.inventory.builders import order_paid
from tests.shared.messaging import provisioned
from tests.support.both_ways import both_ways, incoming

pytestmark = pytest.mark.servers

ROUNDS = 10
INSTANCES = 3
SKUS = ("A", "B", "C")


def said_of(order_id: UUID, lines: dict[str, int], chance: random.Random) -> Message:
    """A payment, or the end of the order."""
    if chance.random() < 0.7:
        return order_paid(order_id, lines)
    return checkout.OrderCanceled(order_id=order_id, reason="buyer")


async def test_batches_and_holds_of_the_same_orders_never_deadlock(servers: Servers) -> None:
    chance = random.Random(1)
    async with provisioned(servers) as made, both_ways(made, "inventory") as decisions:
        handlers = Handlers(decisions.outbox, low_threshold=0, grace_seconds=900)
        decider = Decider(decisions.outbox, {one.message_type: one for one in bindings(handlers)})
        for sku in SKUS:
            await handlers.put_stock(sku, 100_000)

        async def hold(order_id: UUID, lines: dict[str, int]) -> None:
            wanted = [Line(sku, quantity) for sku, quantity in lines.items()]
            try:
                await handlers.hold(order_id, wanted, utc_now() + timedelta(hours=1))
            except (OutOfStock, ReservationClosed):
                return

        for _ in range(ROUNDS):
            carts = {new_id(): dict.fromkeys(chance.sample(SKUS, 2), 1) for _ in range(20)}
            batches = [
                [incoming(said_of(order_id, carts[order_id], chance)) for order_id in chance.sample([*carts], 20)]
                for _ in range(INSTANCES)
            ]
            await asyncio.gather(*(decider.apply(batch) for batch in batches), *(hold(*cart) for cart in carts.items()))

        disagree = """
            SELECT s.sku FROM inventory.stock AS s
              LEFT JOIN inventory.reservation_lines AS l USING (sku)
              LEFT JOIN inventory.reservations AS r USING (order_id)
             GROUP BY s.sku, s.held, s.committed
            HAVING coalesce(sum(l.quantity) FILTER (WHERE r.state = 'held'), 0) <> s.held
                OR coalesce(sum(l.quantity) FILTER (WHERE r.state = 'committed'), 0) <> s.committed
        """
        assert await decisions.owner.fetch(disagree) == []
