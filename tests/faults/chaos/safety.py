"""The predicates that hold at every moment, looked at again and again; and all of them, at rest."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from operations.audit import Report, Verdict, run_audit
from payments_shared.postgres import is_unavailable
from sandbox.truth import fetch_truth, store_truth
from tests.faults.chaos.stage import Stage

EVERY_SECONDS: Final = 2.0
REST_EVERY_SECONDS: Final = 1.0


@dataclass(slots=True)
class Safety:
    """Samples under way. `missed` counts those for which the database was away, as the services themselves judge it;
    `predicates` those that the last sample looked at; `violated` shows what broke."""

    stage: Stage
    taken: int = 0
    missed: int = 0
    predicates: int = 0
    seconds: float = 0.0
    violated: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        """Sample until something is violated or until canceled.

        Raises:
            Exception: a sample failed, and not because the database was away.
        """
        while not self.violated:
            started = time.monotonic()
            await self._sample()
            self.seconds += time.monotonic() - started
            await asyncio.sleep(max(0.0, started + EVERY_SECONDS - time.monotonic()))

    async def _sample(self) -> None:
        try:
            await load_truth_of(self.stage, without="events")  # most of all rows; only predicates of rest ask for them
            report = await run_audit(self.stage.auditor, when="always")
        except Exception as error:
            if not is_unavailable(error):
                raise
            self.missed += 1
            return
        self.taken += 1
        self.predicates = sum(finding.verdict is not Verdict.NOT_RUN for finding in report.findings)
        self.violated = [line for line in report.lines() if "violations" in line]


async def load_truth_of(stage: Stage, *, without: str = "") -> None:
    """Load what the simulator and the mailbox hold, perhaps `without` a table that nothing looks at now."""
    deployed = stage.deployment
    rows = await fetch_truth(stripe_url=deployed.stripe_url, mailbox_url=deployed.mailbox_url)
    rows.pop(without, None)
    await store_truth(rows, database_url=deployed.provisioned.database_urls["sandbox"])


async def rest(stage: Stage, *, within: float, say: Callable[[str], None]) -> tuple[Report, float]:
    """Wait until no webhook waits and every predicate holds; the report, and the seconds that it took.

    When time runs out, the report is that of the last look. Each look in vain is said.
    """
    started = time.monotonic()
    while True:
        waiting = int((await stage.stripe("GET", "/_sim/deliveries"))["waiting"])
        await load_truth_of(stage)
        report = await run_audit(stage.auditor)
        seconds = time.monotonic() - started
        if (not waiting and not report.violated) or seconds > within:
            return report, seconds
        left = ", ".join(f"{finding.predicate.number} {finding.violations}" for finding in report.violated)
        say(f"not at rest after {seconds:.1f} s: {waiting} webhooks wait; {left}")
        await asyncio.sleep(REST_EVERY_SECONDS)
