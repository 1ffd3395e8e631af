"""SMTP in, a web page and JSON out."""

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from aiohttp import web
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.mailbox.settings import Settings
from sandbox.mailbox.store import MailStore

STYLE = """:root{color-scheme:light dark;--bg:#f6f7fb;--card:#fff;--ink:#1a1f36;--muted:#5c6478;--line:#dfe3ec;--accent:#4f46e5}
@media (prefers-color-scheme:dark){:root{--bg:#10131c;--card:#191d2a;--ink:#eef0f7;--muted:#9aa3b8;--line:#2c3244;--accent:#8b85ff}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}main{max-width:820px;margin:0 auto;padding:2rem 1rem}
h1{font-size:1.3rem}a{color:var(--accent);text-decoration:none}a:focus-visible{outline:3px solid var(--accent)}
.mail{display:block;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem 1.25rem;margin:.6rem 0;color:inherit}
.mail small{color:var(--muted)}iframe{width:100%;height:640px;border:1px solid var(--line);border-radius:12px;background:#fff}pre{white-space:pre-wrap;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem}"""
PAGE_CSP = "default-src 'none'; style-src 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
MAIL_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


@dataclass(slots=True)
class Faults:
    """What happens to the next `count` mails: `refuse` with a code, `delay`, or `swallow` the reply."""

    kind: str = "none"
    count: int = 0
    code: int = 451
    seconds: float = 0.0
    struck: int = 0


class Sink:
    """The SMTP side."""

    def __init__(self, store: MailStore, faults: Faults) -> None:
        self.store = store
        self.faults = faults

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep the mail, or do what a test asked for."""
        fault = self.faults
        if fault.count > fault.struck:
            fault.struck += 1
            if fault.kind == "refuse":
                return f"{fault.code} not now"
            if fault.kind == "delay":
                time.sleep(fault.seconds)  # noqa: ASYNC251 - the SMTP thread has nothing else to do
            if fault.kind == "swallow":
                self._keep(envelope)
                if server.transport is not None:
                    server.transport.close()
                return "421 gone"
        self._keep(envelope)
        return "250 kept"

    def _keep(self, envelope: Envelope) -> None:
        content = envelope.content
        raw = content if isinstance(content, bytes) else str(content).encode()
        self.store.add(raw, envelope.mail_from or "", list(envelope.rcpt_tos))


@dataclass(slots=True)
class Pages:
    """The web side."""

    store: MailStore
    faults: Faults

    async def inbox(self, _: web.Request) -> web.Response:
        """All mails."""
        rows = "".join(
            f'<a class="mail" href="/mail/{row["id"]}"><strong>{escape(row["subject"] or "(no subject)")}</strong><br>'
            f"<small>to {escape(row['recipient'])} · {escape(row['at'])} UTC · {escape(row['kind'] or '')}</small></a>"
            for row in self.store.find()
        )
        return _page("Mailbox", f"<h1>Mailbox</h1>{rows or '<p>No mail yet.</p>'}")

    async def mail(self, request: web.Request) -> web.Response:
        """One mail: as it looks, as text, and its headers."""
        mail_id = int(request.match_info["id"])
        message = self.store.message(mail_id)
        if message is None:
            raise web.HTTPNotFound
        plain = message.get_body(("plain",))
        text = plain.get_content() if plain else ""
        headers = "\n".join(f"{name}: {value}" for name, value in message.items())
        body = (
            f'<p><a href="/">← Mailbox</a></p><h1>{escape(str(message["Subject"]))}</h1>'
            f'<iframe title="The mail" sandbox src="/mail/{mail_id}/html"></iframe>'
            f"<h2>Text</h2><pre>{escape(text)}</pre><h2>Headers</h2><pre>{escape(headers)}</pre>"
        )
        return _page(str(message["Subject"]), body)

    async def html(self, request: web.Request) -> web.Response:
        """The HTML part alone, with nothing allowed to it."""
        message = self.store.message(int(request.match_info["id"]))
        part = message.get_body(("html",)) if message else None
        if part is None:
            raise web.HTTPNotFound
        return web.Response(
            text=part.get_content(), content_type="text/html", headers={"Content-Security-Policy": MAIL_CSP}
        )

    async def style(self, _: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def listed(self, request: web.Request) -> web.Response:
        """`GET /api/messages?recipient=&order_id=&kind=`."""
        return web.json_response({"messages": self.store.find(**dict(request.query))})

    async def clear(self, _: web.Request) -> web.Response:
        """`DELETE /api/messages`."""
        self.store.clear()
        return web.json_response({"cleared": True})

    async def fault(self, request: web.Request) -> web.Response:
        """Arm a fault for the next mails, or see how often it struck."""
        if request.method == "POST":
            given = await request.json()
            self.faults.kind = given["kind"]
            self.faults.count = int(given.get("count", 1))
            self.faults.code = int(given.get("code", 451))
            self.faults.seconds = float(given.get("seconds", 0))
            self.faults.struck = 0
        return web.json_response(asdict(self.faults))

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})


def _page(title: str, body: str) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f'<link rel="stylesheet" href="/style.css"></head><body><main>{body}</main></body></html>'
    )
    return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": PAGE_CSP})


def application(settings: Settings) -> web.Application:
    """Both sides."""
    store, faults = MailStore(settings.data_dir / "mails.sqlite"), Faults()
    pages = Pages(store, faults)
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
            web.get(r"/mail/{id:\d+}", pages.mail),
            web.get(r"/mail/{id:\d+}/html", pages.html),
            web.get("/api/messages", pages.listed),
            web.delete("/api/messages", pages.clear),
            web.route("*", "/_control/faults", pages.fault),
            web.get("/healthz", pages.health),
        ]
    )
    return app
