"""What the database refuses whatever the code does."""

from itertools import product

import asyncpg
import pytest

from fulfillment.decide import ARROWS
from fulfillment.model import ShipmentState
from payments_shared.ids import new_id
from payments_shared.postgres import open_pool
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers


async def test_the_history_takes_exactly_the_steps_that_have_an_arrow(fulfillment: OneService) -> None:
    order_id = shipment_id = new_id()
    await fulfillment.owner.execute("INSERT INTO fulfillment.orders (order_id) VALUES ($1)", order_id)
    await fulfillment.owner.execute(
        "INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) "
        """VALUES ($1, $2, 'created', '[{"sku": "CAP", "quantity": 1}]', 1)""",
        shipment_id,
        order_id,
    )
    # `settle` makes a parcel, makes one that is canceled at once, and cancels one that has not left.
    steps: set[tuple[ShipmentState | None, ShipmentState]] = {
        (None, ShipmentState.CREATED),
        (None, ShipmentState.CANCELED),
        (ShipmentState.CREATED, ShipmentState.CANCELED),
    }
    for before, arrows in ARROWS.items():
        steps |= {(before, after) for after in arrows.values() if after is not before}

    taken = set()
    for before, after in product((None, *ShipmentState), ShipmentState):
        try:
            await fulfillment.owner.execute(
                "INSERT INTO fulfillment.shipment_transitions (shipment_id, from_state, to_state, reason) "
                "VALUES ($1, $2, $3, 'test')",
                shipment_id,
                before,
                after,
            )
        except asyncpg.CheckViolationError:
            continue
        taken.add((before, after))

    assert taken == steps


async def test_the_service_cannot_rewrite_its_history(fulfillment: OneService) -> None:
    dsn = fulfillment.deployment.provisioned.database_urls["fulfillment"]
    pool = await open_pool(dsn, schema="fulfillment", application_name="test")

    for statement in (
        "UPDATE shipment_transitions SET reason = 'x'",
        "DELETE FROM shipment_transitions",
        "DELETE FROM shipments",
        "DELETE FROM orders",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    await pool.close()
