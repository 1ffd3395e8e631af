"""Disputes: what is due next, one of them, and what proves its payment. Evidence is handed in by `payctl`."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from operations.handlers.contesting import Contesting
from operations.handlers.signing_in import SigningIn
from operations.routes.console.forms import query_of
from operations.routes.console.pages import HEADERS, following, page
from operations.routes.console.people import access
from payments_shared.errors import PaymentsError

PATH: Final = "/console/disputes"
NAME: Final = r"d[pu]_[A-Za-z0-9]{1,64}"
STATES: Final = ("inquiry", "open", "under_review", "won", "lost", "closed")
SHOWN: Final = ("due", "any", *STATES)
URGENT: Final = timedelta(hours=72)
SOON: Final = timedelta(days=7)


class DisputesQuery(BaseModel):
    """`GET /console/disputes`: those that are due, unless something else is wanted."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[str, Field(pattern=f"^({'|'.join(SHOWN)})$")] = "due"
    cursor: Annotated[str, Field(pattern=f"^{NAME}$")] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Nothing here changes anything."""

    contesting: Contesting
    signing_in: SigningIn

    async def listed(self, request: web.Request) -> web.Response:
        """Those that wait for evidence, the soonest due first; or all, the newest first."""
        query = query_of(request, DisputesQuery)
        who = await access(request, self.signing_in)
        cursor, more = None, False
        if query.status == "due":
            due = await self.contesting.due(who)
            rows, more = due.rows, due.more
        else:
            found = await self.contesting.listed(who, None if query.status == "any" else query.status, query.cursor)
            rows = list(found.rows)
            cursor = found.following
        return page(
            request,
            "disputes.html",
            disputes=rows,
            more=more,
            status_shown=query.status,
            statuses=SHOWN,
            following=following(request, cursor),
            urgent=URGENT,
            soon=SOON,
        )

    async def shown(self, request: web.Request) -> web.Response:
        """One dispute."""
        who = await access(request, self.signing_in)
        dispute = await self.contesting.shown(who, request.match_info["dispute_id"])
        return page(request, "dispute.html", dispute=dispute, urgent=URGENT, soon=SOON)

    async def evidence(self, request: web.Request) -> web.Response:
        """The part of its page for which Stripe may be asked; a page of it where no script puts it there."""
        who = await access(request, self.signing_in)
        template = "evidence.html" if "HX-Request" in request.headers else "evidence_page.html"
        dispute_id, shown, refused = request.match_info["dispute_id"], None, None
        try:
            shown = await self.contesting.evidence(who, dispute_id)
        except PaymentsError as error:
            refused = error
        text = json.dumps(shown["pack"], indent=2, ensure_ascii=False) if shown else ""
        return page(
            request,
            template,
            dispute_id=dispute_id,
            pack=shown["pack"] if shown else None,
            pack_text=text,
            submissions=shown["submissions"] if shown else [],
            refused=refused,
        )

    async def document(self, request: web.Request) -> web.Response:
        """The pack as the bank gets it."""
        who = await access(request, self.signing_in)
        dispute_id = request.match_info["dispute_id"]
        body = await self.contesting.document(who, dispute_id)
        name = f'attachment; filename="{dispute_id}.pdf"'
        return web.Response(body=body, content_type="application/pdf", headers={**HEADERS, "Content-Disposition": name})


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of disputes."""
    one = f"{PATH}/{{dispute_id:{NAME}}}"
    return [
        web.get(PATH, door.listed),
        web.get(one, door.shown),
        web.get(f"{one}/evidence", door.evidence),
        web.get(f"{one}/evidence.pdf", door.document),
    ]
