"""Publish with the login of a service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from payments_shared.messaging import Broker
from payments_shared.messaging.publisher import Publisher
from sandbox.services.deployment import Deployment


@contextlib.asynccontextmanager
async def speaking(deployment: Deployment, service: str) -> AsyncIterator[Publisher]:
    """A connection of its own, which is closed in the end."""
    publisher = Publisher(Broker(deployment.provisioned.amqp_urls[service], service=service))
    stopping = asyncio.Event()
    link = asyncio.ensure_future(publisher.link.keep(stopping))
    try:
        await asyncio.wait_for(publisher.link.ready.wait(), timeout=30)
        yield publisher
    finally:
        stopping.set()
        await link
        await publisher.link.close()
