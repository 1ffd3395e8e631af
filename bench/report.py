"""What the ingest bench found, and how it is told."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.load import Fired

RATIO_MIN: Final = 0.55
SUSTAINED_MIN: Final = 0.28  # with the relay publishing all of it, which it gives way with in a burst
P99_MAX_SECONDS: Final = 0.040


@dataclass(frozen=True, slots=True)
class Options:
    """How much of what. `seed` names the events: the same seed sends the same ids."""

    rounds: int
    requests: int
    connections: int
    seed: str


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one server. `cpu_seconds` is the server process's own, `behind` messages not yet published when
    the last answer came, `drain_seconds` the time until they were."""

    fired: Fired
    cpu_seconds: float
    others_cpu_seconds: tuple[float, float] = (0.0, 0.0)
    behind: int = 0
    drain_seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.fired.sent / self.fired.seconds

    @property
    def published_rate(self) -> float:
        return self.fired.sent / (self.fired.seconds + self.drain_seconds)


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds, in the order they ran."""

    verify: list[Round]
    product: list[Round]
    alone: Fired
    sent: int
    stored: tuple[int, int, int]

    @property
    def ratio(self) -> float:
        return statistics.median(r.rate for r in self.product) / statistics.median(r.rate for r in self.verify)

    @property
    def sustained(self) -> float:
        """Events a second, from the first request until the last is published."""
        return statistics.median(r.published_rate for r in self.product)

    @property
    def sustained_ratio(self) -> float:
        return self.sustained / statistics.median(r.rate for r in self.verify)

    @property
    def p99(self) -> float:
        return statistics.median(r.fired.p99 for r in self.product)

    @property
    def complaints(self) -> list[str]:
        """What falls short of the goals, or is simply wrong."""
        found = []
        bad = {s: n for r in (*self.verify, *self.product) for s, n in r.fired.statuses.items() if s[0] != "2"}
        if bad:
            found.append(f"answers other than 2xx: {bad}")
        if self.stored != (self.sent,) * 3:
            found.append(f"sent {self.sent}, but (events, outbox rows, published) are {self.stored}")
        if self.ratio < RATIO_MIN:
            found.append(f"ratio {self.ratio:.2f} is below {RATIO_MIN}")
        if self.sustained_ratio < SUSTAINED_MIN:
            found.append(f"sustained ratio {self.sustained_ratio:.2f} is below {SUSTAINED_MIN}")
        if self.p99 > P99_MAX_SECONDS:
            found.append(f"p99 {self.p99 * 1000:.1f} ms is above {P99_MAX_SECONDS * 1000:.0f} ms")
        return found


def table(result: Result, facts: Sequence[str], options: Options) -> list[str]:
    """The report, its last line the ratio."""
    verify, ours, alone = result.verify, result.product, result.alone
    busiest = max(r.fired.cpu_seconds / r.fired.seconds for r in (*verify, *ours))
    by_then = "  ".join(f"{1 - r.behind / r.fired.sent:.0%}" for r in ours)
    after = "  ".join(f"{r.drain_seconds:.1f}" for r in ours)
    size = ours[0].fired.body_bytes
    return [
        *facts,
        f"rounds    {options.rounds} of {options.requests} events of {size} bytes, {options.connections} connections",
        f"seed      {options.seed}",
        f"client    alone {alone.sent / alone.seconds:,.0f}/s; busiest in a round: {busiest:.0%} of a core",
        "",
        f"{'':<13}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}{'worst ms':>10}   cpu us per request: own / postgres / broker",
        _row("verify only", verify),
        _row("product", ours),
        "",
        f"verify only   {_listed(verify)}",
        f"product       {_listed(ours)}",
        f"published     {by_then} by the last answer; seconds until all were: {after}",
        f"sustained     {result.sustained:,.0f}/s until the last is published, {result.sustained_ratio:.2f} of verify",
        f"binds         a request costs the one loop {_own(ours) / _own(verify):.2f} times what verify only costs it",
        f"counted       sent {result.sent}; events, outbox rows, published: {', '.join(map(str, result.stored))}",
        *(f"MISSED        {complaint}" for complaint in result.complaints),
        f"p50 {_milliseconds(r.fired.p50 for r in ours)} ms, p99 {_milliseconds(r.fired.p99 for r in ours)} ms",
        f"ratio {result.ratio:.2f}",
    ]


def _listed(rounds: Sequence[Round]) -> str:
    return "  ".join(f"{r.rate:,.0f}" for r in rounds)


def _milliseconds(seconds: Iterable[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f}"


def _own(rounds: Sequence[Round]) -> float:
    return statistics.median(r.cpu_seconds / r.fired.sent for r in rounds)


def _row(name: str, rounds: Sequence[Round]) -> str:
    cpu = " / ".join(
        f"{statistics.median(used / r.fired.sent for used, r in zip(column, rounds, strict=True)) * 1e6:.0f}"
        for column in zip(*((r.cpu_seconds, *r.others_cpu_seconds) for r in rounds), strict=True)
    )
    rate = statistics.median(r.rate for r in rounds)
    p50, p99 = _milliseconds(r.fired.p50 for r in rounds), _milliseconds(r.fired.p99 for r in rounds)
    worst = max(r.fired.worst for r in rounds) * 1000
    return f"{name:<13}{rate:>9,.0f}{p50:>9}{p99:>9}{worst:>10.1f}   {cpu}"
