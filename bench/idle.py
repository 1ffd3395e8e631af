"""`python -m bench.idle`: the memory of every service once it has started and does nothing.

RSS counts what is shared with others in full, PSS by its share: the limit is set on RSS, which every tool shows.
"""

import asyncio
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from bench import machine
from payments_shared.contracts.catalog import SERVICES
from sandbox.services.deployment import deploy
from sandbox.services.resolver import ServersUnavailable, private_servers

LIMIT_MB: Final = 120
SETTLE_SECONDS: Final = 3.0  # time for the first sweeps and measurements, which belong to idling
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """One process, in MB."""

    service: str
    rss: float
    pss: float


def memory_of(service: str, pid: int) -> Memory:
    """What the process holds at this moment."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:] if ":" in line
    )
    kilobytes = {name: int(value.split()[0]) for name, value in fields.items()}
    return Memory(service, psutil.Process(pid).memory_info().rss / 2**20, kilobytes["Pss"] / 1024)


def say(line: str) -> None:
    """Progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


async def measure() -> list[Memory]:
    """Start all services on servers of their own, let them idle, and take the largest of several looks."""
    with private_servers(say=say) as servers:
        async with deploy(servers, namespace=f"idle_{secrets.token_hex(3)}", names=SERVICES, say=say) as running:
            looks = []
            for _ in range(ROUNDS):
                await asyncio.sleep(SETTLE_SECONDS)
                looks.append([memory_of(name, running.children[name].pid) for name in SERVICES])
            return [max(seen, key=lambda memory: memory.rss) for seen in zip(*looks, strict=True)]


def main() -> None:
    """Exit status 1 when a service is above the limit."""
    for line in machine.facts():
        print(line)
    try:
        memories = asyncio.run(measure())
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    print(f"\n{'service':<16}{'RSS MB':>8}{'PSS MB':>8}")
    for memory in memories:
        mark = "   above the limit" if memory.rss > LIMIT_MB else ""
        print(f"{memory.service:<16}{memory.rss:>8.1f}{memory.pss:>8.1f}{mark}")
    largest = max(memory.rss for memory in memories)
    print(f"largest {largest:.0f} MB of {LIMIT_MB}", flush=True)
    raise SystemExit(1 if largest > LIMIT_MB else 0)


if __name__ == "__main__":
    main()
