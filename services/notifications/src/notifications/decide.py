"""Which mail a message deserves, and to whom. Pure."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from types import MappingProxyType
from typing import Final
from uuid import UUID

from notifications.model import Kind, Letter, Way
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.errors import Refused
from payments_shared.ids import derived_id, external_id
from payments_shared.money import Money, format_money

_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"\\]{1,64}@[^\s@<>,;:\"\\]{1,255}")
STAFF_LOCALE: Final = "en-US"
UNSUBSCRIBE_PATH: Final = "/api/payments/unsubscribe"
INVITATIONS: Final = frozenset({Kind.PAYMENT_RETRY, Kind.ORDER_EXPIRED})
"""What invites to pay. Everything else is about what was bought, and comes whoever unsubscribed."""

_TOKEN: Final = re.compile(r"(?P<mail>[0-9a-f]{32})\.(?P<mark>[0-9a-f]{32})", re.ASCII)


@dataclass(frozen=True, slots=True)
class House:
    """Who writes: names and links for the templates, and where staff read. `recover_url` is the shop's page that takes
    up again what was left."""

    shop_name: str
    shop_url: str
    staff: str
    recover_url: str


@dataclass(frozen=True, slots=True)
class Unsubscribing:
    """Links that end invitations, made with `secret`. Each names the mail that it stands in, and is good for ever."""

    public_url: str
    secret: bytes

    def url_for(self, mail: UUID) -> str:
        """The link of a mail."""
        return f"{self.public_url}{UNSUBSCRIBE_PATH}?token={mail.hex}.{self._mark(mail.hex)}"

    def mail_of(self, token: str) -> UUID | None:
        """The mail whose link this is; None when we did not make it."""
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(match["mark"], self._mark(match["mail"])):
            return None
        return UUID(match["mail"])

    def _mark(self, mail: str) -> str:
        return hmac.new(self.secret, f"unsubscribe\x1f{mail}".encode(), hashlib.sha256).hexdigest()[:32]


def check_address(address: str) -> str:
    """An address that cannot smuggle a header or a second recipient.

    Raises:
        Refused: it is not one plain address.
    """
    if not _ADDRESS.fullmatch(address) or not address.isprintable():
        raise Refused("invalid_recipient", "The recipient is not one plain address.")
    return address


def mail_id(kind: str, ref: str) -> UUID:
    """The same for every telling of one cause."""
    return derived_id("mail", kind, ref)


def message_id(kind: str, ref: str, domain: str) -> str:
    """The Message-ID: the same however often the mail is handed over, so that mailboxes can drop a twin."""
    return f"<{mail_id(kind, ref).hex}@{domain}>"


def confirmation(message: checkout.OrderPaid) -> Letter:
    """Thanks for the order."""
    locale, currency = message.customer.locale, message.currency

    def money(amount_minor: int) -> str:
        return format_money(Money(amount_minor, currency), locale)

    lines = [
        {
            "name": line.name,
            "quantity": line.quantity,
            "amount": money(line.amount_minor),
            "way": _way(line),
        }
        for line in message.lines
    ]
    ways = {_way(line) for line in message.lines}
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "lines": lines,
        "sums": _sums(message, message.currency, locale),
        "total": money(message.total_minor),
        "name": message.customer.name,
        "way": ways.pop() if len(ways) == 1 else Way.PARTLY,
        "credit": money(message.store_credit_minor) if message.store_credit_minor else None,
        "charged": money(sum(one.amount_minor for one in message.payments)) if message.payments else None,
    }
    return _to_customer(Kind.ORDER_CONFIRMATION, message.order_id, str(message.order_id), message.customer, values)


def _sums(message: checkout.OrderPaid | checkout.OrderExpired, currency: str, locale: str) -> list[dict[str, str]]:
    """What is taken off the lines of an order and what is added to them."""
    way = f"Shipping, {message.shipping_option.name}" if message.shipping_option else "Shipping"
    sums = [
        ("Discount", message.discount_minor, "−"),
        (way, message.shipping_minor, ""),
        ("Tax", message.tax_minor, ""),
    ]
    return [
        {"label": label, "amount": sign + format_money(Money(amount, currency), locale)}
        for label, amount, sign in sums
        if amount
    ]


def _way(line: checkout.Line) -> Way:
    if not line.unsent():
        return Way.SENT
    return Way.PARTLY if line.sent() else Way.DIGITAL


def payment_failed(message: checkout.OrderPaymentFailed, house: House, *, settled: bool) -> Letter | None:
    """Bad news of a payment; none for a decline after which the buyer is still trying, or when money came after all."""
    if message.customer is None or settled or not (message.final or message.abandoned):
        return None
    kind = Kind.PAYMENT_FAILED if message.final else Kind.PAYMENT_RETRY
    values = _left_behind(message, message.customer.locale)
    values["retry_url"] = _recovery(message.order_id, message.recovery, house) or message.retry_url
    values["advice"] = message.problem.advice if message.problem else None
    values["split"] = message.split
    values["returned"] = _money(message.returned_minor, message.currency, message.customer.locale)
    return _to_customer(kind, message.order_id, str(message.order_id), message.customer, values)


def payment_retrying(message: checkout.OrderPaymentRetrying, *, settled: bool) -> Letter | None:
    """A saved method was declined and is charged again by itself; said once, however often it is declined."""
    if message.customer is None or settled:
        return None
    values = _left_behind(message, message.customer.locale)
    values["next_attempt"] = f"{message.next_attempt_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    values["advice"] = message.problem.advice if message.problem else None
    return _to_customer(Kind.PAYMENT_RETRYING, message.order_id, str(message.order_id), message.customer, values)


def order_expired(message: checkout.OrderExpired, house: House) -> Letter | None:
    """The way back to a cart that was left; none where there is no way."""
    if message.customer is None or message.recovery is None:
        return None
    values = _left_behind(message, message.customer.locale)
    values["retry_url"] = _recovery(message.order_id, message.recovery, house)
    values["sums"] = _sums(message, message.currency, message.customer.locale) if message.currency else []
    values["until"] = message.recovery.expires_at.date().isoformat()
    return _to_customer(Kind.ORDER_EXPIRED, message.order_id, str(message.order_id), message.customer, values)


def _left_behind(
    message: checkout.OrderPaymentFailed | checkout.OrderPaymentRetrying | checkout.OrderExpired, locale: str
) -> dict[str, object]:
    amounts: dict[str, int | None] = {"total": message.total_minor, "credit": message.store_credit_minor or None}
    amounts["due"] = None if message.total_minor is None else message.total_minor - message.store_credit_minor
    return {
        "order": external_id("ord", message.order_id),
        **{name: _money(amount, message.currency, locale) for name, amount in amounts.items()},
        "lines": [{"name": line.name, "quantity": line.quantity} for line in message.lines],
    }


def _money(amount_minor: int | None, currency: str | None, locale: str) -> str | None:
    """An amount as its reader writes it; None where there is none, or nothing."""
    return format_money(Money(amount_minor, currency), locale) if amount_minor and currency else None


def _recovery(order_id: UUID, link: checkout.RecoveryLink | None, house: House) -> str | None:
    return f"{house.recover_url}?order_id={external_id('ord', order_id)}&token={link.token}" if link else None


def refund_succeeded(message: refunds.RefundSucceeded) -> Letter | None:
    """Money is on its way back, with an apology when it is our fault."""
    if message.customer is None:
        return None
    money = Money(message.amount_minor, message.currency)
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "amount": format_money(money, message.customer.locale),
        "reason": message.reason,
        "credit": message.destination == "store_credit",
    }
    return _to_customer(Kind.REFUND_SUCCEEDED, message.order_id, str(message.refund_id), message.customer, values)


def credit_returned(message: checkout.OrderCreditReturned) -> Letter:
    """What store credit paid for cannot be had, and it may be used again."""
    locale = message.customer.locale
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "credit": _money(message.amount_minor, message.currency, locale),
        "charged": _money(message.charged_minor, message.currency, locale),
    }
    return _to_customer(Kind.CREDIT_RETURNED, message.order_id, str(message.order_id), message.customer, values)


def order_sold_out(message: checkout.OrderSoldOut) -> Letter:
    """What cost nothing cannot be had."""
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "lines": [{"name": line.name, "quantity": line.quantity} for line in message.lines],
    }
    return _to_customer(Kind.ORDER_SOLD_OUT, message.order_id, str(message.order_id), message.customer, values)


def refund_pending(message: refunds.RefundPending, house: House) -> Letter:
    """Staff must top up the account at Stripe, or the buyer must be reminded: once for each reason of a refund."""
    expires = message.action_expires_at
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "refund": external_id("ref", message.refund_id),
        "amount": format_money(Money(message.amount_minor, message.currency), STAFF_LOCALE),
        "buyer": message.status == "requires_action",
        "until": f"{expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if expires else None,
    }
    ref = f"{message.refund_id} {message.pending_reason or message.status}"
    return _to_staff(Kind.REFUND_PENDING, ref, house, values, message.order_id)


def refund_failed(message: refunds.RefundFailed, house: House) -> Letter:
    """Staff must give the money back another way; nobody must where its order gave the store credit back by itself."""
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "refund": external_id("ref", message.refund_id),
        "amount": format_money(Money(message.amount_minor, message.currency), STAFF_LOCALE),
        "detail": message.failure_reason,
        "is_back": message.failure_reason == checkout.CREDIT_IS_BACK,
    }
    return _to_staff(Kind.REFUND_FAILED, str(message.refund_id), house, values, message.order_id)


def refund_canceled(message: refunds.RefundCanceled, house: House) -> Letter | None:
    """Staff must decide anew about money that nobody of theirs took back."""
    if message.withdrawn_by is not None:
        return None
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "refund": external_id("ref", message.refund_id),
        "amount": format_money(Money(message.amount_minor, message.currency), STAFF_LOCALE),
    }
    return _to_staff(Kind.REFUND_CANCELED, str(message.refund_id), house, values, message.order_id)


def refund_left_to_staff(message: refunds.RefundLeftToStaff, house: House) -> Letter:
    """Staff must say how much goes back of an order of which a part is not sent."""
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "reason": message.reason.replace("_", " "),
    }
    return _to_staff(Kind.REFUND_LEFT_TO_STAFF, str(message.shipment_id), house, values, message.order_id)


def refund_returned(message: refunds.RefundFailed | refunds.RefundCanceled, *, told: bool) -> Letter | None:
    """What the buyer was `told` to be on its way came back to us; none for who was told nothing."""
    if message.customer is None or not told:
        return None
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "amount": format_money(Money(message.amount_minor, message.currency), message.customer.locale),
    }
    return _to_customer(Kind.REFUND_RETURNED, message.order_id, str(message.refund_id), message.customer, values)


def ends_of_refund(refund_id: UUID) -> tuple[UUID, ...]:
    """The mails of which each says that a refund will not arrive."""
    return tuple(mail_id(kind, str(refund_id)) for kind in (Kind.REFUND_FAILED, Kind.REFUND_CANCELED))


def dispute(message: refunds.AboutDispute, house: House) -> Letter:
    """Staff must answer a buyer's bank, or know what it decided: once for each turn, and for each reminder of a
    deadline."""
    kind, ref = _KINDS_OF_DISPUTES[type(message)], f"{message.dispute_id} {message.version}"
    hours_left = message.hours_left if isinstance(message, refunds.DisputeDue) else None
    due_by = f"{message.due_by.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if message.due_by else None
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "dispute": message.dispute_id,
        "inquiry": message.kind == "inquiry",
        "amount": format_money(Money(message.amount_minor, message.currency), STAFF_LOCALE),
        "reason": message.reason.replace("_", " "),
        "due_by": due_by,
        "hours_left": hours_left,
    }
    if hours_left is not None:
        ref = f"{ref} {hours_left} {due_by}"
    return _to_staff(kind, ref, house, values, message.order_id)


_KINDS_OF_DISPUTES: Final[Mapping[type[refunds.AboutDispute], Kind]] = MappingProxyType(
    {
        refunds.DisputeOpened: Kind.DISPUTE_OPENED,
        refunds.DisputeDue: Kind.DISPUTE_DUE,
        refunds.DisputeWon: Kind.DISPUTE_WON,
        refunds.DisputeLost: Kind.DISPUTE_LOST,
    }
)


def shipment(message: fulfillment.ShipmentShipped | fulfillment.ShipmentDelivered) -> Letter | None:
    """Where the parcel is."""
    if message.customer is None:
        return None
    shipped = isinstance(message, fulfillment.ShipmentShipped)
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "carrier": message.carrier if isinstance(message, fulfillment.ShipmentShipped) else None,
        "tracking": message.tracking_number if isinstance(message, fulfillment.ShipmentShipped) else None,
    }
    kind = Kind.SHIPMENT_SHIPPED if shipped else Kind.SHIPMENT_DELIVERED
    return _to_customer(kind, message.order_id, str(message.shipment_id), message.customer, values)


def order_held(message: checkout.OrderHeld, house: House) -> Letter:
    """Staff must look at an order whose amounts do not add up, or whose payment may be fraud: once for each cause."""
    suspicion = message.cause.partition(":")[0] if message.cause else None
    if message.cause and message.cause.endswith(":rejected"):
        suspicion = "review_rejected"
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "reason": (suspicion or message.reason).replace("_", " "),
        "suspicion": suspicion,
        "deadline": message.deadline.isoformat() if message.deadline else None,
    }
    ref = f"{message.order_id} {message.cause}" if message.cause else str(message.order_id)
    return _to_staff(Kind.ORDER_HELD, ref, house, values, message.order_id)


def stock_low(message: inventory.StockLow, house: House, cause: str) -> Letter:
    """Staff should order more. `cause` is the message's id: each fall through the threshold is told once."""
    values: dict[str, object] = {
        "sku": message.sku,
        "available": message.available,
        "threshold": message.threshold,
    }
    return _to_staff(Kind.STOCK_LOW, cause, house, values, None)


def card_expiring(message: checkout.PaymentMethodExpiring) -> Letter:
    """A customer should save another card."""
    expiry = f"{message.exp_month:02}/{message.exp_year}"
    values: dict[str, object] = {
        "brand": (message.brand or "card").capitalize(),
        "last4": message.last4,
        "label": message.label,
        "expiry": expiry,
    }
    ref = f"{message.payment_method} {expiry}"
    return _to_customer(Kind.CARD_EXPIRING, None, ref, message.customer, values)


def _to_customer(
    kind: Kind, order_id: UUID | None, ref: str, customer: checkout.Customer, values: dict[str, object]
) -> Letter:
    return Letter(kind, ref, check_address(customer.email), customer.locale, values, order_id)


def _to_staff(kind: Kind, ref: str, house: House, values: dict[str, object], order_id: UUID | None) -> Letter:
    return Letter(kind, ref, check_address(house.staff), STAFF_LOCALE, values, order_id)
