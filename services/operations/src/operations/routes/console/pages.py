"""How pages are made: templates, with what each of them needs, and the headers that close them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp_jinja2
from aiohttp import web
from jinja2 import PackageLoader, StrictUndefined

from operations.decide.reading import DOUBTFUL
from operations.decide.signing_in import csrf_token
from operations.model.people import Person
from operations.routes.console import assets, wording
from payments_shared.clock import utc_now

PERSON: Final = web.RequestKey("person", Person)
TOKEN: Final = web.RequestKey("token", str)
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
TIMEOUT_MS: Final = 15_000  # of a part; the page then says that the console does not answer
# No style of its own, no code out of attributes, no page kept in the browser's storage.
HTMX: Final = {
    "includeIndicatorStyles": False,
    "allowEval": False,
    "allowScriptTags": False,
    "selfRequestsOnly": True,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "timeout": TIMEOUT_MS,
}
Navigation = Sequence[tuple[str, str]]
NAVIGATION: Final[Navigation] = (
    ("/console", "Home"),
    ("/console/dead-letters", "Dead letters"),
    ("/console/bulks", "Bulks"),
    ("/console/refunds", "Refunds"),
    ("/console/disputes", "Disputes"),
    ("/console/stripe-events", "Stripe"),
    ("/console/services", "Services"),
    ("/console/audit", "Audit"),
)
SAID: Final = {
    "replayed": "The message is on its way back.",
    "edited": "The copy is on its way in place of the message.",
    "started": "The bulk was started.",
    "paused": "The bulk is paused. What is on the way comes to its end.",
    "resumed": "The bulk goes on.",
    "canceled": "The bulk is canceled. What waited stays open.",
    "approved": "The refund is approved. The money is on its way.",
    "rejected": "The refund is rejected.",
    "taken_back": "The refund is taken back. Nothing of it goes back.",
    "stopped": "It is done, under your name.",
    "opened": "It is open again, under your name.",
    "resent": "The event is handed to the broker again.",
    "archived": "It is in the archive.",
    "unarchived": "It is out of the archive.",
}


def prepare(app: web.Application, navigation: Navigation = NAVIGATION) -> None:
    """Give an application its templates, and the places that its pages lead to."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=PackageLoader("operations.routes.console"),
        undefined=StrictUndefined,
        auto_reload=False,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": wording.visible,
        "json_lines": wording.as_json,
        "utc": wording.utc,
        "ago": wording.ago,
        "since": wording.since,
        "number": wording.count,
        "instant": wording.instant,
        "money": wording.money,
        "filter_words": wording.filter_words,
    }
    environment.globals |= {
        "record_of": wording.record,
        "asset": assets.address,
        "htmx_config": HTMX,
        "doubtful_reasons": DOUBTFUL,
    }
    environment.globals["navigation"] = navigation


def page(request: web.Request, template: str, *, status: int = 200, **values: object) -> web.Response:
    """A page, or a part of one."""
    response = aiohttp_jinja2.render_template(template, request, {**_everywhere(request), **values}, status=status)
    response.headers.update(HEADERS)
    return response


def see(path: str) -> web.Response:
    """The browser goes on to a page of ours."""
    return web.Response(status=303, headers={**HEADERS, "Location": path})


def following(request: web.Request, cursor: str | None) -> str | None:
    """The address of the next page of a list; None on the last."""
    return str(request.rel_url.update_query({"cursor": cursor})) if cursor else None


def person(request: web.Request) -> Person:
    """Who asks. The guard let nobody else through."""
    return request[PERSON]


def _everywhere(request: web.Request) -> Mapping[str, Any]:  # Any: what templates need
    signed_in = request.get(PERSON)
    return {
        "person": signed_in,
        "acts": signed_in is not None and signed_in.acts,
        "approves": signed_in is not None and signed_in.approves,
        "csrf": csrf_token(request[TOKEN]) if signed_in is not None else "",
        "now": utc_now(),
        "path": request.path,
        "said": SAID.get(request.query.get("said", "")),
    }
