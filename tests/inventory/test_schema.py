"""What the database refuses whatever the code does."""

from itertools import product

import asyncpg
import pytest

from inventory.decide import ARROWS, Move, move_between
from inventory.model import Standing, State
from payments_shared.ids import new_id
from payments_shared.postgres import open_pool
from tests.inventory.builders import a_sku
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers

INSERT = "INSERT INTO inventory.reservations (order_id, state, standing, expires_at) VALUES ($1, $2, $3, $4)"


def _steps() -> set[tuple[State | None, State]]:
    steps: set[tuple[State | None, State]] = {(None, State.HELD)}  # the hold itself
    for before, arrows in ARROWS.items():
        for arrow in arrows.values():
            steps |= {(before, after) for after in (arrow.to, arrow.without_stock) if after}
    return {(before, after) for before, after in steps if before is not after}


async def _refused_by(inventory: OneService, sql: str, *args: object) -> str | None:
    """The constraint that refuses a statement, or None."""
    try:
        await inventory.owner.execute(sql, *args)
    except asyncpg.CheckViolationError as error:
        return error.constraint_name
    return None


async def test_the_history_takes_exactly_the_steps_that_have_an_arrow(inventory: OneService) -> None:
    order_id, taken = new_id(), set()
    await inventory.owner.execute(INSERT, order_id, "closed", "ended", None)
    sql = "INSERT INTO inventory.reservation_transitions (order_id, from_state, to_state, reason) "

    for before, after in product((None, *State), State):
        refused = await _refused_by(inventory, sql + "VALUES ($1, $2, $3, 'test')", order_id, before, after)
        assert refused in (None, "reservation_transitions_legal")
        if refused is None:
            taken.add((before, after))

    assert taken == _steps()


async def test_a_state_stands_only_with_the_word_that_led_to_it(inventory: OneService) -> None:
    reachable = {(State.HELD, Standing.OPEN)}
    for arrows in ARROWS.values():
        for word, arrow in arrows.items():
            reachable |= {(state, word) for state in (arrow.to, arrow.without_stock) if state}

    accepted = set()
    for state, standing in product(State, Standing):
        deadline = await inventory.owner.fetchval("SELECT now()") if standing is Standing.OPEN else None
        refused = await _refused_by(inventory, INSERT, new_id(), state, standing, deadline)
        assert refused in (None, "reservations_state_follows_standing")
        if refused is None:
            accepted.add((state, standing))

    await inventory.owner.execute(
        "DELETE FROM inventory.reservations AS r "
        "WHERE NOT EXISTS (SELECT FROM inventory.reservation_transitions WHERE order_id = r.order_id)"
    )
    assert accepted == reachable


@pytest.mark.parametrize("piles", [(-1, 1, 0), (1, -1, 0), (1, 0, -1), (1, 1, 1)])
async def test_stock_is_never_lost_and_never_below_zero(inventory: OneService, piles: tuple[int, int, int]) -> None:
    sql = "INSERT INTO inventory.stock (sku, total, available, held, committed) VALUES ($1, 0, $2, $3, $4)"

    with pytest.raises(asyncpg.CheckViolationError):
        await inventory.owner.execute(sql, a_sku(), *piles)


def test_every_move_loses_nothing() -> None:
    assert all(sum(move.value) == 0 for move in Move)
    assert {move_between(before, after) for before, after in _steps()} == set(Move) - {Move.RESTOCK}


async def test_the_service_cannot_rewrite_its_history(inventory: OneService) -> None:
    dsn = inventory.deployment.provisioned.database_urls["inventory"]
    pool = await open_pool(dsn, schema="inventory", application_name="test")

    for statement in (
        "UPDATE reservation_transitions SET reason = 'x'",
        "DELETE FROM reservation_transitions",
        "UPDATE restocks SET reason = 'x'",
        "DELETE FROM restocks",
        "DELETE FROM reservations",
        "DELETE FROM stock",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)
    await pool.close()
