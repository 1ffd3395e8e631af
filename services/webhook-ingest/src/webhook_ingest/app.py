"""The composition of webhook-ingest."""

import structlog

from payments_shared.contracts.stripe import EVENT_TYPES
from payments_shared.http import internal_app, public_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from webhook_ingest import routes
from webhook_ingest.handlers import Ingest
from webhook_ingest.model import Policy, Secret
from webhook_ingest.settings import Settings

SERVICE = "webhook-ingest"
SCHEMA = "webhook_ingest"
# Equal to `payments_shared.stripe_client.STRIPE_VERSION`, which a test compares: to import it would load Stripe's SDK.
STRIPE_VERSION = "2026-08-26.dahlia"

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    pool = await open_pool(settings.database_url.get_secret_value(), schema=SCHEMA, application_name=SERVICE)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    messaging = await start_messaging(process, settings, outbox=outbox, schema=SCHEMA)
    ingest = Ingest(outbox, _policy(settings))
    outbox.busy = lambda: ingest.busy
    process.background("ingest", lambda: ingest.run(process.stopping))
    door = routes.Door(ingest, _secrets(settings))

    public = public_app(service=SERVICE, client_max_size=routes.BODY_MAX_BYTES)
    public.add_routes(routes.routes(door))
    internal = internal_app(service=SERVICE, checks=database_checks(pool, SCHEMA), background=messaging.checks())
    outside = await serve(public, host=settings.host, port=settings.public_port)
    process.on_terminate("public-http", outside.stop)
    inside = await serve(internal, host=settings.host, port=settings.internal_port)
    process.on_drain("internal-http", inside.stop)
    log.info("service.ready", public_port=outside.port, internal_port=inside.port)


def _secrets(settings: Settings) -> tuple[Secret, ...]:
    return tuple(
        Secret(entry.secret.get_secret_value().encode(), entry.not_after) for entry in settings.stripe_webhook_secrets
    )


def _policy(settings: Settings) -> Policy:
    accounts = frozenset({None, *settings.stripe_accounts})
    return Policy(settings.livemode, STRIPE_VERSION, accounts, frozenset(EVENT_TYPES))
