"""What a visitor's form says, and where it leads."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.shop.cart import Cart

EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", re.ASCII)
LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?", re.ASCII)


async def own_form(request: web.Request) -> dict[str, str]:
    """The form, when one of our own pages sent it: a browser names the origin of each POST.

    Raises:
        web.HTTPForbidden: another site sent it.
    """
    host = request.headers.get("X-Forwarded-Host", request.host)
    if (origin := request.headers.get("Origin")) is not None and urlsplit(origin).netloc != host:
        raise web.HTTPForbidden(text="Please use the shop's own pages.")
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def filled(cart: Cart, form: Mapping[str, str]) -> Cart:
    """The cart with what the buyer typed on its page."""
    for sku, quantity in cart.lines.items():
        if (wanted := _number(form.get(f"quantity-{sku}", ""), quantity)) != quantity:
            cart = cart.with_quantity(sku, wanted)
    email = form.get("email", cart.email).strip()[:254]
    coupon = form.get("coupon", cart.coupon).strip()[:40]
    return replace(cart, email=email, coupon=coupon)


def locale(request: web.Request) -> str:
    """The language that the browser asks for first."""
    first = request.headers.get("Accept-Language", "").partition(",")[0].partition(";")[0].strip()
    return first if LOCALE.fullmatch(first) else "en-US"


def see(url: str) -> web.Response:
    """The browser goes on to `url`."""
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise
