"""Facts that are folded many to a transaction end as if each had come alone."""

import random
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from fulfillment.consumers import bindings
from fulfillment.handlers import Handlers
from payments_shared.contracts import checkout, refunds
from payments_shared.contracts.message import Message
from payments_shared.ids import derived_id
from sandbox.services.resolver import Servers
from tests.fulfillment.builders import (
    a_line,
    dispute_message,
    order_paid,
    order_paid_with,
    refund_message,
    stock_committed,
)
from tests.shared.messaging import provisioned
from tests.support.both_ways import BothWays, both_ways, incoming, with_repeats

pytestmark = pytest.mark.servers

SEEDS = 12
EBOOK = a_line("EBOOK", digital=True)
ORDERS = tuple(derived_id("order", str(number)) for number in range(7))
CAUSES = ("review:1", "early_fraud_warning:2")
REFUNDS = (
    refunds.RefundApproved,
    refunds.RefundRejected,
    refunds.RefundSucceeded,
    refunds.RefundFailed,
    refunds.RefundCanceled,
)
DISPUTES = (refunds.DisputeOpened, refunds.DisputeWon, refunds.DisputeLost)


@pytest.fixture(scope="module")
async def decisions(servers: Servers) -> AsyncIterator[BothWays]:
    """Fulfillment's decisions alone."""
    async with provisioned(servers) as made, both_ways(made, "fulfillment") as ready:
        yield ready


def some_fact(chance: random.Random, order_id: UUID) -> Message:
    """Something that a neighbour may say of the order."""
    if chance.random() < 0.3:
        lines = chance.choice([None, {"MUG": 1}, {"CAP": 1}, {"CAP": 1, "MUG": 2}, {"EBOOK": 1, "CAP": 1}])
        refund_id = derived_id("refund", str(order_id), str(chance.randint(1, 2)))
        return refund_message(chance.choice(REFUNDS), order_id, lines, refund_id=refund_id)
    if chance.random() < 0.1:
        return dispute_message(chance.choice(DISPUTES), order_id, chance.randint(1, 4))
    return chance.choice(
        [
            order_paid(order_id),
            stock_committed(order_id),
            order_paid_with(order_id, EBOOK),
            stock_committed(order_id),
            checkout.OrderHeld(order_id=order_id, reason="amount_mismatch"),
            checkout.OrderUnheld(order_id=order_id),
            checkout.OrderHeld(order_id=order_id, reason="identity_conflict", cause=(cause := chance.choice(CAUSES))),
            checkout.OrderUnheld(order_id=order_id, cause=cause),
        ]
    )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_facts_together_end_as_one_by_one(decisions: BothWays, seed: int) -> None:
    chance = random.Random(seed)

    async def begin() -> None:
        """Nothing is known."""

    said = [some_fact(chance, order_id) for order_id in chance.choices(ORDERS, k=40)]
    heard = [incoming(message, seconds=chance.randint(0, 60)) for message in said]
    in_batches = await decisions.compare(
        begin, bindings(Handlers(decisions.outbox)), with_repeats(heard, chance), chance
    )

    assert in_batches > 0.3
