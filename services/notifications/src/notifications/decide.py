"""Which mail a message deserves, and to whom. Pure."""

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from notifications.model import Kind, Letter
from payments_shared.contracts import checkout, fulfillment, inventory, refunds
from payments_shared.errors import Refused
from payments_shared.ids import derived_id, external_id
from payments_shared.money import Money, format_money

_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"\\]{1,64}@[^\s@<>,;:\"\\]{1,255}")
STAFF_LOCALE: Final = "en-US"


@dataclass(frozen=True, slots=True)
class House:
    """Who writes: names and links for the templates, and where staff read."""

    shop_name: str
    shop_url: str
    staff: str


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
        {"name": line.name, "quantity": line.quantity, "amount": money(line.amount_minor)} for line in message.lines
    ]
    sums = [
        ("Discount", message.discount_minor, "−"),
        ("Shipping", message.shipping_minor, ""),
        ("Tax", message.tax_minor, ""),
    ]
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "lines": lines,
        "sums": [{"label": label, "amount": sign + money(amount)} for label, amount, sign in sums if amount],
        "total": money(message.total_minor),
        "name": message.customer.name,
    }
    return _to_customer(Kind.ORDER_CONFIRMATION, message.order_id, str(message.order_id), message.customer, values)


def payment_failed(message: checkout.OrderPaymentFailed, *, settled: bool) -> Letter | None:
    """Bad news of a payment; none for a decline after which the buyer is still trying, or when money came after all."""
    if message.customer is None or settled or not (message.final or message.abandoned):
        return None
    kind = Kind.PAYMENT_FAILED if message.final else Kind.PAYMENT_RETRY
    total = None
    if message.total_minor is not None and message.currency is not None:
        total = format_money(Money(message.total_minor, message.currency), message.customer.locale)
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "retry_url": message.retry_url,
        "total": total,
        "lines": [{"name": line.name, "quantity": line.quantity} for line in message.lines],
    }
    return _to_customer(kind, message.order_id, str(message.order_id), message.customer, values)


def refund_succeeded(message: refunds.RefundSucceeded) -> Letter | None:
    """Money is on its way back, with an apology when it is our fault."""
    if message.customer is None:
        return None
    money = Money(message.amount_minor, message.currency)
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "amount": format_money(money, message.customer.locale),
        "reason": message.reason,
    }
    return _to_customer(Kind.REFUND_SUCCEEDED, message.order_id, str(message.refund_id), message.customer, values)


def refund_failed(message: refunds.RefundFailed, house: House) -> Letter:
    """Staff must give the money back another way."""
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "refund": external_id("ref", message.refund_id),
        "amount": format_money(Money(message.amount_minor, message.currency), STAFF_LOCALE),
        "detail": message.failure_reason,
    }
    return _to_staff(Kind.REFUND_FAILED, str(message.refund_id), house, values, message.order_id)


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
    """Staff must look at an order whose amounts do not add up."""
    values: dict[str, object] = {
        "order": external_id("ord", message.order_id),
        "reason": message.reason.replace("_", " "),
        "deadline": message.deadline.isoformat() if message.deadline else None,
    }
    return _to_staff(Kind.ORDER_HELD, str(message.order_id), house, values, message.order_id)


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
