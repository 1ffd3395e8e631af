"""The outward doors of notifications: the templates' renderer and the mail server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email import policy
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import Policy
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import aiosmtplib
import mrml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from notifications.decide import House
from notifications.model import Kind, Letter, Mail, Page, Rendered, Tls
from payments_shared import tracing
from payments_shared.clock import utc_now
from payments_shared.errors import Retryable
from payments_shared.ids import external_id

STEP_SECONDS: Final = 15.0
DEADLINE_SECONDS: Final = 20.0  # of all steps until the mail is taken
QUIT_SECONDS: Final = 2.0
ASK_SECONDS: Final = 10.0

SUBJECTS: Final = {
    Kind.ORDER_CONFIRMATION: "Your order is confirmed",
    Kind.PAYMENT_FAILED: "Your payment did not arrive",
    Kind.PAYMENT_RETRY: "Your payment was declined – try another way",
    Kind.PAYMENT_RETRYING: "Your payment was declined – we will try again",
    Kind.REFUND_SUCCEEDED: "Your refund",
    Kind.REFUND_PENDING: "A refund waits",
    Kind.REFUND_FAILED: "A refund failed",
    Kind.REFUND_CANCELED: "A refund was canceled",
    Kind.REFUND_LEFT_TO_STAFF: "A refund is yours to decide",
    Kind.REFUND_RETURNED: "Your refund did not arrive",
    Kind.DISPUTE_OPENED: "A payment is disputed",
    Kind.DISPUTE_DUE: "Evidence is due",
    Kind.DISPUTE_WON: "A dispute is over",
    Kind.DISPUTE_LOST: "A dispute is lost",
    Kind.CREDIT_RETURNED: "Your store credit is back",
    Kind.ORDER_SOLD_OUT: "We cannot send your order",
    Kind.SHIPMENT_SHIPPED: "Your parcel is on its way",
    Kind.SHIPMENT_DELIVERED: "Your parcel arrived",
    Kind.ORDER_HELD: "An order is held",
    Kind.STOCK_LOW: "Stock is low",
    Kind.CARD_EXPIRING: "Your saved card expires soon",
    Kind.ORDER_EXPIRED: "Your cart is still here",
}


class _Link(UnstructuredHeader, BaseHeader):
    """A header that stands on one line: folded, a long link would be written as encoded words, which nobody follows."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS: Final = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Link)
_POLICY: Final = policy.default.clone(header_factory=_HEADERS)


class Undeliverable(Exception):
    """The mail server refused the mail for good."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Turns a letter into a mail. Everything that comes from outside is escaped in the HTML part."""

    house: House
    templates: Environment

    @classmethod
    def of(cls, house: House) -> "Writer":
        """A writer over the package's templates."""
        loader = PackageLoader("notifications", "templates")
        return cls(
            house,
            Environment(loader=loader, autoescape=select_autoescape(["mjml", "html"]), undefined=StrictUndefined),
        )

    def write(self, letter: Letter, unsubscribe_url: str | None = None) -> Rendered:
        """Render both parts."""
        subject = SUBJECTS[letter.kind]
        fixed = {"order": None, "subject": subject, "house": self.house, "unsubscribe_url": unsubscribe_url}
        values = {**fixed, **letter.values}
        markup = self.templates.get_template(f"{letter.kind}.mjml").render(values)
        plain = self.templates.get_template(f"{letter.kind}.txt").render(values)
        return Rendered(subject, mrml.to_html(markup).content, plain)

    def page(self, page: Page) -> str:
        """A page for whoever used the link of a mail."""
        return self.templates.get_template("unsubscribe.html").render(house=self.house, page=page.value)


@dataclass(frozen=True, slots=True)
class MailServer:
    """SMTP. `sender` is the From address; `ca_file` holds who signed the server's certificate, if not somebody whom the
    system knows. Unless `tls` is off, nothing is handed to whoever has no certificate for `host`."""

    host: str
    port: int
    sender: str
    tls: Tls
    ca_file: Path | None = None
    username: str | None = None
    password: str | None = None

    async def send(self, mail: Mail, unsubscribe_url: str | None = None) -> None:
        """Hand the mail over, with the headers of RFC 8058 where it can be unsubscribed from.

        Raises:
            Undeliverable: a permanent refusal (5xx) of this recipient or this mail.
            Retryable: anything else, also a login or sender that the server refuses, which is our own fault. The mail
                may have been taken, and keeps its Message-ID when it is sent again.
        """
        try:
            with tracing.calling("smtp", "send"):
                await self._hand_over(self._message(mail, unsubscribe_url))
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refusal.code for refusal in error.recipients]
            raise self._named(min(codes, default=450), str(error)) from error
        except aiosmtplib.SMTPDataError as error:
            raise self._named(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Retryable("smtp_unavailable", "The mail server did not take the mail.") from error

    async def ask(self) -> None:
        """Whether the server is there and lets us in, without a mail.

        Raises:
            Retryable: it is not, or it does not.
        """
        try:
            async with self._talking() as client, asyncio.timeout(ASK_SECONDS):
                await client.connect()
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise Retryable("smtp_unavailable", "The mail server does not answer.") from error

    async def _hand_over(self, message: EmailMessage) -> None:
        async with self._talking() as client, asyncio.timeout(DEADLINE_SECONDS):
            await client.connect()
            await client.send_message(message)

    @contextlib.asynccontextmanager
    async def _talking(self) -> AsyncIterator[aiosmtplib.SMTP]:
        client = aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            username=self.username,
            password=self.password,
            use_tls=self.tls is Tls.IMPLICIT,
            start_tls=self.tls is Tls.STARTTLS,
            cert_bundle=str(self.ca_file) if self.ca_file else None,
            timeout=STEP_SECONDS,
        )
        try:
            yield client
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):  # all is done, whatever comes now
                await client.quit(timeout=QUIT_SECONDS)
        finally:
            client.close()

    @staticmethod
    def _named(code: int, text: str) -> Exception:
        if 500 <= code < 600:
            return Undeliverable(f"{code} {text}"[:300])
        return Retryable("smtp_unavailable", f"The mail server answered {code}.")

    def _message(self, mail: Mail, unsubscribe_url: str | None) -> EmailMessage:
        message = EmailMessage(policy=_POLICY)
        message["From"] = self.sender
        message["To"] = mail.recipient
        message["Subject"] = mail.subject
        message["Date"] = format_datetime(utc_now())
        message["Message-ID"] = mail.message_id
        message["Auto-Submitted"] = "auto-generated"
        message["X-Payments-Kind"] = mail.kind
        message["X-Payments-Ref"] = mail.ref
        if mail.order_id is not None:
            message["X-Payments-Order"] = external_id("ord", mail.order_id)
        if unsubscribe_url is not None:
            message["List-Unsubscribe"] = f"<{unsubscribe_url}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(mail.plain)
        message.add_alternative(mail.html, subtype="html")
        return message
