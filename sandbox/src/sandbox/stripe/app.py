"""The composition of the simulator."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
from aiohttp import web

from sandbox.stripe import controls, pages, rates
from sandbox.stripe import delivery as deliveries
from sandbox.stripe.api import Api, not_found
from sandbox.stripe.delivery import Deliverer
from sandbox.stripe.faults import Faults
from sandbox.stripe.machine import Machine
from sandbox.stripe.resources.catalogue import Catalogue
from sandbox.stripe.resources.charges import Charges
from sandbox.stripe.resources.customers import Customers
from sandbox.stripe.resources.events import Events
from sandbox.stripe.resources.files import Files
from sandbox.stripe.resources.intents import Intents
from sandbox.stripe.resources.methods import Methods
from sandbox.stripe.resources.refunds import Refunds
from sandbox.stripe.resources.sessions import Sessions
from sandbox.stripe.resources.setups import Setups
from sandbox.stripe.resources.taxes import Calculations
from sandbox.stripe.settings import Settings
from sandbox.stripe.store import Store

TICK_SECONDS: Final = 0.25
RESOURCES: Final = (
    Sessions, Intents, Charges, Refunds, Customers, Methods, Setups, Catalogue, Calculations, Events, Files,
)  # fmt: skip
BODY_MAX_BYTES: Final = 8 * 1024 * 1024  # a file of evidence, and what stands around it


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
    app = web.Application(middlewares=[controls.errors], client_max_size=BODY_MAX_BYTES)
    app.add_routes([*_v1(api), *pages.routes(api), *controls.routes(api), *rates.routes(store)])
    app.router.add_route("*", "/v1/{rest:.*}", not_found)

    async def run(_: web.Application) -> AsyncIterator[None]:
        deliverer.resume()
        ticking = asyncio.create_task(_tick(api))
        yield
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await deliverer.close()
        await http.close()
        store.close()

    app.cleanup_ctx.append(run)
    return app


async def _tick(api: Api) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        api.let_time_pass()


def _v1(api: Api) -> list[web.RouteDef]:
    table = [row for resource in RESOURCES for row in resource(api.machine).table()]
    return [api.route(method, f"/v1/{path}", handler) for method, path, handler in table]
