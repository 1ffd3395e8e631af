"""`python -m bench.plain ingest|consume`: the plain shape of the same work, for comparison only.

It is what is written first when nobody measures: a request inserts its event, publishes it, waits for the confirm, and
then answers; the consumer takes each message in a transaction of its own and publishes what follows from it after the
commit. aio-pika as its documentation shows it. Signature, tables, the claim in the inbox and checkout's decision are
the product's own, so that only the shape differs. It is not safe: a crash between commit and publish loses the message,
since the repeated webhook is a duplicate by then.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Final

import aio_pika
import aio_pika.abc
from aiohttp import web

from bench.messages import row_of
from bench.verify_only import PATH
from checkout.decide.recovering import Links
from checkout.handlers.facts import Delays, Facts
from payments_shared.contracts.stripe import EVENT_TYPES, StripeEvent
from payments_shared.http import serve
from payments_shared.messaging import Outbox, inbox
from payments_shared.messaging.binding import Batch
from payments_shared.messaging.envelope import decode
from payments_shared.messaging.outbox import OutboxRow
from payments_shared.messaging.topology import EVENTS_EXCHANGE
from payments_shared.postgres import acquire, open_pool
from payments_shared.process import loop_factory, settle_memory
from webhook_ingest.app import STRIPE_VERSION
from webhook_ingest.decide import verify
from webhook_ingest.handlers.ingesting import read
from webhook_ingest.model import Policy, Rejection, Secret

PREFETCH: Final = 50
CONNECTIONS: Final = 10
_POLICY: Final = Policy(False, STRIPE_VERSION, frozenset({None}), frozenset(EVENT_TYPES))
_INSERT: Final = """
INSERT INTO stripe_events (day, event_id, type, object_id, livemode, account, api_version, state, reason, raw)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT DO NOTHING
"""


async def ingest() -> None:
    """The webhook endpoint."""
    pool = await open_pool(
        os.environ["BENCH_DATABASE_URL"], schema="webhook_ingest", application_name="plain", max_size=CONNECTIONS
    )
    exchange = await _exchange(await aio_pika.connect_robust(os.environ["BENCH_AMQP_URL"]))
    secrets = (Secret(os.environ["BENCH_SECRET"].encode()),)

    async def webhook(request: web.Request) -> web.Response:
        body = await request.read()
        now = datetime.now(UTC)
        if isinstance(verify(request.headers.get("Stripe-Signature", ""), body, secrets, now), Rejection):
            return web.Response(status=400)
        event = read(body, _POLICY, now.date())
        async with acquire(pool) as connection:
            await connection.execute(
                _INSERT,
                event.day,
                event.event_id,
                event.type,
                event.object_id,
                event.livemode,
                event.account,
                event.api_version,
                event.state.value,
                event.reason,
                event.raw,
            )
        await _publish(exchange, row_of(body))
        return web.Response(body=b'{"received":true}', content_type="application/json")

    app = web.Application(client_max_size=256 * 1024)
    app.add_routes([web.post(PATH, webhook)])
    await serve(app, host="127.0.0.1", port=int(os.environ["BENCH_PORT"]))
    settle_memory()
    await asyncio.Event().wait()


async def consume() -> None:
    """The consumer of checkout's facts, of which Stripe's events alone come here."""
    pool = await open_pool(
        os.environ["BENCH_DATABASE_URL"], schema="checkout", application_name="plain", max_size=CONNECTIONS
    )
    outbox = Outbox(pool, service="checkout")
    facts = Facts(outbox, Delays(600.0, 259_200.0), Links(b"bench", 604_800))
    connection = await aio_pika.connect_robust(os.environ["BENCH_AMQP_URL"])
    exchange = await _exchange(connection)

    async def handle(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        envelope, data = decode(message.body)
        async with acquire(pool) as database, database.transaction():
            tx = outbox.open(database, cause=envelope)
            if await inbox.claim(database, [envelope], "checkout"):
                await facts.hear(Batch(database, [(tx, StripeEvent.model_validate(data))]))
        for row in tx.rows:
            await _publish(exchange, row)
        await message.ack()

    channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    queue = await channel.get_queue("checkout.events")
    await queue.consume(handle)
    settle_memory()
    await asyncio.Event().wait()


async def _exchange(connection: aio_pika.abc.AbstractConnection) -> aio_pika.abc.AbstractExchange:
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    return await channel.get_exchange(EVENTS_EXCHANGE, ensure=False)


async def _publish(exchange: aio_pika.abc.AbstractExchange, row: OutboxRow) -> None:
    message = aio_pika.Message(row.body, message_id=str(row.message_id), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await exchange.publish(message, row.routing_key, mandatory=True, timeout=10)


def main() -> None:
    """Run until the parent ends us."""
    run = {"ingest": ingest, "consume": consume}[sys.argv[1]]
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(run())


if __name__ == "__main__":
    main()
