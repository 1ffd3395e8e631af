"""Who used the processors: CPU seconds of each process, with its children."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.targets import cpu_seconds
from sandbox.services.resolver import Servers


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds by name over `seconds` of time."""

    seconds: float
    by_name: Mapping[str, float]

    def per(self, count: int) -> str:
        """Microseconds for each of `count`, by name."""
        return " / ".join(f"{name} {used / count * 1e6:.0f}" for name, used in self.by_name.items())

    @property
    def of_machine(self) -> float:
        """The share of all cores that these processes took, 0 to 1."""
        return sum(self.by_name.values()) / (self.seconds * (os.cpu_count() or 1))

    @property
    def shares(self) -> str:
        """Each process as a share of one core, the busiest first."""
        ranked = sorted(self.by_name.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {used / self.seconds:.0%}" for name, used in ranked)


def server_pids(servers: Servers) -> dict[str, int]:
    """The two servers, which are our own children."""
    assert servers.postgres is not None
    assert servers.postgres.child is not None
    assert servers.rabbitmq is not None
    assert servers.rabbitmq.child is not None
    return {"postgres": servers.postgres.child.pid, "rabbitmq": servers.rabbitmq.child.pid}


def look(pids: Mapping[str, int]) -> dict[str, float]:
    """What each process has used so far."""
    return {name: cpu_seconds(pid) for name, pid in pids.items()}


def between(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> Used:
    """What was used from one look to the next."""
    return Used(seconds, {name: after[name] - before[name] for name in before})


def together(parts: Iterable[Used]) -> Used:
    """The sum of several rounds."""
    rounds = list(parts)
    names = rounds[0].by_name
    return Used(
        sum(part.seconds for part in rounds), {name: sum(part.by_name[name] for part in rounds) for name in names}
    )
