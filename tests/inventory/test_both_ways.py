"""Words that are applied many to a transaction end as if each had come alone."""

import random
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from uuid import UUID

import pytest

from inventory.consumers import bindings
from inventory.handlers import Handlers
from inventory.model import Line, OutOfStock
from payments_shared.clock import utc_now
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine
from payments_shared.contracts.message import Message
from payments_shared.ids import derived_id
from sandbox.services.resolver import Servers
from tests.inventory.builders import ADA, order_lines, order_paid, shipment_canceled
from tests.shared.messaging import provisioned
from tests.support.both_ways import BothWays, both_ways, incoming, with_repeats

pytestmark = pytest.mark.servers

SEEDS = 12
SKUS = ("A", "B", "c")
ORDERS = tuple(derived_id("order", str(number)) for number in range(7))
UNTIL = utc_now() + timedelta(minutes=10)


@pytest.fixture(scope="module")
async def decisions(servers: Servers) -> AsyncIterator[BothWays]:
    """Inventory's decisions alone."""
    async with provisioned(servers) as made, both_ways(made, "inventory") as ready:
        yield ready


def some_lines(chance: random.Random) -> dict[str, int]:
    """A cart."""
    return {sku: chance.randint(1, 3) for sku in chance.sample(SKUS, chance.randint(1, len(SKUS)))}


def some_word(chance: random.Random, order_id: UUID, lines: Mapping[str, int]) -> Message:
    """Something that a neighbour may say of the order. Now and then it is of other lines, or more than was sold."""
    said = dict.fromkeys(lines, 1) if chance.random() < 0.01 else lines
    part = {sku: chance.randint(1, quantity) for sku, quantity in lines.items() if chance.random() < 0.5} or lines
    shipment = shipment_canceled(order_id, part, str(chance.randint(1, 3)))
    words: list[Message] = [
        order_paid(order_id, said),
        order_paid(order_id, said),
        checkout.OrderProcessing(order_id=order_id, lines=order_lines(said), customer=ADA),
        checkout.OrderProcessing(order_id=order_id),
        checkout.OrderPaymentFailed(order_id=order_id, final=True),
        checkout.OrderPaymentFailed(order_id=order_id, final=False, hold_until=UNTIL),
        checkout.OrderPaymentFailed(order_id=order_id, final=False, abandoned=True),
        checkout.OrderPaymentFailed(order_id=order_id, final=False),
        checkout.OrderPaymentRetrying(order_id=order_id, attempt=chance.randint(0, 1), next_attempt_at=UNTIL),
        checkout.OrderExpired(order_id=order_id),
        checkout.OrderCanceled(order_id=order_id, reason="buyer"),
        shipment,
        fulfillment.ShipmentReturned(
            order_id=order_id,
            shipment_id=shipment.shipment_id,
            lines=tuple(StockLine(sku=sku, quantity=n) for sku, n in part.items()),
        ),
    ]
    weights = [12, 12, 3, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1]
    return chance.choices(words, weights)[0]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_words_together_end_as_one_by_one(decisions: BothWays, seed: int) -> None:
    chance = random.Random(seed)
    handlers = Handlers(decisions.outbox, low_threshold=2, grace_seconds=900)
    carts = {order_id: some_lines(chance) for order_id in ORDERS}
    stock = {sku: chance.randint(0, 12) for sku in SKUS}
    held = [order_id for order_id in ORDERS if chance.random() < 0.6]

    async def begin() -> None:
        for sku, total in stock.items():
            await handlers.put_stock(sku, total)
        for order_id in held:
            lines = [Line(sku, quantity) for sku, quantity in carts[order_id].items()]
            try:
                await handlers.hold(order_id, lines, UNTIL + timedelta(hours=1))
            except OutOfStock:
                continue

    said = [some_word(chance, order_id, carts[order_id]) for order_id in chance.choices(ORDERS, k=30)]
    heard = with_repeats([incoming(message) for message in said], chance)
    in_batches = await decisions.compare(begin, bindings(handlers), heard, chance)

    assert in_batches > 0.1
