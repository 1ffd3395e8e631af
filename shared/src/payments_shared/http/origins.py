"""Pages of other origins: which of them may call, and read what they are answered. Source: the Fetch standard, "CORS".

No cookie is ever asked for: whoever calls shows a header that a page of another site does not have.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from aiohttp import web

PREFLIGHT_SECONDS: Final = 600  # how long a browser may remember the answer
_ORIGIN: Final = re.compile(
    r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:(?P<port>[1-9][0-9]{0,4}))?", re.ASCII
)
_DEFAULTS: Final = (("http", "80"), ("https", "443"))


def parse_origin(text: str) -> str:
    """An origin exactly as browsers send it.

    Raises:
        ValueError: it is none; a wildcard, `null` and a URL with a path are none either.
    """
    match = _ORIGIN.fullmatch(text)
    if match is None or (text.partition(":")[0], match["port"]) in _DEFAULTS:
        raise ValueError("must be an origin such as https://shop.example, without a path and without the default port")
    return text


def share(app: web.Application, origins: Collection[str], *, takes: Sequence[str], shows: Sequence[str]) -> None:
    """Let pages of `origins` call the routes that `app` has by now, with the headers `takes`, and read those of
    `shows`.

    Other origins get the same answers, without what a browser needs to hand them to the page.
    """
    allowed = frozenset(origins)

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add("Vary", "Origin")  # also without one: a cache must not give that answer to a page
        if (origin := request.headers.get("Origin")) in allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ", ".join(shows)

    async def preflight(request: web.Request) -> web.Response:
        resource = request.match_info.route.resource
        methods = ", ".join(sorted({route.method for route in resource or ()}))
        headers = {"Allow": methods}
        if request.headers.get("Origin") in allowed:
            headers["Access-Control-Allow-Methods"] = methods
            headers["Access-Control-Allow-Headers"] = ", ".join(takes)
            headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return web.Response(status=204, headers=headers)

    for resource in list(app.router.resources()):
        if isinstance(resource, web.Resource):
            resource.add_route("OPTIONS", preflight)
    app.on_response_prepare.append(mark)
