"""The door for links in mails."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from notifications.decide import UNSUBSCRIBE_PATH
from notifications.handlers import Handlers
from notifications.model import Page
from payments_shared.postgres import unavailable_as_retryable

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/unsubscribe`. Source: RFC 8058."""

    handlers: Handlers

    async def ask(self, request: web.Request) -> web.Response:
        """A page with a button. Programs that look at every link of a mail change nothing."""
        with unavailable_as_retryable():
            known = await self.handlers.knows(request.query.get("token", ""))
        return self._page(Page.ASK if known else Page.UNKNOWN)

    async def unsubscribe(self, request: web.Request) -> web.Response:
        """One click, from the page or from a mail program, which sends no cookie and follows no redirect."""
        with unavailable_as_retryable():
            known = await self.handlers.unsubscribe(request.query.get("token", ""))
        return self._page(Page.DONE if known else Page.UNKNOWN)

    def _page(self, page: Page) -> web.Response:
        text = self.handlers.writer.page(page)
        status = 404 if page is Page.UNKNOWN else 200
        return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        web.get(UNSUBSCRIBE_PATH, door.ask, allow_head=False),
        web.post(UNSUBSCRIBE_PATH, door.unsubscribe),
    ]
