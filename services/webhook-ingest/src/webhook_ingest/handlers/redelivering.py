"""Operators look at Stripe's events, and hand one to the broker again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import structlog

from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from webhook_ingest import store
from webhook_ingest.handlers.ingesting import message_id
from webhook_ingest.model import Delivery, Resend, State, Stored, Wanted

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """An event in a list. No delivery: nobody hears it, or its message is no longer kept."""

    event: Stored
    delivery: Delivery | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One event with its bytes, its message, and who handed it to the broker again."""

    event: Stored
    delivery: Delivery | None
    raw: bytes
    resends: Sequence[Resend]


@dataclass(frozen=True, slots=True)
class Redelivering:
    """Events are never changed. Their messages are kept as long as consumers remember them, and no longer handed out
    after that: nobody could say whether they took effect."""

    outbox: Outbox

    async def listed(self, wanted: Wanted, limit: int) -> list[Listed]:
        """Events of a day, the latest stored first."""
        async with acquire(self.outbox.pool) as connection:
            events = await store.list_events(connection, wanted, limit)
            ids = [message_id(event.account, event.event_id) for event in events]
            known = await store.deliveries(connection, wanted.day, ids)
        return [Listed(event, known.get(one)) for event, one in zip(events, ids, strict=True)]

    async def shown(self, day: date, event_id: str) -> Shown:
        """One event.

        Raises:
            Refused: 404.
        """
        async with acquire(self.outbox.pool) as connection:
            found = await store.show_event(connection, day, event_id)
            if found is None:
                raise _unknown()
            event, raw = found
            wanted = message_id(event.account, event_id)
            known = await store.deliveries(connection, day, [wanted])
            resends = await store.list_resends(connection, day, event_id)
        return Shown(event, known.get(wanted), raw, resends)

    async def resend(self, day: date, event_id: str, *, actor: str, reason: str) -> None:
        """Hand its message to the broker again, under its id: who took it already does nothing.

        Raises:
            Refused: 404; 409 `not_heard`: it has no message; 409 `no_longer_kept`.
        """
        async with acquire(self.outbox.pool) as connection, connection.transaction():
            found = await store.show_event(connection, day, event_id)
            if found is None:
                raise _unknown()
            event, _ = found
            if event.state != State.PROCESSED:
                raise Refused("not_heard", "Nobody hears this event: it has no message.")
            if not await store.hand_over_again(connection, day, message_id(event.account, event_id)):
                raise Refused("no_longer_kept", "Its message is no longer kept.")
            await store.insert_resend(connection, day, event_id, actor=actor, reason=reason)
        self.outbox.wake.set()
        log.warning("event.resent", event_id=event_id, actor=actor)


def _unknown() -> Refused:
    return Refused("not_found", "There is no such event.", status=404)
