"""Refunds as a real process beside Stripe's simulator."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox.services.resolver import Servers
from tests.refunds.stripe import StripeBeside
from tests.support.one_service import OneService, running

# At the commit that says a command about a refund, the refund must know of it: else the sweep says another beside it.
SAID_AND_NOT_MARKED = """
    CREATE FUNCTION refunds.commands_are_marked() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM refunds.refunds
                    WHERE id = replace(convert_from(NEW.body, 'UTF8')::jsonb #>> '{data,refund_id}', 'ref_', '')::uuid
                      AND (asked_at IS NULL OR asked_at < now())) THEN
            RAISE EXCEPTION '% was said of a refund that does not know of it', NEW.type;
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER commands_are_marked
        AFTER INSERT ON refunds.outbox DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.type IN ('refunds.cmd.submit.v1', 'refunds.cmd.check.v1'))
        EXECUTE FUNCTION refunds.commands_are_marked();
"""


@pytest.fixture(scope="module")
async def refunds(servers: Servers) -> AsyncIterator[OneService]:
    """One for the tests of a file, each of which has orders and payments of its own: what one clerk may give back in a day
    is limited."""
    async with running(
        "refunds",
        servers,
        beside=("stripe",),
        PAYMENTS_HEAL_SECONDS="0.3",
        PAYMENTS_SWEEP_SECONDS="0.3",
        PAYMENTS_RESUBMIT_SECONDS="2",
        PAYMENTS_SECRET="known to nobody but this deployment",
    ) as service:
        await service.owner.execute(SAID_AND_NOT_MARKED)
        yield service


@pytest.fixture
async def stripe(refunds: OneService) -> AsyncIterator[StripeBeside]:
    """The simulator, with no fault armed before and after."""
    async with aiohttp.ClientSession(refunds.deployment.stripe_url) as http:
        beside = StripeBeside(http)
        yield beside
        await beside.disarm()
