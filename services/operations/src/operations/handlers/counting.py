"""What is counted over all dead letters, for pages that many people have open."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from operations.handlers.looking import Looking
from operations.model.letters import Group, Unsettled
from payments_shared.clock import monotonic_seconds

Counted = TypeVar("Counted")
QUICK_SECONDS: Final = 0.01
TIMES: Final = 20
AGE_MAX_SECONDS: Final = 2.0
KEPT_MAX: Final = 64


@dataclass(slots=True)
class _Count:
    """One that is being made, or was."""

    made: "asyncio.Task[Any]"  # Any: what is counted
    told_until: float | None = None  # None: it is being made

    @property
    def holds(self) -> bool:
        return self.told_until is None or monotonic_seconds() < self.told_until


@dataclass(slots=True)
class Counting:
    """Whoever asks while a count is being made is told that one. What took long to count is told for twenty times as
    long: counting keeps the database busy for a twentieth of the time at most, however many people look. What is
    quick is counted anew for each, so where few messages fail, everybody sees at once what somebody did."""

    looking: Looking
    _known: dict[Hashable, _Count] = field(default_factory=dict)

    async def unsettled(self) -> list[Unsettled]:
        """What is unsettled, by service."""
        return await self._told("unsettled", self.looking.unsettled)

    async def groups(self, service: str | None, type_: str | None) -> list[Group]:
        """What is unsettled, by service, type and fingerprint."""
        return await self._told(("groups", service, type_), lambda: self.looking.groups(service, type_))

    async def _told(self, what: Hashable, count: Callable[[], Awaitable[Counted]]) -> Counted:
        known = self._known.get(what)
        if known is None or not known.holds:
            known = self._begin(what, count)
        counted: Counted = await asyncio.shield(known.made)  # who goes away leaves it to the others
        return counted

    def _begin(self, what: Hashable, count: Callable[[], Awaitable[Counted]]) -> _Count:
        self._known.pop(what, None)
        while len(self._known) >= KEPT_MAX:  # anybody may ask for types that there are not
            del self._known[next(iter(self._known))]
        started = monotonic_seconds()

        async def counted() -> Counted:
            return await count()

        begun = self._known[what] = _Count(asyncio.create_task(counted()))

        def ended(made: "asyncio.Task[Counted]") -> None:
            took = monotonic_seconds() - started
            failed = made.cancelled() or made.exception() is not None
            slow = took > QUICK_SECONDS and not failed
            begun.told_until = monotonic_seconds() + min(took * TIMES, AGE_MAX_SECONDS) if slow else 0.0

        begun.made.add_done_callback(ended)
        return begun
