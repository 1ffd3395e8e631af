"""Faults strike servers and processes of their own, which no other test feels."""

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


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def struck() -> AsyncIterator[Deployment]:
    """A deployment on servers of its own."""
    with private_servers() as servers:
        async with deploy(servers, namespace="struck", names=NAMES) as running:
            yield running
            await judge_requests(running)


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(struck: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of the deployment that is struck."""
    async with Shopper.of(struck) as made:
        yield made
