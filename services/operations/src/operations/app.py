"""The composition of operations."""

import asyncio

import structlog

from operations import consumers
from operations.gateway import Replays
from operations.handlers.acting import Acting
from operations.handlers.keeping import Keeping
from operations.handlers.looking import Looking
from operations.handlers.working import Worker
from operations.routes import acting as acting_routes
from operations.routes import looking as looking_routes
from operations.routes.api import API
from operations.settings import Settings
from payments_shared.auth import Verifier
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.http import internal_app, serve
from payments_shared.messaging import Broker, Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.raw import RawConsumer
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.sweeper import sweep_every

SERVICE = "operations"
# Its own dead letters stay in their queue and alert: whoever could not keep them should not be asked to.
DRAINED = tuple(f"{service}.dlq" for service in CONSUMERS if service != SERVICE)

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    pool = await open_pool(settings.database_url.get_secret_value(), schema=SERVICE, application_name=SERVICE)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    broker = Broker(settings.amqp_url.get_secret_value(), service=SERVICE)
    replays = Publisher(broker)
    process.on_drain("replay-link", replays.link.close)
    process.background("replay-link", lambda: replays.link.keep(process.stopping))
    wake = asyncio.Event()
    keeping, looking = Keeping(outbox), Looking(pool)
    acting = Acting(outbox, wake, settings.replay_lease_seconds)
    worker = Worker(outbox, Replays(replays), wake, settings.replay_lease_seconds)
    letters = RawConsumer(broker, DRAINED, keeping.keep)
    process.on_drain("letters-link", letters.link.close)
    process.background("letters-link", lambda: letters.link.keep(process.stopping))
    process.background("letters-watch", lambda: letters.watch(process.stopping))
    process.background("letters", lambda: letters.run(process.stopping))
    process.background("bulks", lambda: worker.run(process.stopping))
    messaging = await start_messaging(
        process, settings, outbox=outbox, schema=SERVICE, events=consumers.bindings(keeping)
    )
    process.background(
        "measure-letters",
        lambda: sweep_every(
            settings.measure_seconds,
            keeping.measure,
            name="operations:measure",
            pool=pool,
            stopping=process.stopping,
        ),
    )

    async def drains() -> str | None:
        return None if letters.active else "not consuming dead letters"

    checks = {**database_checks(pool, SERVICE), **messaging.checks(), "dead-letters": drains, "bulks": worker.check}
    internal = internal_app(api=API, checks=checks)
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    internal.add_routes(looking_routes.routes(looking_routes.Door(looking, people)))
    internal.add_routes(acting_routes.routes(acting_routes.Door(acting, looking, people)))
    server = await serve(internal, host=settings.host, port=settings.internal_port)
    process.on_terminate("http", server.stop)
    log.info("service.ready", internal_port=server.port)
