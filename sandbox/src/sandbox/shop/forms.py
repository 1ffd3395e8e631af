"""What a visitor's form says, and where it leads."""

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.shop.cart import Cart
from sandbox.shop.catalogue import COUNTRIES, HOME
from sandbox.shop.person import EMAIL_MAX

WAY: Final = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
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
    return replace(
        cart,
        email=form.get("email", cart.email).strip()[:EMAIL_MAX],
        coupon=form.get("coupon", cart.coupon).strip()[:40],
        country=_one_of(COUNTRIES, form.get("country"), cart.country),
        way=_way(form.get("way"), cart.way),
        credit=_ticked(form, "credit", cart.credit),
        later=_ticked(form, "later", cart.later),
    )


def home(request: web.Request) -> str:
    """The country of the language that the browser asks for first, if parcels go there; else where the shop is."""
    return _one_of(COUNTRIES, locale(request).partition("-")[2], HOME)


def locale(request: web.Request) -> str:
    """The language that the browser asks for first."""
    first = request.headers.get("Accept-Language", "").partition(",")[0].partition(";")[0].strip()
    return first if LOCALE.fullmatch(first) else "en-US"


def see(url: str) -> web.Response:
    """The browser goes on to `url`."""
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})


def _one_of(known: Container[str], text: str | None, otherwise: str) -> str:
    return text if text is not None and text in known else otherwise


def _way(text: str | None, otherwise: str) -> str:
    return text if text is not None and WAY.fullmatch(text) else otherwise


def _ticked(form: Mapping[str, str], name: str, otherwise: bool) -> bool:
    """Whether a box is ticked. One that is not is left out of a form, so its form says that it is there."""
    return name in form if f"may-{name}" in form else otherwise


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else otherwise
