"""Inventory as a real process."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.support.one_service import OneService, running


@pytest.fixture(scope="package")
async def inventory(servers: Servers) -> AsyncIterator[OneService]:
    """One inventory for whoever does no harm to it; each test has SKUs and orders of its own."""
    async with running("inventory", servers, PAYMENTS_SWEEP_SECONDS="0.2") as service:
        yield service


@pytest.fixture(scope="package")
async def http(inventory: OneService) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a limit on connections, for crowds."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(inventory.url, connector=connector) as session:
        yield session
