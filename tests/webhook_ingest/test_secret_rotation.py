"""Signing secrets are exchanged in a running process without a gap, and the old one ends by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from sandbox.services.resolver import Servers
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running
from tests.webhook_ingest.deliveries import event, exchange, request, signed

NEW, OLD, GONE = "whsec_new_and_long_enough", "whsec_old_and_long_enough", "whsec_gone_and_long_enough"


def setting(ends: datetime) -> str:
    """The new secret, the old one until `ends`, and one whose time is over."""
    return json.dumps(
        [
            {"secret": NEW},
            {"secret": OLD, "not_after": ends.isoformat()},
            {"secret": GONE, "not_after": "2026-01-01T00:00:00Z"},
        ]
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ingest(servers: Servers) -> AsyncIterator[OneService]:
    """A service in the middle of an exchange that lasts for a day."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    async with running("webhook-ingest", servers, PAYMENTS_STRIPE_WEBHOOK_SECRETS=setting(tomorrow)) as service:
        yield service


async def deliver(ingest: OneService, secret: str) -> int | None:
    body = json.dumps(event()).encode()
    lines = ["Host: x", "Connection: close", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    sent = request(body, *lines, f"Stripe-Signature: {signed(body, secret)}")
    return (await exchange(ingest.deployment.public["webhook-ingest"], sent)).status


async def test_both_secrets_are_taken_while_they_are_exchanged_and_no_other(ingest: OneService) -> None:
    secrets = (NEW, OLD, GONE, "whsec_never_heard_of_it")

    statuses = [await deliver(ingest, secret) for secret in secrets]

    assert statuses == [200, 200, 400, 400]
    assert await ingest.owner.fetchval("SELECT count(*) FROM webhook_ingest.stripe_events") == 2


async def test_a_running_service_refuses_the_old_secret_from_its_end_on_and_not_before(ingest: OneService) -> None:
    assert await asyncio.to_thread(ingest.deployment.stop, ingest.name) == 0
    ends = datetime.now(UTC) + timedelta(seconds=6)
    ingest.deployment.start(ingest.name, PAYMENTS_STRIPE_WEBHOOK_SECRETS=setting(ends))
    await asyncio.to_thread(ingest.deployment.wait_ready, ingest.name)
    seen: list[tuple[datetime, datetime, int | None]] = []

    async def refused() -> bool:
        asked = datetime.now(UTC)
        status = await deliver(ingest, OLD)
        seen.append((asked, datetime.now(UTC), status))
        return status == 400

    await eventually(refused, within_seconds=20, what="the end of the old secret")

    assert {status for _, answered, status in seen if answered < ends} <= {200}
    assert {status for asked, _, status in seen if asked > ends} <= {400}
    assert seen[-1][1] >= ends
    assert await deliver(ingest, NEW) == 200
