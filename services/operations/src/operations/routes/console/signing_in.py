"""The way in and the way out."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from operations.decide.signing_in import HOME, is_verifier, own_path
from operations.handlers.signing_in import SigningIn
from operations.routes.console.guard import SESSION, SIGN_IN, trouble
from operations.routes.console.pages import HEADERS, TOKEN, page, see
from payments_shared.errors import Refused
from payments_shared.postgres import unavailable_as_retryable

ATTEMPT: Final = "__Host-payments-sign-in"
ATTEMPT_SECONDS: Final = 600
CODE_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Door:
    """Cookies are `__Host-`: only over a secure connection, of this host alone, and for nobody's script."""

    signing_in: SigningIn

    async def offer(self, request: web.Request) -> web.Response:
        """The page before the way in; `to` is where it leads."""
        return page(request, "sign_in.html", to=own_path(request.query.get("to", HOME)))

    async def start(self, request: web.Request) -> web.Response:
        """Go to the keeper of identities."""
        address, verifier = await self.signing_in.begin()
        response = web.Response(status=303, headers={**HEADERS, "Location": address})
        kept = f"{verifier}.{own_path(request.query.get('to', HOME))}"
        _set(response, ATTEMPT, kept, seconds=ATTEMPT_SECONDS)
        return response

    async def finish(self, request: web.Request) -> web.Response:
        """Come back from there. Whatever it says, this attempt is over."""
        response = await self._finished(request)
        _delete(response, ATTEMPT)
        return response

    async def _finished(self, request: web.Request) -> web.Response:
        verifier, _, to = request.cookies.get(ATTEMPT, "").partition(".")
        query = request.query
        if "error" in query:
            return page(request, "sign_in.html", status=403, to=own_path(to), denied=True)
        try:
            with unavailable_as_retryable():
                token = await self.signing_in.finish(
                    verifier,
                    code=query.get("code", "")[:CODE_MAX],
                    state=query.get("state", "")[:CODE_MAX],
                    issuer=query.get("iss"),
                )
                older = request.cookies.get(SESSION, "")
                if is_verifier(older):  # its cookie is overwritten: nobody could sign out of it any more
                    await self.signing_in.leave(older)
        except Refused as error:
            return trouble(request, error)
        response = see(own_path(to))
        _set(response, SESSION, token, seconds=None)
        return response

    async def leave(self, request: web.Request) -> web.Response:
        """End the session, here and wherever else its token may be."""
        with unavailable_as_retryable():
            await self.signing_in.leave(request[TOKEN])
        response = see(SIGN_IN)
        _delete(response, SESSION)
        return response

    async def home(self, _: web.Request) -> web.Response:
        """The console is not at the root."""
        return see(HOME)


def _set(response: web.Response, name: str, value: str, *, seconds: int | None) -> None:
    # Lax, as people come by links from chats and mails; forms are guarded by Origin and token besides.
    response.set_cookie(name, value, path="/", secure=True, httponly=True, samesite="Lax", max_age=seconds)


def _delete(response: web.Response, name: str) -> None:
    response.set_cookie(name, "", path="/", secure=True, httponly=True, samesite="Lax", max_age=0)


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of who comes and goes."""
    return [
        web.get("/", door.home),
        web.get(SIGN_IN, door.offer),
        web.get("/console/sign-in/start", door.start),
        web.get("/console/signed-in", door.finish),
        web.post("/console/sign-out", door.leave),
    ]
