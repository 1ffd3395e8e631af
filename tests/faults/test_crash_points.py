"""A process that dies exactly between two steps: the work goes on where it stopped, and no step happens twice."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from sandbox.services.deployment import Deployment
from tests.faults.load import Buyers, all_end_once
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.faults

CONSUMING: Final = ("after_claim", "before_commit", "after_commit_before_ack", "after_ack")
SAYING: Final = ("relay_before_publish", "relay_after_publish_before_mark")
POINTS: Final[Mapping[str, tuple[str, ...]]] = {
    "checkout": ("before_hold", "after_hold", "before_stripe_call", "after_stripe_call", *CONSUMING, *SAYING),
    "webhook-ingest": ("ingest_after_commit", *SAYING),
    "inventory": (*CONSUMING, *SAYING),
    "fulfillment": (*CONSUMING, *SAYING),
    "refunds": ("before_stripe_call", "after_stripe_call", *CONSUMING),
    "notifications": ("before_mail", "after_mail", *CONSUMING),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", POINTS)
async def test_a_crash_between_two_steps_is_harmless(
    shopper: Shopper, struck: Deployment, service: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    buyers = Buyers(shopper, await shopper.offer(stock=1000))
    buying: list[asyncio.Task[None]] = []

    try:
        for point in POINTS[service]:
            log = tmp_path / point
            struck.stop(service)
            struck.start(service, PAYMENTS_FAILPOINT=f"{point}=kill:1", PAYMENTS_FAILPOINT_LOG=str(log))
            # Two purchases, one of them paid twice: between them they pass every point.
            buying += [asyncio.create_task(buyers.buy(surplus=surplus)) for surplus in (True, False)]

            work: dict[str, int] = {}

            async def died(work: dict[str, int] = work) -> bool:
                # The last look that found something is what was in flight when it struck, give or take a moment.
                if any((seen := await buyers.in_flight()).values()):
                    work.update(seen)
                return not struck.children[service].running

            await eventually(died, within=40, every=0.02, what=f"{service} dies {point}")
            assert log.read_text().startswith(f"{point} kill")
            record_property("struck", f"{service} died {point}, in flight {work}")
            assert sum(work.values()) > 0
    finally:
        struck.stop(service)
        struck.start(service)
        struck.wait_ready(service)
    await asyncio.gather(*buying)

    await all_end_once(buyers)
    await shopper.audited()
