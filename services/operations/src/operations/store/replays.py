"""Replays: claimed, sent, settled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operations.model.replays import Outcome, Replay, Told
from payments_shared.postgres import Connection, fetch_as
from payments_shared.queries import load_queries

_QUERIES = load_queries("operations")


@dataclass(frozen=True, slots=True)
class Claimed:
    """A dead letter that a replay has for itself."""

    id: UUID
    replay_id: UUID
    service: str


async def claim(
    connection: Connection,
    wanted: Sequence[tuple[UUID, UUID]],
    *,
    statuses: Sequence[str],
    cutoff: datetime | None,
    lease_seconds: float,
) -> list[Claimed]:
    """Take dead letters, as (letter, replay), that have one of `statuses` and did not fail after `cutoff`."""
    ids, replay_ids = [letter for letter, _ in wanted], [replay for _, replay in wanted]
    sql = _QUERIES["claim_dead_letters"]
    return await fetch_as(connection, Claimed, sql, ids, replay_ids, list(statuses), cutoff, lease_seconds)


async def insert(
    connection: Connection, claimed: Sequence[Claimed], *, bulk_id: UUID | None, body: bytes | None = None
) -> None:
    """Remember the replays of what was claimed; `body` of an edited copy. The worker sends them after the commit."""
    ids, letters = [one.replay_id for one in claimed], [one.id for one in claimed]
    services = [one.service for one in claimed]
    await connection.execute(_QUERIES["insert_replays"], ids, letters, services, bulk_id, body)


async def any_unsent(connection: Connection) -> bool:
    """Whether a replay still waits for the broker's word, or to be sent."""
    return bool(await connection.fetchval(_QUERIES["any_unsent"]))


async def to_send(
    connection: Connection, bulks: Sequence[UUID], *, again_after_seconds: float, limit: int
) -> list[Replay]:
    """Replays that never left, of `bulks` or of none, or left a while ago without the broker's word; locked against
    another worker."""
    return await fetch_as(connection, Replay, _QUERIES["replays_to_send"], again_after_seconds, limit, list(bulks))


async def mark_tried(connection: Connection, replay_ids: Sequence[UUID]) -> None:
    """They are being sent now."""
    await connection.execute(_QUERIES["mark_tried"], list(replay_ids))


async def mark_sent(connection: Connection, replay_ids: Sequence[UUID]) -> None:
    """The broker has them; their leases run from now."""
    await connection.execute(_QUERIES["mark_sent"], list(replay_ids))


async def take_back_untried(connection: Connection, bulk_id: UUID) -> list[tuple[UUID, UUID]]:
    """End what a bulk claimed and nobody tried to send; (letter, replay) of each, open again."""
    rows = await connection.fetch(_QUERIES["take_back_untried"], bulk_id)
    return [(row["id"], row["replay_id"]) for row in rows]


async def unknown_outcomes(connection: Connection, letters: Sequence[UUID]) -> list[UUID]:
    """Those of `letters` whose last replay was sent and may still take effect: nobody told how it ended."""
    return [row["id"] for row in await connection.fetch(_QUERIES["unknown_outcomes"], list(letters))]


async def letter_of(connection: Connection, replay_id: UUID, service: str) -> UUID | None:
    """The dead letter that a replay to `service` was of; None for one that is not ours."""
    found: UUID | None = await connection.fetchval(_QUERIES["find_replay"], replay_id, service)
    return found


async def settle(
    connection: Connection, replay_id: UUID, outcome: Outcome, fingerprint: str | None = None
) -> UUID | None:
    """Write how a replay ended and return its bulk; None when that was known, or it has none."""
    row = await connection.fetchrow(_QUERIES["settle_replay"], replay_id, outcome.value, fingerprint)
    return row["bulk_id"] if row else None


async def settle_others(connection: Connection, letter_id: UUID) -> list[UUID]:
    """The service is done with the message: end its other replays, and return their bulks."""
    rows = await connection.fetch(_QUERIES["settle_other_replays"], letter_id)
    return [row["bulk_id"] for row in rows if row["bulk_id"] is not None]


async def any_overdue(connection: Connection, *, lease_seconds: float) -> bool:
    """Whether `overdue` would find anything. A cheap look without locks."""
    return bool(await connection.fetchval(_QUERIES["any_overdue"], lease_seconds))


async def overdue(connection: Connection, *, lease_seconds: float, limit: int) -> list[tuple[UUID, UUID]]:
    """(letter, replay) of which nobody told within the lease, locked."""
    rows = await connection.fetch(_QUERIES["overdue_replays"], lease_seconds, limit)
    return [(row["id"], row["replay_id"]) for row in rows]


async def open_again(connection: Connection, letter_id: UUID, replay_id: UUID) -> bool:
    """Its replay is over; False when it was told of meanwhile."""
    return await connection.fetchrow(_QUERIES["open_again"], letter_id, replay_id) is not None


async def latest_told(connection: Connection, bulk_id: UUID, limit: int) -> list[Told]:
    """How the latest replays of a bulk ended that were made since it was started or resumed."""
    return await fetch_as(connection, Told, _QUERIES["latest_told"], bulk_id, limit)
