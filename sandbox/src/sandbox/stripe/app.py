"""The composition of the simulator."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from sandbox.stripe import controls, pages
from sandbox.stripe import delivery as deliveries
from sandbox.stripe.api import Api, endpoint_routes, not_found
from sandbox.stripe.delivery import Deliverer
from sandbox.stripe.faults import Faults
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources import Intents, PaymentPages, Refunds, Sessions, Things
from sandbox.stripe.settings import Settings
from sandbox.stripe.store import Store

EXPIRY_SECONDS = 1.0


async def application(settings: Settings) -> web.Application:
    """The simulator as an application."""
    store = Store(settings.data_dir / "stripe.sqlite")
    machine = Machine(store, settings.public_url)
    http = aiohttp.ClientSession(trust_env=False)
    deliverer = Deliverer(store, http)
    api = Api(store, machine, deliverer, Faults())
    if settings.webhook_url and not store.all("webhook_endpoint"):
        secret = settings.webhook_secret.get_secret_value()
        deliveries.endpoint(store, settings.webhook_url, secret, ["*"])
        store.commit()
    app = web.Application(middlewares=[controls.errors], client_max_size=1024 * 1024)
    app.add_routes([*_v1(api), *endpoint_routes(api), *pages.routes(api), *controls.routes(api)])
    app.router.add_route("*", "/v1/{rest:.*}", not_found)

    async def run(_: web.Application) -> AsyncIterator[None]:
        deliverer.resume()
        ticking = asyncio.create_task(_expire(api))
        yield
        ticking.cancel()
        await deliverer.close()
        await http.close()

    app.cleanup_ctx.append(run)
    return app


async def _expire(api: Api) -> None:
    while True:
        await asyncio.sleep(EXPIRY_SECONDS)
        api.machine.expire_due()
        api.flush()


def _v1(api: Api) -> list[web.RouteDef]:
    sessions, intents = Sessions(api.machine), Intents(api.machine)
    refunds, things, hosted = Refunds(api.machine), Things(api.machine), PaymentPages(api.machine)
    table = [
        ("POST", "checkout/sessions", sessions.create),
        ("GET", "checkout/sessions", sessions.listed),
        ("GET", "checkout/sessions/{id}", sessions.one),
        ("POST", "checkout/sessions/{id}/expire", sessions.expire),
        ("GET", "checkout/sessions/{id}/line_items", sessions.lines),
        ("POST", "payment_intents", intents.create),
        ("GET", "payment_intents", intents.listed),
        ("GET", "payment_intents/{id}", intents.one),
        ("POST", "payment_intents/{id}/confirm", intents.confirm),
        ("POST", "payment_intents/{id}/cancel", intents.cancel),
        ("GET", "charges", intents.charges),
        ("GET", "charges/{id}", intents.charge),
        ("POST", "refunds", refunds.create),
        ("GET", "refunds", refunds.listed),
        ("GET", "refunds/{id}", refunds.one),
        ("POST", "refunds/{id}", refunds.update),
        ("POST", "refunds/{id}/cancel", refunds.cancel),
        ("POST", "coupons", things.create_coupon),
        ("GET", "coupons/{id}", things.coupon),
        ("POST", "customers", things.create_customer),
        ("GET", "customers/{id}", things.customer),
        ("POST", "products", things.create_product),
        ("POST", "prices", things.create_price),
        ("GET", "events", things.events),
        ("GET", "events/{id}", things.event),
        ("GET", "payment_pages/{id}", hosted.one),
        ("POST", "payment_pages/{id}/confirm", hosted.confirm),
    ]
    return [api.route(method, f"/v1/{path}", handler) for method, path, handler in table]
