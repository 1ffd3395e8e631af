"""A simulator for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.sandbox.stripe.simulator import Simulator, simulating


@pytest_asyncio.fixture(loop_scope="session")
async def simulator(tmp_path: Path) -> AsyncIterator[Simulator]:
    """A simulator of the test's own, judged by Stripe's specification with every call."""
    async with simulating(tmp_path) as running:
        yield running
