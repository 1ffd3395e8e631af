"""People at the console, as their browsers behave: cookies, forms of its pages, and the way over the identity
provider."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp

from sandbox.services.deployment import Deployment

SESSION = "__Host-payments-session"
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Page:
    """What a browser was given."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def location(self) -> str:
        return self.headers.get("Location", "")

    @property
    def csrf(self) -> str:
        found = _CSRF.search(self.text)
        return found[1] if found else ""

    @property
    def plain(self) -> str:
        """The text alone."""
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", self.text)))


@dataclass(slots=True)
class Visitor:
    """One browser. It keeps its cookies and names its origin, unless told otherwise."""

    deployment: Deployment
    http: aiohttp.ClientSession
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return self.deployment.public_url("operations")

    async def ask(self, method: str, url: str, *, data: Any = None, **headers: str) -> Page:
        """One request; redirects are told, not followed."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        given = {**({"Cookie": cookies} if cookies else {}), **headers}
        address = urljoin(self.origin, url)
        async with self.http.request(method, address, data=data, headers=given, allow_redirects=False) as answer:
            text = await answer.text()
            if answer.url.port == urlsplit(self.origin).port:
                for name, morsel in answer.cookies.items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.coded_value
            return Page(answer.status, text, answer.headers)

    async def look(self, path: str, **headers: str) -> Page:
        """A page."""
        return await self.ask("GET", path, **headers)

    async def send(self, path: str, *, page: str, **fields: str) -> Page:
        """The form of `page`, filled in."""
        csrf = (await self.look(page)).csrf
        return await self.ask("POST", path, data={"csrf": csrf, **fields}, Origin=self.origin)

    # -- signing in --------------------------------------------------------------------------------------------------

    async def way_back(self, subject: str, to: str = "/console") -> str:
        """Go to the identity provider, be `subject` there, and tell where it sends the browser."""
        started = await self.look(f"/console/sign-in/start?to={to}")
        assert started.status == 303, started.text
        asked = dict(parse_qsl(urlsplit(started.location).query))
        chosen = await Visitor(self.deployment, self.http).ask(
            "POST", urljoin(started.location, "/authorize"), data={**asked, "person": subject}
        )
        assert chosen.status == 303, chosen.text
        return chosen.location

    async def sign_in(self, subject: str, to: str = "/console") -> Page:
        """All of the way."""
        return await self.look(await self.way_back(subject, to))
