"""Switches that administrators turn, and who turned them."""

from checkout.model.limits import Position, Switch, Turn
from payments_shared.postgres import Connection
from payments_shared.queries import load_queries

QUERIES = load_queries("checkout")


async def list_turns(connection: Connection, switch: Switch, limit: int) -> list[Turn]:
    """The latest turns of a switch, the newest first; none when it was never turned."""
    rows = await connection.fetch(QUERIES["list_turns"], switch.value, limit)
    return [Turn(Position(row["state"]), row["actor"], row["reason"], row["at"]) for row in rows]


async def turn(connection: Connection, switch: Switch, position: Position, actor: str, reason: str | None) -> bool:
    """Turn a switch; False when it stood so already."""
    row = await connection.fetchrow(QUERIES["turn_switch"], switch.value, position.value, actor, reason)
    return row is not None
