"""How pages are made. They work without JavaScript; with it, the order's page follows the order as it changes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from payments_shared.money import Money, format_money
from sandbox.shop.cart import CURRENCIES, QUANTITY_MAX, Cart
from sandbox.shop.person import named

HERE: Final = Path(__file__).parent
# Forms are answered with a redirect to the hosted page, which form-action covers too.
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self' http://127.0.0.1:* http://localhost:* https://checkout.stripe.com; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MISSING_PAGE: Final = ("There is no such page", "It may have been moved, or never was.")


@dataclass(frozen=True, slots=True)
class Pages:
    """Templates, with what each of them needs."""

    templates: Environment

    def page(self, template: str, cart: Cart, *, status: int = 200, **values: object) -> web.Response:
        """A page, with the visitor's cart in its head."""
        text = self.templates.get_template(template).render(
            **{"cart": cart, "currencies": CURRENCIES, "quantity_max": QUANTITY_MAX, "person": None, **values}
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=HEADERS)

    def missing(self, about: tuple[str, str], cart: Cart, *, status: int = 404) -> web.Response:
        """A page that says what is not there: a title and a sentence."""
        return self.page("missing.html", cart, status=status, about=about)


def load() -> Pages:
    """The pages of this folder."""
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["named"] = named
    templates.filters["money"] = lambda minor, currency: format_money(Money(minor, currency))
    return Pages(templates)


def guard(pages: Pages) -> Any:  # Any: aiohttp's middleware type
    """A page also for what is not there, and for when the platform is away."""

    @web.middleware
    async def guarded(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            return pages.missing(MISSING_PAGE, Cart(), status=error.status)
        except (aiohttp.ClientError, TimeoutError, OSError):
            # A form cannot be sent again by itself: what it would change is seen in the cart.
            again = request.path_qs if request.method == "GET" else "/shop/cart"
            answer = pages.page("away.html", Cart(), status=503, again=again)
            answer.headers["Retry-After"] = "5"
            return answer

    return guarded
