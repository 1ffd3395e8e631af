"""The composition of fulfillment."""

import structlog

from fulfillment import consumers, routes
from fulfillment.handlers import Handlers
from fulfillment.settings import Settings
from payments_shared.auth import Verifier
from payments_shared.http import internal_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks

SERVICE = "fulfillment"

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    pool = await open_pool(settings.database_url.get_secret_value(), schema=SERVICE, application_name=SERVICE)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    handlers = Handlers(outbox)
    messaging = await start_messaging(
        process, settings, outbox=outbox, schema=SERVICE, events=consumers.bindings(handlers)
    )
    internal = internal_app(api=routes.API, checks={**database_checks(pool, SERVICE), **messaging.checks()})
    door = routes.Door(handlers, Verifier(settings.jwks_file, settings.jwt_issuer, "payments"))
    internal.add_routes(routes.routes(door))
    server = await serve(internal, host=settings.host, port=settings.internal_port)
    process.front_door("http", server)
    log.info("service.ready", internal_port=server.port)
