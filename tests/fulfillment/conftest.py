"""Fulfillment as a real process."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.support.one_service import OneService, running


@pytest.fixture(scope="module")
async def fulfillment(servers: Servers) -> AsyncIterator[OneService]:
    """One fulfillment for the tests of a file; each test has orders of its own."""
    async with running("fulfillment", servers) as service:
        yield service


@pytest.fixture(scope="module")
async def http(fulfillment: OneService) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the internal port."""
    async with aiohttp.ClientSession(fulfillment.url) as session:
        yield session
