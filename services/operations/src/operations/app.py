"""The composition of operations."""

import asyncio

import structlog

from operations import consumers
from operations.gateway.alerts import Alerts
from operations.gateway.provider import Provider
from operations.gateway.queues import Queues
from operations.gateway.replays import Replays
from operations.gateway.services import Services
from operations.gateway.staff import Staff
from operations.handlers.acting import Acting
from operations.handlers.agreeing import Agreeing
from operations.handlers.contesting import Contesting
from operations.handlers.keeping import Keeping
from operations.handlers.looking import Looking
from operations.handlers.measuring import Measuring
from operations.handlers.redelivering import Redelivering
from operations.handlers.signing_in import SigningIn
from operations.handlers.switching import Switching
from operations.handlers.trailing import Trailing
from operations.handlers.watching import Watching
from operations.handlers.working import Worker
from operations.model.identity import Client, IdentityClaims
from operations.model.people import Role
from operations.model.switches import KEEPERS
from operations.routes import acting as acting_routes
from operations.routes import looking as looking_routes
from operations.routes.api import API
from operations.routes.console.application import Desks, console_app
from operations.settings import Settings
from payments_shared.auth import Verifier
from payments_shared.contracts.catalog import CONSUMERS
from payments_shared.http import internal_app, serve
from payments_shared.messaging import Broker, Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.messaging.publisher import Publisher
from payments_shared.messaging.raw import RawConsumer
from payments_shared.postgres import Pool, open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.sweeper import sweep_every

SERVICE = "operations"
# Its own dead letters stay in their queue and alert: whoever could not keep them should not be asked to.
DRAINED = tuple(f"{service}.dlq" for service in CONSUMERS if service != SERVICE)

FORGET_SECONDS = 3600.0  # how often sessions that are long over are looked for

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
    measuring = Measuring(pool, settings.watched_doors)
    process.background("measure-servers", lambda: measuring.run(process.stopping))

    async def drains() -> str | None:
        return None if letters.active else "not consuming dead letters"

    checks = {**database_checks(pool, SERVICE), **messaging.checks(), "dead-letters": drains, "bulks": worker.check}
    internal = internal_app(api=API, checks=checks)
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    internal.add_routes(looking_routes.routes(looking_routes.Door(looking, people)))
    internal.add_routes(acting_routes.routes(acting_routes.Door(acting, looking, people)))
    if settings.console_url is not None and settings.oidc_issuer is not None:
        signing_in = _signing_in(process, settings, pool, people)
        services = Services(settings.service_urls)
        process.on_drain("services-http", services.close)
        management = settings.management_url.get_secret_value() if settings.management_url else None
        queues = Queues(management, broker.vhost)
        process.on_drain("queues-http", queues.close)
        alerts = Alerts(settings.prometheus_url) if settings.prometheus_url is not None else None
        if alerts is not None:
            process.on_drain("alerts-http", alerts.close)
        console = console_app(
            service=SERVICE,
            origin=settings.console_url,
            looking=looking,
            acting=acting,
            signing_in_=signing_in,
            watching=Watching(services, queues, alerts),
            desks=_desks(process, settings, outbox),
        )
        outside = await serve(console, host=settings.host, port=settings.public_port)
        process.front_door("console-http", outside)
    server = await serve(internal, host=settings.host, port=settings.internal_port)
    process.front_door("http", server)
    log.info("service.ready", internal_port=server.port, console=settings.console_url)


def _desks(process: Process, settings: Settings, outbox: Outbox) -> Desks:
    """What people do at other services, as far as it is said where these are."""

    def staff(service: str, url: str | None) -> Staff | None:
        if url is None:
            return None
        made = Staff(service, url)
        process.on_drain(f"{service}-http", made.close)
        return made

    trail = Trailing(outbox)
    refunds = staff("refunds", settings.staff_url)
    ingest = staff("webhook-ingest", settings.service_urls.get("webhook-ingest"))
    keepers = {switch: staff(service, settings.service_urls.get(service)) for switch, service in KEEPERS.items()}
    return Desks(
        agreeing=Agreeing(refunds, trail) if refunds else None,
        contesting=Contesting(refunds) if refunds else None,
        redelivering=Redelivering(ingest, trail) if ingest else None,
        switching=Switching({switch: found for switch, found in keepers.items() if found is not None}, trail),
    )


def _signing_in(process: Process, settings: Settings, pool: Pool, people: Verifier) -> SigningIn:
    """How people come in, and the sweep that forgets those who left."""
    origin, issuer, secret = settings.console_url or "", settings.oidc_issuer or "", settings.oidc_client_secret
    provider = Provider(
        Client(issuer, settings.oidc_client_id, f"{origin}/console/signed-in", settings.oidc_scope),
        settings.oidc_metadata_url or f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        secret.get_secret_value() if secret else None,
    )
    process.on_drain("identity-http", provider.close)
    granted_by = {
        Role.OPERATOR: settings.oidc_operator,
        Role.APPROVER: settings.oidc_approver,
        Role.VIEWER: settings.oidc_viewer,
    }
    made = SigningIn(
        pool,
        provider,
        IdentityClaims(settings.oidc_subject_claim, settings.oidc_roles_claim, granted_by),
        people,
        lifetime_seconds=settings.session_seconds,
        idle_seconds=settings.session_idle_seconds,
    )
    process.background(
        "forget-sessions",
        lambda: sweep_every(
            FORGET_SECONDS, made.forget, name="operations:forget-sessions", pool=pool, stopping=process.stopping
        ),
    )
    return made
