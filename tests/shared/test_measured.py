"""What is counted of Stripe, of messages that nobody declared, and of a pool that is short."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import pytest
from aiohttp import web

from payments_shared.contracts import checkout
from payments_shared.contracts.message import Message
from payments_shared.messaging import Transaction, on
from payments_shared.metrics import REGISTRY
from payments_shared.postgres import acquire, open_pool
from payments_shared.stripe_client import BREAKER_FAILURES, OutcomeUnknown, Stripe, StripeRefused, open_stripe
from sandbox.services.resolver import Servers
from tests.shared.messaging import administrator, consuming, half_of, metric, provisioned
from tests.support.deadline import eventually


@asynccontextmanager
async def stripe_that(answers: list[int]) -> AsyncIterator[Stripe]:
    """A client of a server that gives these statuses, one after the other, and the last one for ever."""

    async def answer(_: web.Request) -> web.Response:
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        body = {"object": "list", "data": []} if status == 200 else {"error": {"code": "no", "message": "No."}}
        return web.Response(status=status, text=json.dumps(body), content_type="application/json")

    app = web.Application()
    app.router.add_get("/v1/events", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with open_stripe(api_key="sk_test_" + "0" * 24, api_base=f"http://{host}:{port}") as stripe:
            yield stripe
    finally:
        await runner.cleanup()


def counted(outcome: str) -> float:
    return metric("payments_stripe_calls_total", operation="counting", outcome=outcome)


async def test_what_stripe_refuses_is_an_answer_and_what_is_not_sent_is_counted_too() -> None:
    before = {outcome: counted(outcome) for outcome in ("ok", "refused", "unknown", "rested")}

    async with stripe_that([200, 404, 500]) as stripe:

        async def call() -> object:
            return await stripe.call("counting", lambda: stripe.v1.events.list_async({"limit": 1}))

        await call()
        with pytest.raises(StripeRefused):
            await call()
        for _ in range(BREAKER_FAILURES):
            with pytest.raises(OutcomeUnknown):
                await call()
        with pytest.raises(OutcomeUnknown):
            await call()

    rise = {outcome: counted(outcome) - was for outcome, was in before.items()}
    assert rise == {"ok": 1, "refused": 1, "unknown": BREAKER_FAILURES, "rested": 1}
    assert metric("payments_stripe_breaker_open") == 1


@pytest.mark.servers
async def test_a_type_that_nobody_declared_becomes_no_label(servers: Servers) -> None:
    """Whoever may publish could fill the memory with types of his own."""

    async def hear(_: Transaction, __: Message) -> None:
        raise AssertionError("nothing was said")

    strange = "a.type.of.my.own.v1"
    before = metric("payments_messages_consumed_total", type="other", outcome="dead")
    async with (
        provisioned(servers) as made,
        half_of("inventory", made, events=(on(checkout.OrderPaid, hear),)) as half,
        administrator(servers, made) as channel,
    ):
        await consuming(half)
        message = aio_pika.Message(b"nothing that could be read", type=strange, message_id="1")
        await channel.default_exchange.publish(message, routing_key="inventory.events")

        async def dead() -> bool:
            return metric("payments_messages_consumed_total", type="other", outcome="dead") == before + 1

        await eventually(dead, within_seconds=30, what="the message among the dead letters")

    seen = {sample.labels.get("type") for family in REGISTRY.collect() for sample in family.samples}
    assert strange not in seen


@pytest.mark.servers
async def test_whoever_waits_for_a_connection_is_counted(servers: Servers) -> None:
    pool = await open_pool(servers.admin_dsn, schema="public", application_name="test", name="import", max_size=1)

    async def waiter() -> None:
        async with acquire(pool):
            pass

    def stands() -> tuple[float, ...]:
        used = metric("payments_pool_connections", pool="import", state="in_use")
        idle = metric("payments_pool_connections", pool="import", state="idle")
        return used, idle, metric("payments_pool_waiting", pool="import")

    try:
        async with acquire(pool):
            waiting = [asyncio.ensure_future(waiter()) for _ in range(3)]
            await asyncio.sleep(0)
            assert stands() == (1, 0, 3)
        await asyncio.gather(*waiting)
        assert stands() == (0, 1, 0)
        assert metric("payments_pool_connections_max", pool="import") == 1
    finally:
        await pool.close()
