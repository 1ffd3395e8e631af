"""Stripe is away for longer than all retry tiers together: no attempt is spent, and each refund is paid once."""

import asyncio

import aiohttp
import pytest

from payments_shared.contracts import checkout
from payments_shared.ids import new_id
from tests.refunds.stripe import StripeBeside
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import RETRY_TIERS_MS, OneService

pytestmark = pytest.mark.servers
REFUNDS = 20


async def test_a_stripe_that_is_away_costs_no_attempt(refunds: OneService, stripe: StripeBeside) -> None:
    owed = [(new_id(), await stripe.captured(500)) for _ in range(REFUNDS)]
    orders = [order_id for order_id, _ in owed]
    async with aiohttp.ClientSession() as http:
        seen = Exposition(http, refunds.url)

        async def rests() -> bool:
            return await seen.of("payments_consumer_paused", queue="refunds.work", reason="stripe") == 1

        async def spent() -> tuple[float, float]:
            names = ("payments_retries_published_total", "payments_messages_redelivered_total")
            retried, given_back = [await seen.of(name) for name in names]
            return retried, given_back

        before, dead = await spent(), await refunds.dead_letters()
        await asyncio.to_thread(refunds.deployment.kill, "stripe")
        await refunds.tell(
            *(
                checkout.OrderRefundDue(
                    order_id=order_id, payment_intent=intent, amount_minor=500, currency="usd", reason="surplus_payment"
                )
                for order_id, intent in owed
            )
        )
        await eventually(rests, within_seconds=60, what="the queue of commands rests")
        loop = asyncio.get_running_loop()
        long_enough = loop.time() + 10 * sum(RETRY_TIERS_MS) / 1000
        while loop.time() < long_enough:
            assert await rests()
            await asyncio.sleep(0.1)
        assert await spent() == before

        refunds.deployment.start("stripe")

        async def all_paid() -> bool:
            sql = "SELECT count(*) FROM refunds.refunds WHERE state = 'succeeded' AND order_id = ANY($1)"
            return bool(await refunds.owner.fetchval(sql, orders) == REFUNDS)

        await eventually(all_paid, within_seconds=90, what="every refund")
        assert await spent() == before, "no attempt was spent, and nothing was given back"
    assert await refunds.dead_letters() == dead
    assert [[r["amount"] for r in await stripe.refunds_of(intent)] for _, intent in owed] == [[500]] * REFUNDS
