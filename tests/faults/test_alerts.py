"""An outage of a deployment in which people buy: the alert that tells of it, and what its runbook prints ends it.

Prometheus judges by the deployed rules on a day that goes by faster: each window of theirs is divided by `FACTOR`, and so
is the time until which an alert must have come. What services themselves need to notice does not go faster.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.services.deployment import Deployment
from tests.deploy.monitored import ALERTS, SECONDS, Prometheus, of_tiers, prometheus_of
from tests.deploy.outages import STEP_SECONDS
from tests.deploy.rendered import quickened, seconds
from tests.faults.compose import Compose
from tests.faults.evidence import OUTAGES, keep, table
from tests.faults.load import Buyers, all_end_once
from tests.faults.printed import Operator
from tests.faults.staged import STAGED, Stage, Staged
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.faults

FACTOR = STEP_SECONDS // SECONDS
NOTICED_SECONDS = 5.0  # by the services, which ask and try again at their usual pace
RESOLVED_SECONDS = 120.0
LAST_TIER_MS = 3_000
BUYERS, PAUSE_SECONDS = 3, 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """What Prometheus says of the alerts."""

    prometheus: Prometheus

    async def firing(self, **labels: str) -> set[str]:
        """The names of alerts that fire now."""
        wanted = "".join(f', {name}="{value}"' for name, value in labels.items())
        found = await self.prometheus.query(f'ALERTS{{alertstate="firing"{wanted}}}')
        return {series["metric"]["alertname"] for series in found}

    async def well(self) -> bool:
        """Whether nobody is woken."""
        return not await self.firing(severity="critical")


@contextlib.asynccontextmanager
async def people_who_buy(buyers: Buyers) -> AsyncIterator[None]:
    """One order after another, also while something is broken."""

    async def one() -> None:
        while not buyers.ended.is_set():
            await buyers.buy(surplus=False)
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for _ in range(BUYERS):
            group.create_task(one())
        try:
            yield
        finally:
            buyers.ended.set()


def usual(alert: str) -> float:
    """For how many seconds an alert's condition lasts until it fires, on a day of the usual length."""
    (rule,) = (rule for rule in ALERTS if rule["alert"] == alert)
    return seconds(rule.get("for", "0s"))


async def tried(staged: Staged, shopper: Shopper, folder: Path) -> list[str]:
    """The outage from its beginning to its end; what was seen."""
    alert, due = staged.alert, staged.outage.due(staged.alert) * 60 / FACTOR + NOTICED_SECONDS
    compose = Compose(shopper.deployment, folder)
    stage = Stage(shopper, compose, Operator(compose))
    buyers = Buyers(shopper, await shopper.offer(stock=10_000))
    rules = quickened(of_tiers(LAST_TIER_MS), FACTOR)

    async with compose.obeyed():
        async with prometheus_of(shopper.deployment, shopper.http, folder, rules) as prometheus:
            watched = Watched(prometheus)
            async with people_who_buy(buyers):

                async def selling() -> bool:
                    return len(buyers.bought) >= 3 * BUYERS and await watched.well()

                async def fires() -> bool:
                    return alert in await watched.firing()

                async def is_over() -> bool:
                    return alert not in await watched.firing()

                await eventually(selling, within=60, every=0.5, what="people buy and nobody is woken")
                assert not await fires()
                began = time.monotonic()
                await staged.begin(stage)
                lasts = time.monotonic()
                await eventually(fires, within=due, every=0.2, what=f"{alert} fires")
                fired = time.monotonic()
                print(f"\n{alert} fires {fired - lasts:.1f} s after {staged.outage.name}", flush=True)
                woken = await watched.firing(severity="critical")
                assert woken <= staged.outage.wakes_in_all, "somebody is woken for what merely follows"
                assert fired - began >= usual(alert) / FACTOR, "it fired before its time"

                await staged.mend(stage)
                mended = time.monotonic()
                print(f"its runbook was followed in {mended - fired:.1f} s", flush=True)
                await eventually(is_over, within=RESOLVED_SECONDS, every=0.2, what=f"{alert} is resolved")
                resolved = time.monotonic()
                print(f"{alert} is resolved after {resolved - mended:.1f} s", flush=True)
        await shopper.quiet(within=150)
        await all_end_once(buyers, mails_again_max=1)
        await shopper.audited()
        await stage.operator.follow("README", "When it is over")
    row = (
        staged.outage.name, alert, f"{fired - lasts:.1f} s", f"{due:.0f} s", f"{mended - fired:.1f} s",
        f"{resolved - mended:.1f} s", len(buyers.bought),
    )  # fmt: skip
    columns = ("outage", "alert", "fired after", "must until", "mended in", "resolved after", "orders")
    return [*table(columns, [row]), "", *(f"$ {line}" for line in stage.operator.typed)]


@pytest.mark.timeout(300)
async def test_a_database_that_is_down_is_told_in_time_and_started_as_its_runbook_prints(
    shopper: Shopper, struck: Deployment, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    found = await tried(STAGED[1], shopper, tmp_path)

    record_property("struck", "; ".join(" ".join(line.split()) for line in found[1:2]))


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("staged", STAGED, ids=[staged.outage.name for staged in STAGED])
async def test_an_outage_is_told_in_time_and_mended_as_its_runbook_prints(
    staged: Staged, shopper: Shopper, struck: Deployment, tmp_path: Path
) -> None:
    found = await tried(staged, shopper, tmp_path)

    name = staged.outage.name
    pace = f"rules quickened by {FACTOR}; every order ended once, and the audit found nothing"
    keep(name[0].upper() + name[1:], [*found, "", pace], document=OUTAGES)
