"""The shelf, and what every page loads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.shop.gateway import Platform, Ware
from sandbox.shop.pages import HERE, Pages
from sandbox.shop.session import Session

STATIC: Final = {
    "style.css": "text/css",
    "cart.js": "text/javascript",
    "order.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Door:
    """The first page."""

    platform: Platform
    pages: Pages
    session: Session

    async def home(self, request: web.Request) -> web.Response:
        """The shelf."""
        shelf = await self.platform.shelf()
        wares, person = _in_order(shelf.values()), self.session.person(request)
        return self.pages.page("shelf.html", self.session.cart(request), wares=wares, person=person)


async def static(request: web.Request) -> web.Response:
    """The style sheet, the scripts and the icon."""
    name = request.match_info["name"]
    if name not in STATIC:
        raise web.HTTPNotFound
    text = (HERE / "static" / name).read_text(encoding="utf-8")
    return web.Response(text=text, content_type=STATIC[name], headers={"Cache-Control": "max-age=60"})


async def health(_: web.Request) -> web.Response:
    """Alive."""
    return web.json_response({"status": "ok"})


def _in_order(wares: Iterable[Ware]) -> list[Ware]:
    return sorted(wares, key=lambda ware: (ware.available == 0, ware.name))


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the shelf."""
    return [
        web.get("/shop", door.home),
        web.get("/shop/static/{name}", static),
        web.get("/healthz", health),
    ]
