"""Notifications as a real process beside the mailbox."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.support.one_service import OneService, running


@pytest.fixture(scope="package")
async def notifications(servers: Servers) -> AsyncIterator[OneService]:
    """One for whoever does no harm to it; each test has orders of its own."""
    async with running("notifications", servers, beside=("mailbox",)) as service:
        yield service


@pytest.fixture
async def mailbox(notifications: OneService) -> AsyncIterator[Mailbox]:
    """Where the mails arrive."""
    async with aiohttp.ClientSession(notifications.deployment.mailbox_url) as http:
        yield Mailbox(http)
