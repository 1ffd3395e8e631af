"""What an order's page says of the answer to `GET /api/payments/orders/{id}`. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from payments_shared.money import Money, format_money

MILESTONES: Final = ("placed", "paid", "packed", "shipped", "delivered")
_SHIPMENTS: Final = {"created": 3, "shipped": 4, "delivered": 5, "returned": 5}
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "pending": ("Your payment is being confirmed", "This takes a moment; this page shows it by itself."),
    "retrying": (
        "Your bank said no for now",
        "Nothing was charged. We try again by ourselves, in an hour at first, and write what comes of it.",
    ),
    "processing": (
        "Your payment is on its way",
        "Your bank is sending the money. This can take some days; we write when it is here.",
    ),
    "paid": ("Thank you, it is paid", ""),
    "declined": ("The payment was declined", "Nothing was charged."),
    "failed": ("The payment failed", "The money did not arrive, and nothing will be sent."),
    "expired": ("The time to pay ran out", "Nothing was charged, and your cart is still there."),
    "canceled": ("This order was canceled", "Nothing was charged."),
    "partly refunded": ("A part of your money is on its way back", "Your bank shows it within some days."),
    "refunded": ("Your money is on its way back", "Your bank shows it within some days."),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """`reached` counts milestones. When it is `final` there is nothing left to wait for."""

    state: str
    title: str
    note: str
    reached: int
    final: bool


def milestones(seen: Mapping[str, Any]) -> tuple[str, ...]:  # Any: the answer's JSON
    """What an order goes through; what is not sent ends with its payment."""
    return MILESTONES if seen["shipping"] else MILESTONES[:2]


def progress(seen: Mapping[str, Any]) -> Progress:  # Any: the answer's JSON
    """Where the order is."""
    state = _state(seen)
    title, note = _WORDS[state]
    shipment = (seen["shipment"] or {}).get("status", "")
    if seen["held"]:
        note = "We have your payment and are checking the order. You need not do anything."
    elif state == "paid" and shipment in ("canceled", "returned"):
        note = f"The shipment was {shipment}; we write about your money."
    ahead = milestones(seen)
    reached = min(max(2, _SHIPMENTS.get(shipment, 0)), len(ahead)) if seen["paid_at"] else 1
    final = state in ("failed", "expired", "canceled", "refunded") or reached == len(ahead)
    return Progress(state, title, note, reached, final)


def _state(seen: Mapping[str, Any]) -> str:
    if refunded := int(seen["refunded_minor"]):
        return "refunded" if refunded >= int(seen["total_minor"]) else "partly refunded"
    status = str(seen["status"])
    if seen["next_attempt_at"]:
        return "retrying"
    return "declined" if status == "failed" and seen["checkout_url"] else status


def news(change: Mapping[str, Any], currency: str) -> str:  # Any: the answer's JSON
    """A change since an order was left, in a sentence."""

    def amount(name: str) -> str:
        return format_money(Money(int(change[name]), currency))

    match change["code"]:
        case "price_changed":
            return f"{change['name']} is {amount('after_minor')} now; it was {amount('before_minor')}."
        case "not_sold":
            return f"{change['name']} is no longer sold. We left it out."
        case "coupon_dropped":
            return f"The coupon {change['coupon']} is no longer good."
        case "discount_changed":
            return f"The coupon takes off {amount('after_minor')} now; it was {amount('before_minor')}."
        case _:
            return "Something is different; please look at the sums."
