"""The provider's endpoints, and the page on which somebody says who he is."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sandbox.identity.grants import Asked, Denied, Grants
from sandbox.identity.people import PEOPLE, known
from sandbox.identity.settings import Settings

HERE: Final = Path(__file__).parent / "templates"
CHALLENGE_LENGTH: Final = 43  # of a SHA-256 in base64url


class Strange(Exception):
    """A request of no client that is known, or for another address: nobody may be sent there."""


@dataclass(slots=True)
class Provider:
    """One method per endpoint."""

    settings: Settings
    grants: Grants
    templates: Environment

    async def metadata(self, _: web.Request) -> web.Response:
        """OpenID Connect Discovery 1.0."""
        public = self.settings.public_url
        internal = self.settings.internal_url or public
        return web.json_response(
            {
                "issuer": public,
                "authorization_endpoint": f"{public}/authorize",
                "token_endpoint": f"{internal}/token",
                "jwks_uri": f"{internal}/jwks",
                "scopes_supported": ["openid", "profile", "email"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
                "code_challenge_methods_supported": ["S256"],
                "claims_supported": ["sub", "name", "preferred_username", "email", "roles"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def jwks(self, _: web.Request) -> web.Response:
        """The keys."""
        return web.json_response(self.grants.jwks())

    async def choose(self, request: web.Request) -> web.Response:
        """The page of people."""
        try:
            asked = self._asked(request.query)
        except Strange as error:
            return web.Response(status=400, text=str(error))
        except Denied as error:
            return self._back(request.query, {"error": error.code})
        if request.query.get("prompt") == "none":  # nobody is signed in here
            return self._back(request.query, {"error": "login_required"})
        text = self.templates.get_template("choose.html").render(
            people=PEOPLE, query=request.query, client=asked.client_id
        )
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(asked.redirect_uri))
        policy = (
            f"default-src 'none'; style-src 'self'; img-src data:; form-action 'self' {origin}; frame-ancestors 'none'"
        )
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def chosen(self, request: web.Request) -> web.Response:
        """Somebody said who he is, or that he will not."""
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        try:
            asked = self._asked(form)
        except Strange as error:
            return web.Response(status=400, text=str(error))
        except Denied as error:
            return self._back(form, {"error": error.code})
        person = known(form.get("person", ""))
        if person is None:
            return self._back(form, {"error": "access_denied"})
        return self._back(form, {"code": self.grants.grant(asked, person)})

    async def token(self, request: web.Request) -> web.Response:
        """A token for a code."""
        form = {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
        try:
            self._check_client(request, form)
            if form.get("grant_type") != "authorization_code":
                raise Denied("unsupported_grant_type")
            answer = self.grants.redeem(
                form.get("code", ""),
                client_id=self.settings.client_id,
                redirect_uri=form.get("redirect_uri", ""),
                verifier=form.get("code_verifier", ""),
            )
        except Denied as error:
            status = 401 if error.code == "invalid_client" else 400
            return web.json_response({"error": error.code}, status=status, headers={"Cache-Control": "no-store"})
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def style(self, _: web.Request) -> web.Response:
        return web.Response(text=(HERE / "style.css").read_text(encoding="utf-8"), content_type="text/css")

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    def _asked(self, given: Mapping[str, str]) -> Asked:
        client_id, redirect_uri = given.get("client_id", ""), given.get("redirect_uri", "")
        if client_id != self.settings.client_id or redirect_uri != self.settings.redirect_uri:
            raise Strange("No such client, or another address than it told us.")
        if given.get("response_type") != "code":
            raise Denied("unsupported_response_type")
        if "openid" not in given.get("scope", "").split():
            raise Denied("invalid_scope")
        challenge = given.get("code_challenge", "")
        if given.get("code_challenge_method") != "S256" or len(challenge) != CHALLENGE_LENGTH:
            raise Denied("invalid_request")
        return Asked(client_id, redirect_uri, given.get("state", ""), given.get("nonce", ""), challenge)

    def _back(self, given: Mapping[str, str], answer: Mapping[str, str]) -> web.Response:
        state = {"state": given["state"]} if given.get("state") else {}
        query = urlencode({**answer, **state, "iss": self.settings.public_url})
        headers = {"Location": f"{self.settings.redirect_uri}?{query}", "Cache-Control": "no-store"}
        return web.Response(status=303, headers=headers)

    def _check_client(self, request: web.Request, form: Mapping[str, str]) -> None:
        """By a header or in the form, never both (RFC 6749 section 2.3)."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            if secret:
                raise Denied("invalid_request")
            try:
                name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise Denied("invalid_client") from None
            name, secret = unquote(name), unquote(secret)
        wanted = self.settings.client_secret.get_secret_value()
        if name != self.settings.client_id or not hmac.compare_digest(secret.encode(), wanted.encode()):
            raise Denied("invalid_client")


def application(settings: Settings) -> web.Application:
    """The provider."""
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    provider = Provider(settings, Grants(settings.public_url, settings.key_file), templates)
    app = web.Application()
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", provider.metadata),
            web.get("/authorize", provider.choose),
            web.post("/authorize", provider.chosen),
            web.post("/token", provider.token),
            web.get("/jwks", provider.jwks),
            web.get("/style.css", provider.style),
            web.get("/healthz", provider.health),
        ]
    )
    return app
