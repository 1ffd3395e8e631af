"""Faults strike servers and processes of their own, which no other test feels."""

import contextlib
from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import private_servers
from tests.support.judged import judge_requests
from tests.support.shopping import Shopper

NAMES = (
    "stripe", "mailbox", "frontdoor", "webhook-ingest", "checkout", "inventory", "fulfillment", "refunds",
    "notifications", "operations",
)  # fmt: skip
# All buyers come from one address here.
UNLIMITED = {"PAYMENTS_PLACEMENTS_PER_ADDRESS": "0", "PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "0"}


@contextlib.asynccontextmanager
async def _deployed() -> AsyncIterator[Deployment]:
    with private_servers() as servers:
        async with deploy(servers, namespace="struck", names=NAMES, extra=UNLIMITED) as running:
            yield running
            await judge_requests(running)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def struck() -> AsyncIterator[Deployment]:
    """A deployment on servers of its own."""
    async with _deployed() as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared() -> AsyncIterator[Deployment]:
    """The same for all files that leave it as they found it: to start one takes longer than many a fault."""
    async with _deployed() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(struck: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of the deployment that is struck."""
    async with Shopper.of(struck) as made:
        yield made
