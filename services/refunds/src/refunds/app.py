"""The composition of refunds."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial

import structlog

from payments_shared.auth import Verifier
from payments_shared.http import internal_app, public_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.breaker import needed
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.stripe_client import open_stripe
from payments_shared.sweeper import Round, Sweep, sweep_every
from refunds import consumers
from refunds.gateway import Payments
from refunds.handlers.deciding import Deciding
from refunds.handlers.following import Following
from refunds.handlers.forgetting import Forgetting
from refunds.handlers.owing import Owing
from refunds.handlers.requesting import Requesting
from refunds.handlers.ruling import Ruling
from refunds.handlers.submitting import Submitting
from refunds.handlers.sweeping import Sweeping
from refunds.routes import refunding, ruling
from refunds.routes.api import API
from refunds.settings import Settings

SERVICE = "refunds"

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    pool = await open_pool(settings.database_url.get_secret_value(), schema=SERVICE, application_name=SERVICE)
    process.on_drain("pool", pool.close)
    opened = AsyncExitStack()
    process.on_drain("gateway", opened.aclose)
    base = str(settings.stripe_api_base).rstrip("/") if settings.stripe_api_base else None
    stripe = await opened.enter_async_context(
        open_stripe(api_key=settings.stripe_api_key.get_secret_value(), api_base=base)
    )
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    sweeping = Sweeping(
        outbox,
        patience=timedelta(milliseconds=sum(settings.retry_tiers_ms), seconds=settings.resubmit_seconds),
        check_after=timedelta(seconds=settings.check_seconds),
    )
    payments = Payments(stripe)
    kept = timedelta(days=settings.store_credit_days) if settings.store_credit_days else None
    submitting, following = Submitting(outbox, payments, kept), Following(outbox, payments)
    messaging = await start_messaging(
        process,
        settings,
        outbox=outbox,
        schema=SERVICE,
        events=consumers.events(Owing(), following, submitting),
        work=consumers.work(submitting, following),
        needs=(needed("stripe", "stripe_unavailable", stripe.ask),),
    )

    async def go_on() -> Round | None:
        # While work rests the commands wait at the broker, and then begin to flow: each would only get a twin.
        rested = messaging.work_rested_within(sweeping.patience.total_seconds())
        return None if rested else await sweeping.go_on()

    sweeps: tuple[tuple[str, float, Sweep], ...] = (
        ("go-on", settings.heal_seconds, go_on),
        ("recheck", settings.sweep_seconds, sweeping.recheck),
        ("measure", settings.sweep_seconds, sweeping.measure),
        ("forget", settings.heal_seconds, Forgetting(pool).forget),
    )
    for name, seconds, sweep in sweeps:
        every = partial(sweep_every, seconds, sweep, name=f"{SERVICE}:{name}", pool=pool)
        process.background(name, partial(every, stopping=process.stopping))
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    outside = public_app(service=SERVICE)
    outside.add_routes(refunding.routes(refunding.Door(Requesting(outbox), Deciding(outbox), people)))
    inside = internal_app(api=API, checks={**database_checks(pool, SERVICE), **messaging.checks()})
    inside.add_routes(ruling.routes(ruling.Door(Ruling(outbox), people)))
    public_server = await serve(outside, host=settings.host, port=settings.public_port)
    process.on_terminate("public-http", public_server.stop)
    server = await serve(inside, host=settings.host, port=settings.internal_port)
    process.on_terminate("http", server.stop)
    log.info("service.ready", public_port=public_server.port, internal_port=server.port)
