"""Hold back who asks too often, whichever process he asks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from checkout.decide import limiting
from checkout.model.limits import Allowance, Count, Limit, Window
from checkout.store import limiting as store
from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round

SUBJECTS_MAX: Final = 50_000  # some ten megabytes; beyond it whoever asked first begins anew


@dataclass(frozen=True, slots=True)
class Limiting:
    """Limits that hold for all processes together; one statement a request, in no transaction of others."""

    pool: Pool
    limits: Sequence[Limit]

    def __post_init__(self) -> None:
        metrics.from_zero(metrics.RATE_LIMITED, limit=[limit.name for limit in self.limits])

    async def take(self, subjects: Mapping[str, str]) -> list[Allowance]:
        """Count a request of `subjects`, by the names of limits, and tell what is left of each; nothing without limits.

        Concurrent requests are counted one after the other: of any number exactly as many are within a limit as it
        allows. One that exceeds a limit counts for the others as well.
        """
        if not self.limits:
            return []
        async with acquire(self.pool) as connection:
            counts = await store.count_requests(connection, self.limits, subjects)
        return _measured(limiting.allowances(self.limits, counts))

    async def forget(self) -> Round:
        """Sweep: delete what is over."""
        async with acquire(self.pool) as connection:
            await store.forget_counts(connection)
        return Round()


@dataclass(slots=True)
class OwnLimiting:
    """A limit of what is only read, counted in the memory of this process: a read is one statement, and a second one
    that writes would cost more than what it guards. So all processes together allow as many times more."""

    limit: Limit | None
    _windows: dict[str, Window] = field(default_factory=dict)

    def __post_init__(self) -> None:
        metrics.from_zero(metrics.RATE_LIMITED, limit=[self.limit.name] if self.limit else [])

    def take(self, subject: str) -> list[Allowance]:
        """Count a request of `subject`, and tell what is left; nothing without a limit."""
        if self.limit is None:
            return []
        now = monotonic_seconds()
        window = limiting.counted(self.limit, self._windows.pop(subject, None), now)
        self._forget(now)
        self._windows[subject] = window
        count = Count(self.limit.name, window.taken, window.ends_at_seconds - now)
        return _measured(limiting.allowances([self.limit], [count]))

    def _forget(self, now: float) -> None:
        """Of those who asked longest ago the first two, where they are over, so that none stays for long; and one, over
        or not, where there are too many."""
        first = [(subject, window.ends_at_seconds) for subject, window in islice(self._windows.items(), 2)]
        is_full = len(self._windows) >= SUBJECTS_MAX
        for place, (subject, ends_at) in enumerate(first):
            if ends_at <= now or (is_full and place == 0):
                del self._windows[subject]


def _measured(found: list[Allowance]) -> list[Allowance]:
    for allowance in found:
        if allowance.exceeded:
            metrics.RATE_LIMITED.labels(allowance.limit.name).inc()
    return found
