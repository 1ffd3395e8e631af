"""Refunds as a real process beside Stripe's simulator."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.refunds.stripe import StripeBeside
from tests.support.one_service import OneService, running


@pytest.fixture(scope="module")
async def refunds(servers: Servers) -> AsyncIterator[OneService]:
    """One for the tests of a file, each of which has orders and payments of its own: what one clerk may give back in a day
    is limited."""
    async with running(
        "refunds",
        servers,
        beside=("stripe",),
        PAYMENTS_HEAL_SECONDS="0.3",
        PAYMENTS_SWEEP_SECONDS="0.3",
        PAYMENTS_RESUBMIT_SECONDS="2",
        PAYMENTS_SECRET="known to nobody but this deployment",
    ) as service:
        yield service


@pytest.fixture
async def stripe(refunds: OneService) -> AsyncIterator[StripeBeside]:
    """The simulator, with no fault armed before and after."""
    async with aiohttp.ClientSession(refunds.deployment.stripe_url) as http:
        beside = StripeBeside(http)
        yield beside
        await beside.disarm()
