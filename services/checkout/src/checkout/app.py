"""The composition of checkout."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import fields
from functools import partial
from itertools import chain
from typing import Final

import aiohttp
import structlog
from aiohttp import web

from checkout import consumers
from checkout.decide.recovering import Links
from checkout.gateway import Inventory, Payments, RateFeed, Takings
from checkout.handlers.advancing import Advancing, leases_over
from checkout.handlers.asking import Asking
from checkout.handlers.attributing import Attributing
from checkout.handlers.canceling import Canceling
from checkout.handlers.catalog import Catalog
from checkout.handlers.charging import Charging
from checkout.handlers.covering import Covering
from checkout.handlers.crediting import Crediting
from checkout.handlers.customers import Customers
from checkout.handlers.delivering import Delivering
from checkout.handlers.exchange import Exchanging
from checkout.handlers.expiring import Reminding
from checkout.handlers.facts import Delays, Facts
from checkout.handlers.finishing import Finishing
from checkout.handlers.following import Bounds, Following
from checkout.handlers.forgetting import Forgetting
from checkout.handlers.gating import ForgettingAttempts, Gates
from checkout.handlers.holding import Holding
from checkout.handlers.importing import Imports
from checkout.handlers.judging import Judging
from checkout.handlers.limiting import Limiting, OwnLimiting
from checkout.handlers.losing import Losing
from checkout.handlers.methods import Methods
from checkout.handlers.placing import Placing, Terms
from checkout.handlers.pricing import Pricing
from checkout.handlers.promoting import Promoting
from checkout.handlers.quoting import Quoting
from checkout.handlers.recovering import Paths, Recovering
from checkout.handlers.retrying import Retrying
from checkout.handlers.saving import Saving, key_leases_over
from checkout.handlers.suspecting import Suspecting
from checkout.handlers.telling import Telling
from checkout.model.credit import GrantLimits
from checkout.model.delivery import DeliveryTerms
from checkout.model.limits import Limit
from checkout.model.options import PageRules
from checkout.model.orders import Patience
from checkout.model.velocity import Limits, Openings
from checkout.routes import (
    admin,
    crediting,
    delivery,
    events,
    importing,
    judging,
    losing,
    methods,
    one_click,
    promoting,
    public,
    quoting,
    recovering,
    switching,
)
from checkout.routes.api import API
from checkout.settings import Settings
from payments_shared import metrics, tracing
from payments_shared.admission import Admission
from payments_shared.auth import ServiceTokens, Verifier
from payments_shared.http import KEPT_SECONDS, internal_app, public_app, public_reference, serve, share
from payments_shared.listening import Listener
from payments_shared.messaging import Outbox
from payments_shared.messaging.breaker import needed
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import Pool, open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.stripe_client import open_stripe
from payments_shared.sweeper import Sweep, sweep_every
from payments_shared.switches import Switch, Switching
from payments_shared.switches.door import Door as SwitchDoor
from payments_shared.switches.door import routes as switch_routes

SERVICE = "checkout"
IMPORT_SECONDS: Final = 240.0  # two hundred thousand rows are compared and written in a quarter of it
ORDERS_CHANNEL: Final = "checkout_orders"  # as `save_ledger` and `store_session` name it
STREAMS_OF_ONE_ORDER: Final = 10  # a buyer's windows and devices; more would be at the expense of other buyers
PLACING_AT_ONCE: Final = 64  # three times the pool: most of a placement is spent at inventory and at Stripe
PLACING_PATIENCE_SECONDS: Final = 8.0  # below the ten seconds after which browsers' code and proxies give up

Sweeps = tuple[tuple[str, float, Sweep], ...]  # name, seconds between two, what is done

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    dsn = settings.database_url.get_secret_value()
    pool = await open_pool(dsn, schema=SERVICE, application_name=SERVICE, ready=6, max_size=20)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    secret = settings.secret.get_secret_value().encode()
    facts = _facts(outbox, settings, secret)
    payments, inventory, http = await _gateways(process, settings)
    leases = leases_over(outbox)
    process.background("leases", lambda: leases.run(process.stopping))
    customers, saved = Customers(outbox, payments), Methods(outbox, facts.gates)
    pricing = Pricing(settings.default_currency, settings.maximum_minor, _delivery_terms(settings))
    charging = Charging(outbox, facts, payments.charges)
    advancing = Advancing(outbox, facts, inventory, payments, charging, Covering(outbox, facts), customers, leases)
    placing = Placing(outbox, charging, advancing, pricing, customers, _terms(settings), facts.gates)
    key_leases = key_leases_over(outbox)
    process.background("key-leases", lambda: key_leases.run(process.stopping))
    saving = Saving(outbox, payments, customers, saved, key_leases)
    asking = Asking(outbox, facts, payments, Patience(settings.wait_seconds, settings.processing_wait_seconds))
    messaging = await start_messaging(
        process,
        settings,
        outbox=outbox,
        schema=SERVICE,
        events=consumers.events(facts, saved),
        work=consumers.work(asking, Attributing(facts, payments), advancing, saving, charging),
        needs=(needed("stripe", "stripe_unavailable", payments.stripe.ask),),
    )
    switch, limiting = Switching(outbox, Switch.CHECKOUTS), Limiting(pool, _limits(settings))
    sweeps: Sweeps = (
        ("resume-unfinished", settings.resume_seconds, advancing.resume_unfinished),
        ("ask-after-waiting", settings.heal_seconds, partial(asking.ask_after_waiting, process.stopping)),
        ("charge-again", settings.sweep_seconds, _retrying(advancing).charge_due),
        ("finish-splits", settings.sweep_seconds, Finishing(charging, leases).finish),
        ("end-lapsed-holds", settings.sweep_seconds, asking.end_lapsed_holds),
        ("measure-switches", settings.sweep_seconds, switch.measure),
        ("forget-attempts", settings.heal_seconds, ForgettingAttempts(pool).forget),
        ("measure-holds", settings.sweep_seconds, _measuring(pool, settings).measure),
        ("forget-counts", settings.heal_seconds, limiting.forget),
        ("expire-credit", settings.sweep_seconds, Crediting(outbox).expire),
        ("forget-keys", settings.remind_seconds, Forgetting(pool).forget),
        ("tell-stripe", settings.heal_seconds, Telling(outbox, payments).tell),
        ("remind-of-expiry", settings.remind_seconds, Reminding(outbox).remind),
    )
    if settings.rates_url is not None:
        feed = RateFeed(http, str(settings.rates_url))
        sweeps += (("refresh-rates", settings.rates_seconds, Exchanging(outbox, feed).refresh),)
    _repeat(process, pool, sweeps)

    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    catalog = Catalog(outbox)
    outside = public_app(service=SERVICE)
    admission = Admission(at_once=PLACING_AT_ONCE, patience_seconds=PLACING_PATIENCE_SECONDS)
    canceling = Canceling(outbox, facts, payments)
    reads = OwnLimiting(_limit("reads", settings.reads_per_caller))
    door = public.Door(
        placing=placing,
        canceling=canceling,
        catalog=catalog,
        people=people,
        defaults=_defaults(settings),
        secret=secret,
        admission=admission,
        limiting=limiting,
        cancellations=_limited(pool, "cancellations", settings.cancellations_per_caller),
        reads=reads,
        trusted=settings.trusted_proxies,
    )
    again = Recovering(placing, canceling, facts.links, Paths(settings.success_path, settings.cancel_path))
    priced = Limiting(pool, _quote_limits(settings))
    outside.add_routes(
        chain(
            public.routes(door),
            recovering.routes(recovering.Door(door, again, priced)),
            one_click.routes(one_click.Door(door)),
            quoting.routes(quoting.Door(door, Quoting(outbox, payments, pricing), priced)),
            methods.routes(_methods(saved, saving, people, settings, reads)),
            crediting.routes(crediting.Door(Crediting(outbox), people, reads)),
        )
    )
    listener = Listener(dsn, schema=SERVICE, application_name=SERVICE, channel=ORDERS_CHANNEL)
    process.background("listener", partial(listener.run, process.stopping))
    following = Following(pool, listener, _bounds(settings))
    outside.add_routes(events.routes(events.Door(door, following, settings.ticket_seconds)) + public_reference(API))
    share(outside, settings.allowed_origins, takes=public.TAKES, shows=public.SHOWS)
    background = {**messaging.checks(), "listener": listener.check}
    inside = internal_app(api=API, checks=database_checks(pool, SERVICE), background=background)
    inside.add_routes(
        chain(
            _for_people(catalog, facts, switch, payments, people),
            _crediting(outbox, settings, people),
            await _importing(process, settings, people),
        )
    )
    public_server = await serve(outside, host=settings.host, port=settings.public_port)
    process.front_door("public-http", public_server)
    process.on_terminate("streams", following.close)
    internal_server = await serve(inside, host=settings.host, port=settings.internal_port)
    process.back_door("internal-http", internal_server)
    log.info("service.ready", public_port=public_server.port, internal_port=internal_server.port)


def _facts(outbox: Outbox, settings: Settings, secret: bytes) -> Facts:
    links = Links(secret, settings.recovery_seconds)
    openings = Openings(settings.open_orders_per_customer, settings.open_orders_per_address)
    gates = Gates(secret, _velocity(settings), settings.three_d_secure_rules, openings)
    return Facts(outbox, _delays(settings), links, Suspecting(settings.warning_refunds), gates)


def _repeat(process: Process, pool: Pool, sweeps: Sweeps) -> None:
    for name, seconds, sweep in sweeps:
        every = partial(sweep_every, seconds, sweep, name=f"{SERVICE}:{name}", pool=pool)
        process.background(name, partial(every, stopping=process.stopping))


def _for_people(
    catalog: Catalog, facts: Facts, switch: Switching, payments: Payments, people: Verifier
) -> Iterable[web.RouteDef]:
    outbox = facts.outbox
    yield from admin.routes(admin.Door(catalog, people))
    yield from judging.routes(judging.Door(Judging(facts), people))
    yield from delivery.routes(delivery.Door(Delivering(outbox), people))
    yield from promoting.routes(promoting.Door(Promoting(outbox), people))
    yield from losing.routes(losing.Door(Losing(outbox, Takings(payments.stripe)), people))
    yield from switch_routes(SwitchDoor(switch, people, switching.OPERATIONS))


def _crediting(outbox: Outbox, settings: Settings, people: Verifier) -> Iterable[web.RouteDef]:
    limits = GrantLimits(settings.credit_per_grant, settings.credit_per_admin_day)
    return crediting.staff_routes(crediting.Door(Crediting(outbox, limits), people, OwnLimiting(None)))


async def _importing(process: Process, settings: Settings, people: Verifier) -> Iterable[web.RouteDef]:
    """A catalogue file takes effect in one transaction, over connections of its own that may take long for it. What it
    locks are products and prices, which buyers read without a lock."""
    pool = await open_pool(
        settings.database_url.get_secret_value(),
        schema=SERVICE,
        application_name=SERVICE,
        name="import",
        max_size=2,
        command_timeout_seconds=IMPORT_SECONDS,
        statement_timeout_ms=int(IMPORT_SECONDS * 1000),
    )
    process.on_drain("import-pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    return importing.routes(importing.Door(Imports(outbox), people))


async def _gateways(process: Process, settings: Settings) -> tuple[Payments, Inventory, aiohttp.ClientSession]:
    opened = AsyncExitStack()
    process.on_drain("gateways", opened.aclose)
    base = str(settings.stripe_api_base).rstrip("/") if settings.stripe_api_base else None
    stripe = await opened.enter_async_context(
        open_stripe(api_key=settings.stripe_api_key.get_secret_value(), api_base=base)
    )
    http = await opened.enter_async_context(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=KEPT_SECONDS),
            trust_env=False,
            trace_configs=tracing.client_traces(),
        )
    )
    tokens = ServiceTokens(
        settings.service_key_file, settings.service_key_id, settings.jwt_issuer, SERVICE, "inventory"
    )
    return Payments(stripe), Inventory(http, str(settings.inventory_url).rstrip("/"), tokens), http


def _measuring(pool: Pool, settings: Settings) -> Holding:
    metrics.set_days(metrics.SECRET_CREATED, stripe_api_key=settings.stripe_api_key_created_on)
    metrics.from_zero(metrics.ORDERS)
    metrics.from_zero(metrics.SWEEPER_HEALED, kind=("order", "session", "split"))
    holding = Holding(pool)
    holding.begin()
    return holding


def _retrying(given: Advancing) -> Retrying:
    return Retrying(given.outbox, given.facts, given.inventory, given.payments.charges, given.leases)


def _delays(settings: Settings) -> Delays:
    return Delays(settings.abandon_seconds, settings.mismatch_seconds)


def _terms(settings: Settings) -> Terms:
    origin = str(settings.shop_origin).rstrip("/")
    rules = PageRules(settings.session_seconds, settings.three_d_secure_above, settings.three_d_secure_countries)
    return Terms(origin, rules, settings.retry_seconds)


def _delivery_terms(settings: Settings) -> DeliveryTerms:
    return DeliveryTerms(
        required=settings.shipping_required,
        countries=settings.shipping_countries,
        source=settings.tax,
        inclusive=settings.tax_inclusive,
    )


def _limits(settings: Settings) -> list[Limit]:
    wanted = {"address": settings.placements_per_address, "customer": settings.placements_per_customer}
    found = [Limit(name, most, settings.placements_seconds) for name, most in wanted.items() if most]
    email = _limit("email", settings.placements_per_email)
    return [*found, email] if email is not None else found


def _velocity(settings: Settings) -> Limits:
    names = [field.name for field in fields(Limits)]
    return Limits(**{name: _limit(name, getattr(settings, name)) for name in names})


def _limit(name: str, text: str) -> Limit | None:
    most, _, seconds = text.partition("/")
    return Limit(name, int(most), int(seconds or 0)) if int(most) else None


def _quote_limits(settings: Settings) -> list[Limit]:
    most = settings.quotes_per_address
    return [Limit("quotes", most, settings.placements_seconds)] if most else []


def _limited(pool: Pool, name: str, text: str) -> Limiting:
    limit = _limit(name, text)
    return Limiting(pool, [limit] if limit is not None else [])


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        settings.streams_max,
        STREAMS_OF_ONE_ORDER,
        settings.streams_per_address,
        settings.stream_seconds,
        settings.heartbeat_seconds,
    )


def _methods(saved: Methods, saving: Saving, people: Verifier, settings: Settings, reads: OwnLimiting) -> methods.Door:
    origin, pool = str(settings.shop_origin).rstrip("/"), saved.outbox.pool
    return methods.Door(
        methods=saved,
        saving=saving,
        people=people,
        defaults=methods.Defaults(origin, settings.default_currency, settings.methods_path),
        limiting=_limited(pool, "methods", settings.additions_per_customer),
        changes=_limited(pool, "changes", settings.changes_per_customer),
        reads=reads,
    )


def _defaults(settings: Settings) -> public.Defaults:
    own = str(settings.shop_origin).rstrip("/")
    back = frozenset({own, *settings.return_origins})
    return public.Defaults(settings.default_currency, settings.success_path, settings.cancel_path, back)
