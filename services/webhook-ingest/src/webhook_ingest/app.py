"""The composition of webhook-ingest."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import structlog
from aiohttp import web

from payments_shared import metrics
from payments_shared.auth import Verifier
from payments_shared.contracts.stripe import EVENT_TYPES
from payments_shared.http import internal_app, public_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.sweeper import sweep_every
from webhook_ingest.handlers.ingesting import Ingest
from webhook_ingest.handlers.redelivering import Redelivering
from webhook_ingest.model import Policy, Secret
from webhook_ingest.routes import backfill, events, public
from webhook_ingest.routes.api import API
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
    metrics.from_zero(metrics.WEBHOOK_REJECTED)
    metrics.from_zero(metrics.SWEEPER_HEALED, kind=("event", "unseen_event"))
    metrics.set_days(
        metrics.SECRET_CREATED,
        stripe_api_key=settings.stripe_api_key_created_on,
        stripe_webhook_secrets=settings.stripe_webhook_secrets_created_on,
    )
    messaging = await start_messaging(process, settings, outbox=outbox, schema=SCHEMA)
    ingest = Ingest(outbox, _policy(settings))
    outbox.busy = lambda: ingest.busy
    process.background("ingest", lambda: ingest.run(process.stopping))

    door = public_app(service=SERVICE, client_max_size=public.BODY_MAX_BYTES)
    door.add_routes(public.routes(public.Door(ingest, _secrets(settings))))
    internal = internal_app(api=API, checks=database_checks(pool, SCHEMA), background=messaging.checks())
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    internal.add_routes(events.routes(events.Door(Redelivering(outbox), people)))
    internal.add_routes(await _backfill(process, settings, outbox, people))
    outside = await serve(door, host=settings.host, port=settings.public_port)
    process.front_door("public-http", outside)
    inside = await serve(internal, host=settings.host, port=settings.internal_port)
    process.back_door("internal-http", inside)
    log.info("service.ready", public_port=outside.port, internal_port=inside.port)


async def _backfill(process: Process, settings: Settings, outbox: Outbox, people: Verifier) -> list[web.RouteDef]:
    """The way to ask Stripe for events. Without a key there is none, and Stripe's SDK is not even loaded."""
    if settings.stripe_api_key is None:
        log.warning("backfill.off")
        return backfill.without_stripe()
    from payments_shared.stripe_client import open_stripe
    from webhook_ingest.gateway import StripeEvents
    from webhook_ingest.handlers.backfill import RETRY_SECONDS, SOURCE, Backfill
    from webhook_ingest.handlers.looking_through import LookingThrough
    from webhook_ingest.routes import admin

    opened = AsyncExitStack()
    process.on_drain("gateway", opened.aclose)
    base = str(settings.stripe_api_base).rstrip("/") if settings.stripe_api_base else None
    key = settings.stripe_api_key.get_secret_value()
    stripe = await opened.enter_async_context(open_stripe(api_key=key, api_base=base))
    ingest = Ingest(outbox, _policy(settings), source=SOURCE)
    process.background("pulled", lambda: ingest.run(process.stopping))
    every, grace = timedelta(seconds=settings.pull_seconds), timedelta(seconds=settings.pull_grace_seconds)
    walks = Backfill(StripeEvents(stripe), ingest, every, grace)
    through = LookingThrough(walks, every=timedelta(seconds=settings.look_through_seconds), young=every + grace)
    sweeps = {
        name: partial(
            sweep_every, min(RETRY_SECONDS, seconds), partial(look, process.stopping),
            name=f"{SERVICE}:{name}", pool=outbox.pool, stopping=process.stopping,
        )
        for name, seconds, look in (
            ("catch-up", settings.pull_seconds, walks.catch_up),
            ("look-through", settings.look_through_seconds, through.look),
        )
    }  # fmt: skip
    process.background("catch-up", sweeps["catch-up"])
    process.background("look-through", partial(through.after_catching_up, sweeps["look-through"], process.stopping))
    return admin.routes(admin.Door(walks, people))


def _secrets(settings: Settings) -> tuple[Secret, ...]:
    return tuple(
        Secret(entry.secret.get_secret_value().encode(), entry.not_after) for entry in settings.stripe_webhook_secrets
    )


def _policy(settings: Settings) -> Policy:
    accounts = frozenset({None, *settings.stripe_accounts})
    return Policy(settings.livemode, STRIPE_VERSION, accounts, frozenset(EVENT_TYPES))
