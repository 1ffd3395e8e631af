"""The composition of inventory."""

import structlog

from inventory import consumers, routes
from inventory.handlers import Handlers
from inventory.settings import Settings
from payments_shared import metrics
from payments_shared.auth import Verifier
from payments_shared.http import internal_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.sweeper import sweep_every

SERVICE = "inventory"

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    dsn = settings.database_url.get_secret_value()
    pool = await open_pool(dsn, schema=SERVICE, application_name=SERVICE, ready=3, max_size=20)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    metrics.from_zero(metrics.RESERVATIONS)
    metrics.from_zero(metrics.SWEEPER_HEALED, kind=("reservation",))
    handlers = Handlers(outbox, settings.stock_low_threshold, settings.hold_grace_seconds)
    messaging = await start_messaging(
        process, settings, outbox=outbox, schema=SERVICE, events=consumers.bindings(handlers)
    )
    process.background(
        "release-overdue",
        lambda: sweep_every(
            settings.sweep_seconds,
            handlers.release_overdue,
            name="inventory:release-overdue",
            pool=pool,
            stopping=process.stopping,
        ),
    )
    door = routes.Door(
        handlers,
        services=Verifier(settings.jwks_file, settings.jwt_issuer, "inventory"),
        people=Verifier(settings.jwks_file, settings.jwt_issuer, "payments"),
    )
    internal = internal_app(api=routes.API, checks=database_checks(pool, SERVICE), background=messaging.checks())
    internal.add_routes(routes.routes(door))
    server = await serve(internal, host=settings.host, port=settings.internal_port)
    process.front_door("http", server)
    log.info("service.ready", internal_port=server.port)
