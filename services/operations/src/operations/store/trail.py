"""The trail: what people and services did, also what people asked of other services."""

from collections.abc import Sequence

from operations.model.trail import Acted, Ended, Errand, Sought
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


async def acts(connection: Connection, sought: Sought, limit: int) -> Sequence[Acted]:
    """What was done, the latest first."""
    given = (sought.before, sought.actor, sought.action, sought.since)
    return await fetch_as(connection, Acted, _QUERIES["list_acts"], *given, limit)


async def begin(connection: Connection, errand: Errand) -> int:
    """Write down what another service is about to be asked for; the row."""
    row_id: int = await connection.fetchval(
        _QUERIES["insert_act_elsewhere"],
        errand.action,
        errand.actor,
        errand.reason,
        errand.service,
        errand.subject,
        dict(errand.detail) or None,
    )
    return row_id


async def end(connection: Connection, row_id: int, actor: str, action: str, ended: Ended) -> None:
    """Write down how it ended, unless that is known."""
    await connection.execute(_QUERIES["insert_outcome"], row_id, actor, action, ended.outcome, ended.code)
