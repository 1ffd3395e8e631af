"""The door for links in mails, and what is said of the switch of mails."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from notifications.decide import UNSUBSCRIBE_PATH
from notifications.handlers import Handlers
from notifications.model import Page
from payments_shared.http import Api
from payments_shared.http.operations import DATABASE_AWAY, Answer, Credential, Operation, Scheme, Section
from payments_shared.postgres import unavailable_as_retryable
from payments_shared.switches import Switch
from payments_shared.switches.door import switch_operations

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


TOKEN: Final = Scheme(
    "unsubscribeToken",
    {"type": "apiKey", "in": "query", "name": "token", "description": "Part of the link in a mail."},
)
PAGE: Final = "text/html"
UNKNOWN: Final = Answer(404, "The link is none of ours.", str, media_type=PAGE)
ASK: Final = Operation(
    method="GET",
    path=UNSUBSCRIBE_PATH,
    id="showUnsubscribe",
    summary="See the page behind the link of a mail.",
    description="Asks whether no more invitations to pay shall come. Nothing changes by looking at it.",
    callers=(Credential(TOKEN),),
    answers=(Answer(200, "A page with one button.", str, media_type=PAGE), UNKNOWN),
    refusals=(DATABASE_AWAY,),
)
UNSUBSCRIBE: Final = Operation(
    method="POST",
    path=UNSUBSCRIBE_PATH,
    id="unsubscribe",
    summary="Get no more invitations to pay.",
    description=(
        "One click, by RFC 8058: what mail programs send for `List-Unsubscribe-Post`, without signing in. Its body is "
        "not read. Asking again gets the same answer. Mail about what was bought goes on."
    ),
    callers=(Credential(TOKEN),),
    answers=(Answer(200, "The address gets no more of them.", str, media_type=PAGE), UNKNOWN),
    refusals=(DATABASE_AWAY,),
)
SWITCH: Final = switch_operations(
    Switch.MAILS,
    show="See whether mails are sent, and who turned the switch.",
    turn="Stop sending mails, or send them again.",
    about=(
        "At once, on every instance. Mails are written and kept meanwhile, and go out once the switch is open, but for "
        "invitations that are not true any more by then."
    ),
    reason="a template is wrong",
)
API: Final = Api(
    service="notifications",
    summary="Mail to buyers and staff.",
    public=(Section("mail", "For links in mails.", (ASK, UNSUBSCRIBE)),),
    internal=(Section("switches", "What can be stopped.", SWITCH),),
)


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
        ASK.to(door.ask, allow_head=False),
        UNSUBSCRIBE.to(door.unsubscribe),
    ]
