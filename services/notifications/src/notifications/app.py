"""The composition of notifications."""

from functools import partial

import structlog

from notifications import consumers, routes
from notifications.decide import House, Unsubscribing
from notifications.gateway import MailServer, Writer
from notifications.handlers import Handlers, leases_over
from notifications.settings import Settings
from payments_shared import metrics
from payments_shared.auth import Verifier
from payments_shared.http import internal_app, public_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.breaker import needed
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.sweeper import Round, Sweep, sweep_every
from payments_shared.switches import Switch, Switching
from payments_shared.switches.door import Door as SwitchDoor
from payments_shared.switches.door import routes as switch_routes

SERVICE = "notifications"

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    pool = await open_pool(settings.database_url.get_secret_value(), schema=SERVICE, application_name=SERVICE)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    metrics.from_zero(metrics.MAILS)
    metrics.from_zero(metrics.SWEEPER_HEALED, kind=("mail",))
    shop_url = str(settings.shop_url)
    house = House(settings.shop_name, shop_url, settings.mail_staff, shop_url.rstrip("/") + settings.recover_path)
    server = _mail_server(settings)
    leases = leases_over(outbox)
    process.background("leases", lambda: leases.run(process.stopping))
    handlers = Handlers(
        outbox,
        Writer.of(house),
        server,
        house,
        leases,
        domain=settings.mail_from.rpartition("@")[2],
        patience_seconds=sum(settings.retry_tiers_ms) / 1000 + settings.resend_seconds,
        unsubscribing=Unsubscribing(str(settings.public_url).rstrip("/"), settings.secret.get_secret_value().encode()),
        invited_seconds=settings.invited_seconds,
    )
    switch = Switching(outbox, Switch.MAILS)
    messaging = await start_messaging(
        process,
        settings,
        outbox=outbox,
        schema=SERVICE,
        events=consumers.events(handlers),
        work=consumers.work(handlers),
        needs=(needed("smtp", "smtp_unavailable", server.ask), needed("switch", "mails_stopped", switch.ask)),
    )

    async def resend() -> Round | None:
        # The commands wait at the broker, or have just begun to flow again: each would only get a twin.
        rested = messaging.work_rested_within(handlers.patience_seconds)
        return None if rested or await switch.is_stopped() else await handlers.resend()

    sweeps: tuple[tuple[str, Sweep], ...] = (("resend", resend), ("measure-switch", switch.measure))
    for name, sweep in sweeps:
        every = partial(sweep_every, settings.sweep_seconds, sweep, name=f"{SERVICE}:{name}", pool=pool)
        process.background(name, partial(every, stopping=process.stopping))
    internal = internal_app(api=routes.API, checks=database_checks(pool, SERVICE), background=messaging.checks())
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    internal.add_routes(switch_routes(SwitchDoor(switch, people, routes.SWITCH)))
    outside = public_app(service=SERVICE)
    outside.add_routes(routes.routes(routes.Door(handlers)))
    public_server = await serve(outside, host=settings.host, port=settings.public_port)
    process.front_door("public-http", public_server)
    door = await serve(internal, host=settings.host, port=settings.internal_port)
    process.front_door("http", door)
    log.info("service.ready", public_port=public_server.port, internal_port=door.port)


def _mail_server(settings: Settings) -> MailServer:
    password = settings.smtp_password.get_secret_value() if settings.smtp_password else None
    return MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.mail_from,
        settings.smtp_tls,
        settings.smtp_ca_file,
        settings.smtp_username,
        password,
    )
