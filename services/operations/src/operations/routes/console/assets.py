"""The files that pages are made with: our own, and htmx as its package brings it. Nothing comes from elsewhere."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from aiohttp import web

PATH: Final = "/console/static"
FOREVER: Final = "public, max-age=31536000, immutable"  # a file that changes gets another address
_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@cache
def _files() -> dict[str, bytes]:
    own = files("operations.routes.console").joinpath("static")
    found = {name: own.joinpath(name).read_bytes() for name in ("console.css", "console.js", "icon.svg")}
    htmx = files("js_lib_htmx").joinpath("static/htmx/htmx.min.js")
    return {**found, "htmx.min.js": htmx.read_bytes()}


@cache
def address(name: str) -> str:
    """Where a file is found, for as long as it stays what it is."""
    digest = hashlib.sha256(_files()[name]).hexdigest()[:16]
    return f"{PATH}/{digest}/{name}"


async def show(request: web.Request) -> web.Response:
    """A file; under an old address, too: a page may have been made before the service was replaced."""
    body = _files().get(request.match_info["name"])
    if body is None:
        raise web.HTTPNotFound
    media_type = _TYPES[request.match_info["name"].rpartition(".")[2]]
    headers = {"Cache-Control": FOREVER if request.path == address(request.match_info["name"]) else "no-store"}
    return web.Response(body=body, content_type=media_type, charset="utf-8", headers=headers)


def routes() -> list[web.RouteDef]:
    """Routes of the files. Whoever is not signed in yet sees a page, too."""
    return [web.get(PATH + "/{digest:[0-9a-f]{16}}/{name}", show)]
