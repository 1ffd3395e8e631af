"""Who is let in, and what is refused: before any page is made, and before any form is read.

A form must come from a page of ours (its Origin), of this session (its token), by a browser that knows the session (its
cookie, which no other site makes it send).
"""

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from operations.decide.signing_in import HOME, csrf_token, is_verifier, own_path
from operations.handlers.signing_in import SigningIn
from operations.routes.console import assets
from operations.routes.console.forms import FORM_KEY, NUL, read_form
from operations.routes.console.pages import PERSON, TOKEN, page
from operations.routes.console.people import AccessEnded
from payments_shared.errors import PaymentsError, Poison, Refused, Retryable
from payments_shared.postgres import is_unavailable, unavailable_as_retryable

SESSION: Final = "__Host-payments-session"
SIGN_IN: Final = "/console/sign-in"
START: Final = "/console/sign-in/start"
OPEN: Final = frozenset({"/", SIGN_IN, START, "/console/signed-in"})
SAFE: Final = frozenset({"GET", "HEAD"})
PARTS: Final = ("/progress", "/alerts", "/state", "/attention", "/decisions", "/services", "/queues")


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands before every page. `origin` is where browsers find the console."""

    signing_in: SigningIn
    origin: str

    def middleware(self) -> Middleware:
        """The guard, as aiohttp takes it."""

        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await self._let_in(request, handler)
            except AccessEnded as error:
                return _again(request) if request.method in SAFE else trouble(request, error)
            except PaymentsError as error:
                return trouble(request, error)
            except web.HTTPException as error:
                return trouble(request, _of_http(error))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                return trouble(request, Retryable("database_unavailable", "The database did not answer in time."))

        return guarded

    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if NUL in request.path or NUL in request.query_string:
            raise Refused("malformed_address", "That is no address of a page.", status=400)
        if request.method not in SAFE:
            self._refuse_foreign(request)
        if request.path in OPEN or request.path.startswith(assets.PATH + "/"):
            return await handler(request)
        token = request.cookies.get(SESSION, "")
        with unavailable_as_retryable():
            person = await self.signing_in.person(token) if is_verifier(token) else None
        if person is None:
            return _to_sign_in(request)
        request[PERSON], request[TOKEN] = person, token
        if request.method not in SAFE:
            request[FORM_KEY] = await read_form(request)
            _refuse_forged(request, token)
        if not _by_itself(request):
            with unavailable_as_retryable():
                await self.signing_in.present(token)
        return await handler(request)

    def _refuse_foreign(self, request: web.Request) -> None:
        """Every browser names the origin of what it sends with a method such as POST."""
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if request.headers.getall("Origin", []) != [self.origin] or site != "same-origin":
            raise Refused("foreign_origin", "This was not sent by a page of the console.", status=403)


def _by_itself(request: web.Request) -> bool:
    """Whether a page asked for a part of itself: nobody clicked."""
    return "HX-Request" in request.headers and request.path.endswith(PARTS)


def _refuse_forged(request: web.Request, token: str) -> None:
    given = request[FORM_KEY].first("csrf")
    if not hmac.compare_digest(given.encode(), csrf_token(token).encode()):
        raise Refused("csrf_token_invalid", "This form is of another session. Open the page again.", status=403)


def _to_sign_in(request: web.Request) -> web.Response:
    """Whoever is not signed in is asked to, and comes back to the page that he wanted."""
    wanted = request.path_qs if request.method in SAFE else "/console"
    if "HX-Request" in request.headers:  # the page around the part has to go
        address = f"{SIGN_IN}?{urlencode({'to': _shown(request)})}"
        return web.Response(status=401, headers={"HX-Redirect": address, "Cache-Control": "no-store"})
    address = f"{SIGN_IN}?{urlencode({'to': own_path(wanted)})}"
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _again(request: web.Request) -> web.Response:
    """Whose token for the services is over goes to the keeper of identities for another, who knows him still."""
    if "HX-Request" in request.headers:
        address = f"{START}?{urlencode({'to': _shown(request)})}"
        return web.Response(status=401, headers={"HX-Redirect": address, "Cache-Control": "no-store"})
    address = f"{START}?{urlencode({'to': own_path(request.path_qs)})}"
    return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})


def _shown(request: web.Request) -> str:
    """The page around a part."""
    try:
        shown = urlsplit(request.headers.get("HX-Current-URL", ""))
    except ValueError:
        return HOME
    return own_path(shown.path + (f"?{shown.query}" if shown.query else ""))


def trouble(request: web.Request, error: PaymentsError) -> web.Response:
    """A page that says what was refused, or what is away."""
    status = error.status if isinstance(error, Refused) else 500 if isinstance(error, Poison) else 503
    response = page(
        request,
        "trouble.html",
        status=status,
        code=error.code,
        detail=error.detail,
        errors=error.errors if isinstance(error, Refused) else (),
        again=isinstance(error, Retryable),
        acted=request.method not in SAFE,
        request_id=request.get("request_id", ""),
        status_code=status,
    )
    if isinstance(error, Retryable):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _of_http(error: web.HTTPException) -> Refused:
    details = {
        404: ("not_found", "There is no such page."),
        405: ("method_not_allowed", "This page takes no such request."),
        413: ("request_entity_too_large", "That is more than the console takes."),
    }
    code, detail = details.get(error.status, ("refused", error.reason))
    return Refused(code, detail, status=error.status)
