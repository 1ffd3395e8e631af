"""Evidence that was handed in."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from payments_shared.postgres import Connection
from refunds.model.packs import Pack
from refunds.model.requests import Person
from refunds.model.submissions import Submission, SubmissionState
from refunds.store.refunds import QUERIES


async def insert(connection: Connection, one: Submission) -> datetime:
    """Save a new submission; the moment of it, on the business clock."""
    created_at: datetime = await connection.fetchval(
        QUERIES["insert_submission"],
        one.id,
        one.dispute_id,
        one.final,
        one.inquiry,
        one.state.value,
        one.pack and one.pack.model_dump(mode="json"),
        dict(one.evidence),
        one.person.subject,
        one.person.email,
        one.reason,
    )
    return created_at


async def lock(connection: Connection, submission_id: UUID) -> Submission | None:
    """A submission, locked until the transaction ends."""
    row = await connection.fetchrow(QUERIES["lock_submission"], submission_id)
    return None if row is None else _submission(row)


async def list_of(connection: Connection, dispute_id: str) -> Sequence[Submission]:
    """The submissions of a dispute, the newest first."""
    return [_submission(row) for row in await connection.fetch(QUERIES["list_submissions"], dispute_id)]


async def begin(connection: Connection, submission_id: UUID) -> None:
    """Stripe is asked now."""
    await connection.execute(QUERIES["begin_submission"], submission_id)


async def keep_file(connection: Connection, submission_id: UUID, file_id: str) -> None:
    """Remember Stripe's file of what is printed."""
    await connection.execute(QUERIES["keep_file"], submission_id, file_id)


async def bump_attempt(connection: Connection, one: Submission) -> None:
    """The next try goes under another key."""
    await connection.execute(QUERIES["bump_submission_attempt"], one.id, one.stripe_attempt)


async def settle(connection: Connection, after: Submission) -> bool:
    """Save Stripe's answer; False when it had answered before."""
    done = await connection.execute(QUERIES["settle_submission"], after.id, after.state.value, after.refusal)
    return str(done) == "UPDATE 1"


async def lock_unsettled(connection: Connection, patience: timedelta) -> list[tuple[UUID, str]]:
    """Submissions to go on with, locked: (submission, dispute)."""
    rows = await connection.fetch(QUERIES["lock_unsettled_submissions"], patience.total_seconds())
    return [(row["id"], row["dispute_id"]) for row in rows]


async def mark_asked(connection: Connection, submission_id: UUID) -> None:
    """A command about the submission is under way."""
    await connection.execute(QUERIES["mark_submission_asked"], submission_id)


async def forget(connection: Connection, *, older_than_days: int, at_most: int) -> int:
    """Forget the packs and texts of submissions that old, and say of how many."""
    return int((await connection.execute(QUERIES["forget_submissions"], older_than_days, at_most)).rpartition(" ")[2])


def _submission(row: Any) -> Submission:  # Any: asyncpg.Record has untyped columns
    return Submission(
        id=row["id"],
        dispute_id=row["dispute_id"],
        final=row["final"],
        inquiry=row["inquiry"],
        state=SubmissionState(row["state"]),
        digest=row["pack"]["digest"],
        pack=Pack.model_validate(row["pack"]) if row["pack"].keys() > {"digest"} else None,
        evidence=row["evidence"],
        person=Person(row["actor"], row["actor_email"]),
        reason=row["reason"],
        file_id=row["file_id"],
        refusal=row["refusal"],
        stripe_attempt=row["stripe_attempt"],
        first_asked_at=row["first_asked_at"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
    )
