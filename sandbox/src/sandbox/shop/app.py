"""The shop, put together."""

import aiohttp
from aiohttp import web

from payments_shared import tracing
from payments_shared.process import record_spans
from sandbox.shop import pages as made
from sandbox.shop.gateway import Platform
from sandbox.shop.routes import account, cart, orders, paying, recovering, shelf
from sandbox.shop.session import Session
from sandbox.shop.settings import Settings


async def application(settings: Settings) -> web.Application:
    """The shop."""
    pages, session = made.load(), Session(settings.secret.get_secret_value().encode())
    sending = record_spans("shop", settings.otlp_endpoint, 1.0) if settings.otlp_endpoint else None
    http = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=25), trust_env=False, trace_configs=tracing.client_traces()
    )
    platform = Platform(
        http,
        settings.api_url.rstrip("/"),
        settings.checkout_admin_url.rstrip("/"),
        settings.inventory_admin_url.rstrip("/"),
        settings.key_file,
    )

    async def close(_: web.Application) -> None:
        await http.close()
        if sending is not None:
            await sending()

    app = web.Application(middlewares=[*tracing.public_middlewares(), made.guard(pages)], client_max_size=64 * 1024)
    app.on_cleanup.append(close)
    carts = cart.Door(platform, pages, session)
    app.add_routes(shelf.routes(shelf.Door(platform, pages, session)))
    app.add_routes(cart.routes(carts))
    app.add_routes(paying.routes(paying.Door(platform, session, carts)))
    app.add_routes(orders.routes(orders.Door(platform, pages, session)))
    app.add_routes(recovering.routes(recovering.Door(platform, pages, session)))
    app.add_routes(account.routes(account.Door(platform, pages, session)))
    return app
