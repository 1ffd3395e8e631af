"""SMTP in, a web page and JSON out."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox.mailbox.settings import Settings
from sandbox.mailbox.store import COLUMNS, MailStore, headers_of

HERE: Final = Path(__file__).parent / "templates"
PAGE_CSP: Final = (
    "default-src 'none'; style-src 'self'; frame-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
FACTS: Final = ("From", "To", "Date", "X-Payments-Kind", "X-Payments-Order")
MAIL_CSP: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


class Fault(BaseModel):
    """What happens to the next `count` mails (those about `order_id` where it is given): `refuse` them with `code`,
    `delay` them by `seconds`, or `swallow` the reply after the mail was kept, so that the sender never learns of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["none", "refuse", "delay", "swallow"]
    count: int = Field(default=1, ge=0)
    code: int = Field(default=451, ge=400, le=599)
    seconds: float = Field(default=0, ge=0, le=600)
    order_id: str | None = None


@dataclass(slots=True)
class Faults:
    """The fault that is armed, and how often it struck."""

    armed: Fault = field(default_factory=lambda: Fault(kind="none", count=0))
    struck: int = 0

    def strike(self, order_id: str | None) -> Fault | None:
        """What happens to this mail, which is about `order_id`."""
        if self.struck >= self.armed.count or self.armed.order_id not in {None, order_id}:
            return None
        self.struck += 1
        return self.armed


class Sink:
    """The SMTP side."""

    def __init__(self, store: MailStore, faults: Faults) -> None:
        self.store = store
        self.faults = faults

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the mail, or do what a test asked for."""
        mail = _mail(envelope)
        header = headers_of(mail)
        fault = self.faults.strike(header("X-Payments-Order"))
        if fault is not None and fault.kind == "refuse":
            return f"{fault.code} not now"
        if fault is not None and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        self.store.add(mail, header, envelope.mail_from or "", list(envelope.rcpt_tos))
        if fault is not None and fault.kind == "swallow" and server.transport is not None:
            server.transport.close()
        return "250 kept"


def _mail(envelope: Envelope) -> bytes:
    content = envelope.content
    return content if isinstance(content, bytes) else str(content).encode()


@dataclass(slots=True)
class Pages:
    """The web side."""

    store: MailStore
    faults: Faults
    templates: Environment

    async def inbox(self, _: web.Request) -> web.Response:
        """All mails."""
        return self._page("inbox.html", mails=self.store.find())

    async def mail(self, request: web.Request) -> web.Response:
        """One mail: as it looks, as text, and its headers."""
        message = self._message(request)
        plain = message.get_body(("plain",))
        return self._page(
            "mail.html",
            id=request.match_info["id"],
            subject=str(message["Subject"] or "(no subject)"),
            facts=[(name, str(message[name])) for name in FACTS if message[name]],
            text=plain.get_content() if plain else "",
            headers="\n".join(f"{name}: {value}" for name, value in message.items()),
            has_html=message.get_body(("html",)) is not None,
        )

    async def html(self, request: web.Request) -> web.Response:
        """The HTML part alone, with nothing allowed to it."""
        part = self._message(request).get_body(("html",))
        if part is None:
            raise web.HTTPNotFound
        return web.Response(
            text=part.get_content(), content_type="text/html", headers={"Content-Security-Policy": MAIL_CSP}
        )

    async def raw(self, request: web.Request) -> web.Response:
        """The mail as it came."""
        found = self.store.raw(int(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found, content_type="text/plain", charset="utf-8")

    async def style(self, _: web.Request) -> web.Response:
        return web.Response(text=(HERE / "style.css").read_text(encoding="utf-8"), content_type="text/css")

    async def listed(self, request: web.Request) -> web.Response:
        """`GET /api/messages?to=&order_id=&kind=`: any of the columns; another name is refused, not ignored."""
        wanted = {("recipient" if name == "to" else name): value for name, value in request.query.items()}
        if unknown := wanted.keys() - set(COLUMNS):
            return web.json_response({"status": 400, "detail": f"unknown: {', '.join(sorted(unknown))}"}, status=400)
        return web.json_response({"messages": self.store.find(**wanted)})

    async def clear(self, _: web.Request) -> web.Response:
        """`DELETE /api/messages`."""
        self.store.clear()
        return web.json_response({"cleared": True})

    async def fault(self, request: web.Request) -> web.Response:
        """Arm a fault for the next mails, or see how often it struck."""
        if request.method == "POST":
            try:
                armed = Fault.model_validate_json(await request.read())
            except ValidationError as error:
                return web.json_response({"status": 422, "detail": str(error)}, status=422)
            self.faults.armed, self.faults.struck = armed, 0
        return web.json_response({**self.faults.armed.model_dump(), "struck": self.faults.struck})

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    def _message(self, request: web.Request) -> EmailMessage:
        message = self.store.message(int(request.match_info["id"]))
        if message is None:
            raise web.HTTPNotFound
        return message

    def _page(self, template: str, **values: object) -> web.Response:
        text = self.templates.get_template(template).render(**values)
        headers = {"Content-Security-Policy": PAGE_CSP, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=text, content_type="text/html", headers=headers)


def application(settings: Settings) -> web.Application:
    """Both sides."""
    store, faults = MailStore(settings.data_dir / "mails.sqlite"), Faults()
    pages = Pages(store, faults, Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined))
    controller: Any = Controller(
        Sink(store, faults), hostname=settings.host, port=settings.smtp_port
    )  # Any: untyped library

    async def run(_: web.Application) -> AsyncIterator[None]:
        controller.start()
        yield
        controller.stop()

    app = web.Application()
    app.cleanup_ctx.append(run)
    app.add_routes(
        [
            web.get("/", pages.inbox),
            web.get("/style.css", pages.style),
            web.get(r"/mail/{id:\d{1,15}}", pages.mail),
            web.get(r"/mail/{id:\d{1,15}}/html", pages.html),
            web.get(r"/mail/{id:\d{1,15}}/raw", pages.raw),
            web.get("/api/messages", pages.listed),
            web.delete("/api/messages", pages.clear),
            web.route("*", "/_control/faults", pages.fault),
            web.get("/healthz", pages.health),
        ]
    )
    return app
