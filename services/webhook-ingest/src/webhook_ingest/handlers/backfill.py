"""Ask Stripe for events whose webhooks never came, and take them in as if they had."""

import asyncio
from collections.abc import Callable
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import structlog

from payments_shared import metrics
from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.errors import Refused, Retryable
from payments_shared.postgres import acquire, is_unavailable, unavailable_as_retryable
from payments_shared.sweeper import Round
from webhook_ingest import store
from webhook_ingest.decide import KEPT, OVERLAP
from webhook_ingest.gateway import StripeEvents, Wanted
from webhook_ingest.handlers.ingesting import Ingest, read
from webhook_ingest.model import Event, State

SINCE_MAX: Final = KEPT + timedelta(days=1)  # a walk of all thirty days may be gone on with later
STEP_SECONDS: Final = 5.0  # so that whoever asked sees progress, and loses little when the connection breaks
RETRY_SECONDS: Final = 60.0  # until the next look when Stripe or the database was away
REFUSED_RETRY_SECONDS: Final = 600.0  # when one of them refused: a person has to mend it, and all is walked again
SOURCE: Final = "pull"

log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """What is walked first and what next: the undelivered ones are probably those that are missed."""

    UNDELIVERED = "undelivered"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk came: behind the event `after`, at the beginning of its stage when that is None."""

    stage: Stage = Stage.UNDELIVERED
    after: str | None = None

    def __str__(self) -> str:
        return f"{self.stage}:{self.after or ''}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read back what `str` wrote.

        Raises:
            Refused: 422, for anything else.
        """
        stage, _, after = text.partition(":")
        try:
            return cls(Stage(stage), after or None)
        except ValueError:
            raise Refused("cursor_unknown", "The cursor is none that was given here.", status=422) from None


@dataclass(frozen=True, slots=True)
class Count:
    """Events that Stripe listed; `new` are those that were not stored before, and among them `ignored`, which nobody
    hears, and `dead`, which cannot be used. `failed` are those that the database refuses; the log says why."""

    seen: int = 0
    new: int = 0
    ignored: int = 0
    dead: int = 0
    failed: int = 0

    @property
    def healed(self) -> int:
        """New ones that somebody hears."""
        return self.new - self.ignored - self.dead

    def __add__(self, other: "Count") -> "Count":
        return Count(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a walk, all of one stage. `place` is where the next one goes on, None at the end; `reached` is when
    the last event seen was created."""

    stage: Stage
    count: Count
    place: Place | None
    reached: datetime | None


@dataclass(slots=True)
class Backfill:
    """Walks Stripe's list of events. `ingest` stores with the source `pull`; its `run` must be running.

    By itself it looks `every` so often for events that no webhook brought. `grace` is how long a webhook may take.
    `caught_up` is set once such a look has come to its end since the start, whatever it missed.
    """

    events: StripeEvents
    ingest: Ingest
    every: timedelta
    grace: timedelta
    caught_up: asyncio.Event = field(default_factory=asyncio.Event)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _looked_until: datetime | None = None
    _look_again_at: float = 0.0

    async def step(self, since: datetime, place: Place, *, dry_run: bool) -> Step:
        """Go on from `place` for some seconds. With `dry_run` nothing is stored, and `new` is what would be.

        Raises:
            Refused: 422, `since` is longer ago than Stripe keeps events, or lies in the future; 502, Stripe refuses.
            Retryable: Stripe or the database is away; the same step may be asked for again.
        """
        now = utc_now()
        if not now - SINCE_MAX <= since <= now:
            raise Refused("since_out_of_range", "Stripe keeps events for 30 days.", status=422)
        wanted = Wanted(since, undelivered=place.stage is Stage.UNDELIVERED)
        started = monotonic_seconds()
        return await self.walk(
            wanted, place, until=lambda: monotonic_seconds() - started > STEP_SECONDS, dry_run=dry_run
        )

    async def catch_up(self, stopping: asyncio.Event) -> Round | None:
        """Sweep: take in the undelivered events since the last look, at first all that Stripe still has.

        It healed those that somebody hears. A look that missed any is repeated, from where it began. None when it is
        not yet time to look again, or Stripe is not answering.
        """
        if monotonic_seconds() < self._look_again_at or self.events.stripe.resting:
            return None
        async with acquire(self.ingest.outbox.pool) as connection:
            now = await store.business_now(connection)
        begin = now - KEPT if self._looked_until is None else self._looked_until - OVERLAP
        wanted = Wanted(begin, now - self.grace, undelivered=True)
        try:
            step = await self.walk(wanted, Place(), until=stopping.is_set, dry_run=False)
        except Refused as refusal:
            log.error("backfill.refused", detail=refusal.detail)
            self._look_again_in(min(REFUSED_RETRY_SECONDS, self.every.total_seconds()))
            return Round(failed=1)
        count = step.count
        metrics.SWEEPER_HEALED.labels("event").inc(count.healed)
        if stopping.is_set():
            return None
        self.caught_up.set()
        if count.failed:
            self._look_again_in(min(REFUSED_RETRY_SECONDS, self.every.total_seconds()))
        else:
            self._looked_until = now - self.grace
            self._look_again_in(self.every.total_seconds())
        log.info("backfill.looked", since=begin.isoformat(), seen=count.seen, new=count.new, failed=count.failed)
        return Round(count.healed, count.failed)

    def _look_again_in(self, seconds: float) -> None:
        self._look_again_at = monotonic_seconds() + seconds

    async def walk(self, wanted: Wanted, place: Place, *, until: Callable[[], bool], dry_run: bool) -> Step:
        """Go on from `place` to the end of its stage, or to the first page after which `until` says so.

        Raises:
            Refused: Stripe refuses.
            Retryable: Stripe or the database is away.
        """
        count, reached = Count(), None
        while True:
            page = await self.events.page(wanted, place.after)
            events = [read(body, self.ingest.policy, utc_now().date()) for body in page.bodies]
            count += await (self._compare(events) if dry_run else self._take_in(events))
            reached = next((event.created for event in reversed(events) if event.created), reached)
            if page.newest is not None:
                place = replace(place, after=page.newest)
            if not page.more:
                following = Place(Stage.ALL) if place.stage is Stage.UNDELIVERED else None
                return Step(place.stage, count, following, reached)
            if until():
                return Step(place.stage, count, place, reached)

    async def _compare(self, events: list[Event]) -> Count:
        known = await self._known(events)
        return _count(events, [event for event in events if event.event_id not in known])

    async def _take_in(self, events: list[Event]) -> Count:
        async with self._one_at_a_time:
            known = await self._known(events)
            missed = [event for event in events if event.event_id not in known]
            failures = await asyncio.gather(*(self.ingest.accept(e.raw) for e in missed), return_exceptions=True)
            failed = [failure for failure in failures if failure is not None]
            for failure in failed:
                if not _is_refusal(failure):
                    raise failure
            pulled = await self._known(missed)  # a webhook may have been faster
        new = [event for event in missed if pulled.get(event.event_id) == SOURCE]
        return replace(_count(events, new), failed=len(failed))

    async def _known(self, events: list[Event]) -> dict[str, str]:
        if not events:
            return {}
        with unavailable_as_retryable():
            async with acquire(self.ingest.outbox.pool) as connection:
                return await store.sources_of(connection, events)


def _count(seen: list[Event], new: list[Event]) -> Count:
    states = [event.state for event in new]
    return Count(len(seen), len(new), states.count(State.IGNORED), states.count(State.DEAD))


def _is_refusal(failure: BaseException) -> bool:
    """Whether the database is there and refuses this one event, which must not keep others waiting."""
    cause = failure.__cause__
    return isinstance(failure, Retryable) and cause is not None and not is_unavailable(cause)
