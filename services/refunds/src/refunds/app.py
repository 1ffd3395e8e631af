"""The composition of refunds."""

from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from payments_shared import metrics
from payments_shared.admission import Admission
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
from payments_shared.switches import Switch, Switching
from payments_shared.switches.door import Door as SwitchDoor
from payments_shared.switches.door import routes as switch_routes
from refunds import consumers
from refunds.gateway import Evidence, Payments
from refunds.handlers.contesting import Contesting
from refunds.handlers.deciding import Deciding
from refunds.handlers.disputing import Disputing
from refunds.handlers.exhibiting import Exhibiting
from refunds.handlers.following import Following
from refunds.handlers.forgetting import Forgetting
from refunds.handlers.looking import Looking
from refunds.handlers.noting import Noting
from refunds.handlers.owing import Owing
from refunds.handlers.reminding import Reminding
from refunds.handlers.repeating import Repeating
from refunds.handlers.reporting import Reporting
from refunds.handlers.requesting import Requesting
from refunds.handlers.ruling import Ruling
from refunds.handlers.submitting import Submitting
from refunds.handlers.sweeping import Sweeping
from refunds.handlers.tallying import Tallying
from refunds.routes import contesting, deciding, refunding, reporting, ruling, switching
from refunds.routes import disputing as disputed
from refunds.routes.api import API
from refunds.routes.printing import print_pack
from refunds.settings import Settings

SERVICE = "refunds"
BODY_MAX_BYTES: Final = 1024 * 1024  # all texts that a bank takes, in any script
DECIDING_AT_ONCE: Final = 4  # both processors are busy with them; more would only hold their locks for longer
DECIDING_PATIENCE_SECONDS: Final = 8.0  # below the ten seconds after which browsers' code and proxies give up

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
    metrics.set_days(metrics.SECRET_CREATED, stripe_api_key=settings.stripe_api_key_created_on)
    for metric in (metrics.REFUNDS, metrics.DISPUTES, metrics.EVIDENCE):
        metrics.from_zero(metric)
    metrics.from_zero(metrics.SWEEPER_HEALED, kind=("dispute", "evidence", "refund"))
    sweeping = Sweeping(
        outbox,
        patience=timedelta(milliseconds=sum(settings.retry_tiers_ms), seconds=settings.resubmit_seconds),
        check_after=timedelta(seconds=settings.check_seconds),
    )
    payments = Payments(stripe)
    kept = timedelta(days=settings.store_credit_days) if settings.store_credit_days else None
    secret = settings.secret.get_secret_value().encode() if settings.secret else None
    submitting, following = Submitting(outbox, payments, kept), Following(outbox, payments)
    disputing = Disputing(outbox, payments)
    reminding = Reminding(outbox, check_after=timedelta(seconds=settings.dispute_check_seconds))
    exhibiting = Exhibiting(outbox, Evidence(stripe), settings.refund_policy)
    answering = Contesting(outbox, exhibiting, Evidence(stripe), print_pack, sweeping.patience)
    messaging = await start_messaging(
        process,
        settings,
        outbox=outbox,
        schema=SERVICE,
        events=consumers.events(
            owing=Owing(),
            following=following,
            disputing=disputing,
            exhibiting=exhibiting,
            noting=Noting(secret),
        ),
        work=consumers.work(submitting, following, disputing, answering),
        needs=(needed("stripe", "stripe_unavailable", stripe.ask),),
    )

    async def go_on() -> Round | None:
        # While work rests the commands wait at the broker, and then begin to flow: each would only get a twin.
        rested = messaging.work_rested_within(sweeping.patience.total_seconds())
        return None if rested else await sweeping.go_on() + await answering.go_on()

    switch = Switching(outbox, Switch.REFUNDS)
    sweeps: tuple[tuple[str, float, Sweep], ...] = (
        ("go-on", settings.heal_seconds, go_on),
        ("take-up", settings.sweep_seconds, sweeping.take_up),
        ("recheck", settings.sweep_seconds, sweeping.recheck),
        ("measure-switch", settings.sweep_seconds, switch.measure),
        ("measure", settings.sweep_seconds, sweeping.measure),
        ("ask-after-disputes", settings.heal_seconds, reminding.ask_after),
        ("remind-of-disputes", settings.heal_seconds, reminding.remind),
        ("measure-disputes", settings.sweep_seconds, reminding.measure),
        ("forget", settings.heal_seconds, Forgetting(pool).forget),
        ("tally", settings.tally_seconds, Tallying(pool).tally),
    )
    for name, seconds, sweep in sweeps:
        every = partial(sweep_every, seconds, sweep, name=f"{SERVICE}:{name}", pool=pool)
        process.background(name, partial(every, stopping=process.stopping))
    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    admission = Admission(at_once=DECIDING_AT_ONCE, patience_seconds=DECIDING_PATIENCE_SECONDS)
    outbox.busy = lambda: admission.waiting > 0
    outside = public_app(service=SERVICE, client_max_size=BODY_MAX_BYTES)
    outside.add_routes(refunding.routes(refunding.Door(Requesting(outbox), people, admission)))
    outside.add_routes(deciding.routes(deciding.Door(Deciding(outbox), Repeating(outbox), people)))
    outside.add_routes(disputed.routes(disputed.Door(Looking(outbox), people)))
    outside.add_routes(contesting.routes(contesting.Door(exhibiting, answering, people, print_pack)))
    outside.add_routes(reporting.routes(reporting.Door(Reporting(pool), people)))
    inside = internal_app(api=API, checks={**database_checks(pool, SERVICE), **messaging.checks()})
    inside.add_routes(ruling.routes(ruling.Door(Ruling(outbox), people)))
    inside.add_routes(switch_routes(SwitchDoor(switch, people, switching.OPERATIONS)))
    public_server = await serve(outside, host=settings.host, port=settings.public_port)
    process.front_door("public-http", public_server)
    server = await serve(inside, host=settings.host, port=settings.internal_port)
    process.front_door("http", server)
    log.info("service.ready", public_port=public_server.port, internal_port=server.port)
