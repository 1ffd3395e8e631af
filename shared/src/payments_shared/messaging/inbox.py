"""The inbox: a message takes effect once, because its row commits with the effect."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

from payments_shared.ids import new_id
from payments_shared.messaging.envelope import Envelope
from payments_shared.postgres import Connection

RETENTION_DAYS: Final = 35  # Stripe lists its events for 30; older dead letters go back only by a person's decision
REMEMBERED_DAYS: Final = RETENTION_DAYS - 1
"""Days before today that every service still has in its inbox and outbox. Each drops the oldest at an hour of its own,
and where it is tomorrow already, one more."""

# The twin of a message that is being applied elsewhere waits here on the primary key until that transaction ends,
# and then finds the row: no isolation level above READ COMMITTED is needed. The order of the ids keeps two
# batches from waiting for each other.
_CLAIM: Final = """
INSERT INTO inbox (day, message_id, handler, type)
SELECT day, message_id, $4, type
  FROM unnest($1::date[], $2::uuid[], $3::text[]) AS claimed (day, message_id, type)
 ORDER BY message_id
ON CONFLICT DO NOTHING
RETURNING message_id
"""

_REFUSE: Final = """
INSERT INTO inbox (day, message_id, handler, type, outcome, reason)
VALUES ($1, $2, $3, $4, 'refused', $5)
ON CONFLICT DO NOTHING -- a twin may have recorded it first
"""

_SEEN: Final = "SELECT EXISTS (SELECT FROM inbox WHERE day = $1 AND message_id = $2 AND handler = $3)"


# Two instances with two snapshots of one subject meet on its row: the second waits, and then compares with the first.
_OVERTAKEN: Final = """
WITH advanced AS (
    INSERT INTO snapshots AS known (subject, kind, sequence)
    VALUES ($1, $2, $3)
    ON CONFLICT (subject, kind) DO UPDATE
       SET sequence = excluded.sequence
     WHERE known.sequence <= excluded.sequence
    RETURNING sequence
)
UPDATE inbox
   SET outcome = 'stale'
 WHERE day = $4 AND message_id = $5 AND handler = $6 AND NOT EXISTS (SELECT FROM advanced)
RETURNING true
"""

# The first of all days: no partition holds it, and no message was ever said on it.
_PROVE: Final = "INSERT INTO inbox (day, message_id, handler, type) VALUES ('0001-01-01', $1, $2, 'proof')"


def remembers(day: date, today: date) -> bool:
    """Whether a message of `day` that was applied is still known as such.

    The day after is dropped first: clocks here and at the database may differ by hours.
    """
    return day >= today - timedelta(days=REMEMBERED_DAYS)


async def prove(connection: Connection, handler: str) -> None:
    """Raise what the database says to whoever wants to write here; nothing stays behind. A server that is full or
    read-only answers every question and takes nothing."""
    proof = connection.transaction()
    await proof.start()
    try:
        await connection.execute(_PROVE, new_id(), handler)
    finally:
        await proof.rollback()


async def claim(connection: Connection, envelopes: Sequence[Envelope], handler: str) -> set[UUID]:
    """Record `envelopes` as applied by `handler` and return the ids that were not recorded before.

    Must run in the transaction that applies them.
    """
    rows = await connection.fetch(
        _CLAIM,
        [envelope.day for envelope in envelopes],
        [envelope.id for envelope in envelopes],
        [envelope.type for envelope in envelopes],
        handler,
    )
    return {row["message_id"] for row in rows}


async def refuse(connection: Connection, envelope: Envelope, handler: str, reason: str) -> None:
    """Record that `handler` refused the message by a rule of the business."""
    await connection.execute(_REFUSE, envelope.day, envelope.id, handler, envelope.type, reason[:1000])


async def seen(connection: Connection, envelope: Envelope, handler: str) -> bool:
    """Whether `handler` has already dealt with the message. A cheap look before an outward call; no lock."""
    return bool(await connection.fetchval(_SEEN, envelope.day, envelope.id, handler))


async def overtaken(connection: Connection, envelope: Envelope, snapshot: str, handler: str) -> bool:
    """Whether a newer `snapshot` of the claimed message's subject took effect before; its inbox row then says `stale`.

    Otherwise this one is the newest from now on. Must run in the transaction that claimed the message.
    """
    if envelope.sequence is None:
        return False
    return bool(
        await connection.fetchval(
            _OVERTAKEN, envelope.subject, snapshot, envelope.sequence, envelope.day, envelope.id, handler
        )
    )
