"""Facts of notifications."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Tls(StrEnum):
    """How a mail server is talked to: encrypted after STARTTLS or not at all (RFC 3207), encrypted from the first byte
    (RFC 8314, port 465), or in clear, for a server on the same machine or in a network that is trusted."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    OFF = "off"


class Kind(StrEnum):
    """What a mail is about; each has a template of its name."""

    ORDER_CONFIRMATION = "order_confirmation"
    PAYMENT_FAILED = "payment_failed"
    PAYMENT_RETRY = "payment_retry"
    PAYMENT_RETRYING = "payment_retrying"
    REFUND_SUCCEEDED = "refund_succeeded"
    REFUND_PENDING = "refund_pending"
    REFUND_FAILED = "refund_failed"
    REFUND_CANCELED = "refund_canceled"
    REFUND_LEFT_TO_STAFF = "refund_left_to_staff"
    REFUND_RETURNED = "refund_returned"
    CREDIT_RETURNED = "credit_returned"
    ORDER_SOLD_OUT = "order_sold_out"
    SHIPMENT_SHIPPED = "shipment_shipped"
    SHIPMENT_DELIVERED = "shipment_delivered"
    ORDER_HELD = "order_held"
    DISPUTE_OPENED = "dispute_opened"
    DISPUTE_DUE = "dispute_due"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    STOCK_LOW = "stock_low"
    CARD_EXPIRING = "card_expiring"
    ORDER_EXPIRED = "order_expired"


class Way(StrEnum):
    """How what was bought comes to its buyer: all of it is sent, some, or nothing; templates know these words."""

    SENT = "sent"
    PARTLY = "partly"
    DIGITAL = "digital"


class Page(StrEnum):
    """What a page for readers of a mail says; its template knows these words."""

    ASK = "ask"
    DONE = "done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Letter:
    """What a mail says, before it is written. `ref` tells mails of one kind apart; `values` fill the template."""

    kind: Kind
    ref: str
    recipient: str
    locale: str
    values: dict[str, object]
    order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Rendered:
    """A written mail."""

    subject: str
    html: str
    plain: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as stored. `attempts` counts how often it was claimed, from 1."""

    id: UUID
    kind: str
    ref: str
    order_id: UUID | None
    recipient: str
    message_id: str
    subject: str
    html: str
    plain: str
    state: str
    attempts: int
