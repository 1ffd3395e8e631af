"""Faults strike servers and processes of their own, which no other test feels."""

from collections.abc import AsyncIterator
from typing import Literal

import pytest
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


def _for_how_long(fixture_name: str, config: pytest.Config) -> Literal["module", "package"]:
    """To start a deployment takes longer than many a fault, so that files share one. The long forms leave millions of
    rows behind, and what they measure is that of a young one."""
    return "module" if config.option.markexpr == "full" else "package"


@pytest_asyncio.fixture(scope=_for_how_long, loop_scope="session")
async def struck() -> AsyncIterator[Deployment]:
    """A deployment on servers of its own. Whoever strikes it leaves it running and at rest."""
    with private_servers() as servers:
        async with deploy(servers, namespace="struck", names=NAMES, extra=UNLIMITED) as running:
            yield running
            await judge_requests(running)


@pytest_asyncio.fixture(loop_scope="session")
async def shopper(struck: Deployment) -> AsyncIterator[Shopper]:
    """A buyer of the deployment that is struck."""
    async with Shopper.of(struck) as made:
        yield made
