"""The composition of checkout."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from types import MappingProxyType
from typing import Final

import aiohttp
import structlog

from checkout import consumers
from checkout.gateway import Inventory, Payments
from checkout.handlers.asking import Asking
from checkout.handlers.canceling import Canceling
from checkout.handlers.catalog import Catalog
from checkout.handlers.customers import Customers
from checkout.handlers.expiring import Reminding
from checkout.handlers.facts import Delays, Facts
from checkout.handlers.importing import Imports
from checkout.handlers.methods import Methods
from checkout.handlers.placing import Placing, Terms, leases_over
from checkout.handlers.saving import Saving, key_leases_over
from checkout.routes import admin, importing, methods, public
from checkout.settings import Settings
from payments_shared.admission import Admission
from payments_shared.auth import ServiceTokens, Verifier
from payments_shared.http import internal_app, public_app, serve
from payments_shared.messaging import Outbox
from payments_shared.messaging.breaker import needed
from payments_shared.messaging.drain import start_messaging
from payments_shared.postgres import open_pool
from payments_shared.process import Process
from payments_shared.readiness import database_checks
from payments_shared.stripe_client import open_stripe
from payments_shared.sweeper import Sweep, sweep_every

SERVICE = "checkout"
PLACING_AT_ONCE: Final = 64  # three times the pool: most of a placement is spent at inventory and at Stripe
PLACING_PATIENCE_SECONDS: Final = 8.0  # below the ten seconds after which browsers' code and proxies give up
COUNTRIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "US": "usd",
        "GB": "gbp",
        "JP": "jpy",
        **dict.fromkeys(
            [
                "AT",
                "BE",
                "CY",
                "DE",
                "EE",
                "ES",
                "FI",
                "FR",
                "GR",
                "HR",
                "IE",
                "IT",
                "LT",
                "LU",
                "LV",
                "MT",
                "NL",
                "PT",
                "SI",
                "SK",
            ],
            "eur",
        ),
    }
)

log = structlog.get_logger(__name__)


async def start(process: Process, settings: Settings) -> None:
    """Start everything; what is away is waited for in the background."""
    dsn = settings.database_url.get_secret_value()
    pool = await open_pool(dsn, schema=SERVICE, application_name=SERVICE, max_size=20)
    process.on_drain("pool", pool.close)
    outbox = Outbox(pool, service=SERVICE, livemode=settings.livemode)
    facts = Facts(outbox, Delays(settings.abandon_seconds, settings.mismatch_seconds))
    payments, inventory = await _gateways(process, settings)
    leases = leases_over(outbox)
    process.background("leases", lambda: leases.run(process.stopping))
    customers, saved = Customers(outbox, payments), Methods(outbox)
    placing = Placing(outbox, facts, inventory, payments, customers, _terms(settings), leases)
    key_leases = key_leases_over(outbox)
    process.background("key-leases", lambda: key_leases.run(process.stopping))
    saving = Saving(outbox, payments, customers, saved, key_leases)
    asking = Asking(outbox, facts, payments, settings.wait_seconds)
    messaging = await start_messaging(
        process,
        settings,
        outbox=outbox,
        schema=SERVICE,
        events=consumers.events(facts, saved),
        work=consumers.work(asking, placing, saving),
        needs=(needed("stripe", "stripe_unavailable", payments.stripe.ask),),
    )
    sweeps: tuple[tuple[str, float, Sweep], ...] = (
        ("resume-unfinished", settings.resume_seconds, placing.resume_unfinished),
        ("ask-after-waiting", settings.heal_seconds, asking.ask_after_waiting),
        ("end-lapsed-holds", settings.sweep_seconds, asking.end_lapsed_holds),
        ("remind-of-expiry", settings.remind_seconds, Reminding(outbox).remind),
    )
    for name, seconds, sweep in sweeps:
        every = partial(sweep_every, seconds, sweep, name=f"{SERVICE}:{name}", pool=pool)
        process.background(name, partial(every, stopping=process.stopping))

    people = Verifier(settings.jwks_file, settings.jwt_issuer, "payments")
    catalog = Catalog(outbox)
    outside = public_app(service=SERVICE)
    secret = settings.secret.get_secret_value().encode()
    admission = Admission(at_once=PLACING_AT_ONCE, patience_seconds=PLACING_PATIENCE_SECONDS)
    canceling = Canceling(outbox, facts, payments)
    door = public.Door(placing, canceling, catalog, people, _defaults(settings), secret, admission)
    outside.add_routes(public.routes(door))
    outside.add_routes(methods.routes(methods.Door(saved, saving, people, _saving(settings))))
    inside = internal_app(service=SERVICE, checks=database_checks(pool, SERVICE), background=messaging.checks())
    inside.add_routes(admin.routes(admin.Door(catalog, facts, outbox, people)))
    inside.add_routes(importing.routes(importing.Door(Imports(outbox), people)))
    public_server = await serve(outside, host=settings.host, port=settings.public_port)
    process.on_terminate("public-http", public_server.stop)
    internal_server = await serve(inside, host=settings.host, port=settings.internal_port)
    process.on_drain("internal-http", internal_server.stop)
    log.info("service.ready", public_port=public_server.port, internal_port=internal_server.port)


async def _gateways(process: Process, settings: Settings) -> tuple[Payments, Inventory]:
    opened = AsyncExitStack()
    process.on_drain("gateways", opened.aclose)
    base = str(settings.stripe_api_base).rstrip("/") if settings.stripe_api_base else None
    stripe = await opened.enter_async_context(
        open_stripe(api_key=settings.stripe_api_key.get_secret_value(), api_base=base)
    )
    http = await opened.enter_async_context(aiohttp.ClientSession(trust_env=False))
    tokens = ServiceTokens(
        settings.service_key_file, settings.service_key_id, settings.jwt_issuer, SERVICE, "inventory"
    )
    return Payments(stripe), Inventory(http, str(settings.inventory_url).rstrip("/"), tokens)


def _terms(settings: Settings) -> Terms:
    return Terms(str(settings.shop_origin).rstrip("/"), settings.session_seconds, settings.maximum_minor)


def _saving(settings: Settings) -> methods.Defaults:
    return methods.Defaults(
        str(settings.shop_origin).rstrip("/"), settings.default_currency, dict(COUNTRIES), settings.methods_path
    )


def _defaults(settings: Settings) -> public.Defaults:
    return public.Defaults(settings.default_currency, dict(COUNTRIES), settings.success_path, settings.cancel_path)
