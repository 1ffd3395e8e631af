"""Fulfillment as a real process."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.support.one_service import OneService, running


@pytest.fixture(scope="package")
async def fulfillment(servers: Servers) -> AsyncIterator[OneService]:
    """One fulfillment for whoever does no harm to it; each test has orders of its own."""
    async with running("fulfillment", servers) as service:
        yield service


@pytest.fixture(scope="package")
async def http(fulfillment: OneService) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the internal port."""
    async with aiohttp.ClientSession(fulfillment.url) as session:
        yield session
