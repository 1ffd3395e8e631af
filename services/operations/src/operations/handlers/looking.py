"""What people look at; nothing here changes anything. What is secret in it, such as the client secrets of Stripe's
objects, is not shown: the rows keep it, since a replay must be exact."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from operations.decide.replaying import last_answer, wire_id
from operations.decide.searching import Kind, Term
from operations.model.letters import Filter, Group, Listed, Position, Unsettled
from operations.model.timeline import Mentioned
from operations.model.trail import Acted, Sought
from operations.store import Row, bulks, letters, timeline, trail
from payments_shared import tracing
from payments_shared.errors import Refused
from payments_shared.messaging.envelope import traceparent_in
from payments_shared.postgres import Pool, acquire
from payments_shared.redaction import redacted, redacted_text

BULKS_LISTED = 20
FOUND_MAX = 50
NEWEST: Final = Position(datetime(9999, 1, 1, tzinfo=UTC), UUID(int=0))
NEWEST_ACT: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: at most fifty of each."""

    orders: Sequence[str]
    messages: Sequence[Mentioned]
    letters: Sequence[Listed]
    bulk_id: UUID | None = None

    @property
    def nothing(self) -> bool:
        return not (self.orders or self.messages or self.letters or self.bulk_id)


@dataclass(frozen=True, slots=True)
class Looking:
    """One method per question."""

    pool: Pool

    async def summary(self, *, everything: bool) -> list[Row]:
        """Counts by service, type, reason and status."""
        async with acquire(self.pool) as connection:
            return await letters.summary(connection, everything=everything)

    async def unsettled(self) -> list[Unsettled]:
        """What is unsettled, by service."""
        async with acquire(self.pool) as connection:
            return await letters.unsettled(connection)

    async def groups(self, service: str | None, type_: str | None) -> list[Group]:
        """What is unsettled, by service, type and fingerprint."""
        async with acquire(self.pool) as connection:
            found = await letters.groups(connection, service, type_)
        return [replace(one, exception_message=_shown(one.exception_message)) for one in found]

    async def listed(self, wanted: Filter, limit: int, behind: Position = NEWEST) -> list[Listed]:
        """Dead letters, the latest failures first: behind where a page before ended."""
        async with acquire(self.pool) as connection:
            return _all_shown(await letters.listed(connection, wanted, behind, limit))

    async def shown(self, letter_id: UUID) -> Row:
        """One dead letter.

        Raises:
            Refused: 404.
        """
        async with acquire(self.pool) as connection:
            found = await letters.shown(connection, letter_id)
        if found is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        return {**redacted(found), "trace_id": _trace_of(found), "answer": last_answer(found["status"], found["audit"])}

    async def standing(self, letter_id: UUID) -> Row:
        """Where one dead letter stands.

        Raises:
            Refused: 404.
        """
        async with acquire(self.pool) as connection:
            found = await letters.standing(connection, letter_id)
        if found is None:
            raise Refused("not_found", "There is no such dead letter.", status=404)
        return {**redacted(found), "answer": last_answer(found["status"], found["audit"])}

    async def bulks(self) -> list[Row]:
        """The latest bulks."""
        async with acquire(self.pool) as connection:
            return await bulks.listed(connection, BULKS_LISTED)

    async def unfinished_bulks(self) -> list[Row]:
        """Bulks that run or stand paused, however old."""
        async with acquire(self.pool) as connection:
            return await bulks.unfinished(connection)

    async def bulk(self, bulk_id: UUID) -> Row:
        """One bulk and how far it is.

        Raises:
            Refused: 404.
        """
        async with acquire(self.pool) as connection:
            found = await bulks.shown(connection, bulk_id)
        if found is None:
            raise Refused("not_found", "There is no such bulk.", status=404)
        return found

    async def timeline(self, order_ref: str) -> tuple[list[Row], list[Row]]:
        """What happened to an order: messages, and dead letters."""
        async with acquire(self.pool) as connection:
            messages, failed = await timeline.of_order(connection, order_ref)
        return [dict(redacted(row)) for row in messages], failed

    async def acts(self, sought: Sought, limit: int) -> list[Acted]:
        """What people and services did, the latest first."""
        async with acquire(self.pool) as connection:
            found = await trail.acts(connection, sought, limit)
        return [replace(one, detail=redacted(one.detail)) for one in found]

    async def found(self, term: Term) -> Found:
        """Where a term stands: in an order, in messages, in dead letters; or whose orders it names."""
        async with acquire(self.pool) as connection:
            match term.kind:
                case Kind.ORDER:
                    failed = _all_shown(await letters.found(connection, [], [], term.text, FOUND_MAX))
                    known = failed or await timeline.knows(connection, term.text)
                    return Found([term.text] if known else [], [], failed)
                case Kind.REFERENCE:
                    messages = await timeline.mentions(connection, term.text, FOUND_MAX)
                    ids = [str(one.message_id) for one in messages]
                    failed = _all_shown(await letters.found(connection, [], ids, None, FOUND_MAX))
                    return Found(await timeline.orders_of(connection, term.text, FOUND_MAX), messages, failed)
                case Kind.ACCOUNT:
                    return Found(await timeline.orders_of(connection, term.text, FOUND_MAX), [], [])
                case Kind.ID if term.id is not None:
                    message = await timeline.message(connection, term.id)
                    messages = [message] if message else []
                    failed = _all_shown(await letters.found(connection, [term.id], [str(term.id)], None, FOUND_MAX))
                    bulk = await bulks.shown(connection, term.id)
                    orders = [*_orders(messages), *await timeline.orders_of(connection, term.text, FOUND_MAX)]
                    return Found(list(dict.fromkeys(orders)), messages, failed, term.id if bulk else None)
                case _:
                    return Found([], [], [])


def _trace_of(letter: Row) -> str:
    """The trace in which a message was said. What was said outside any began one by its id."""
    said_in = traceparent_in(letter["body"]) or tracing.rooted_in(wire_id(letter["message_id"]))
    return tracing.trace_id_of(said_in)


def _all_shown(found: Sequence[Listed]) -> list[Listed]:
    return [replace(one, exception_message=_shown(one.exception_message)) for one in found]


def _shown(text: str | None) -> str | None:
    return None if text is None else redacted_text(text)


def _orders(messages: Sequence[Mentioned]) -> list[str]:
    return list(dict.fromkeys(one.order_ref for one in messages if one.order_ref))
