"""What the platform's refusals mean for a buyer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.shop.cart import Cart

AWAY: Final = "The shop cannot take orders at the moment. Nothing was charged; please try again."
# Why an order that was left cannot be taken up again.
LEFT: Final[Mapping[str, str]] = {
    "not_found": "This link is not complete. Please use the one in the mail.",
    "recovery_expired": "This link is too old. The shop is still open.",
    "order_paid": "This order is paid, or its payment is on its way. There is nothing left to do.",
    "order_not_recoverable": "This order is still open, or was canceled.",
    "nothing_left": "Nothing of this order is sold any more.",
}
# What is said of a field whose form is wrong.
WORDS: Final[Mapping[str, str]] = {
    "email": "Please give an e-mail address, such as you@example.com.",
    "coupon": "There is no such coupon.",
    "credit": "Store credit cannot pay for this.",
    "country": "Please choose a country from the list.",
    "way": "Please choose one of these ways.",
}
# What is said of refusals whose own words are for those who build shops.
SAID: Final[Mapping[str, str]] = {
    "payment_declined": "Your bank declined the payment. Nothing was charged; you can pay in another way.",
    "shipping_country_not_served": "We do not send parcels there.",
    "shipping_not_offered": "We do not send it there in this way. Please choose another.",
    "rate_limited": "That was a lot at once. Please wait a minute and try again.",
    "velocity_exceeded": "Too many cards were declined. Please try again in an hour, or write to us.",
}
# Which field of the cart's page a part of the request comes from.
FIELDS: Final[Mapping[str, str]] = {
    "/email": "email",
    "/coupon": "coupon",
    "/country": "country",
    "/shipping/country": "country",
    "/shipping/option": "way",
    "/use_store_credit": "credit",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an order was not placed: for the whole cart, for its fields (coupon, email, country, way), or for its
    lines, by SKU.

    `settled`: the platform said no, and would say so again under the same key. Else nobody knows yet.
    """

    general: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)
    settled: bool = True


def problem(cart: Cart, status: int, answer: Mapping[str, Any]) -> Problem:
    """What the platform's refusal means for the cart's page."""
    code = answer.get("code")
    if code == "idempotency_in_flight" or (status >= 500 and code != "stripe_refused"):
        return Problem(AWAY, settled=False)
    if code == "out_of_stock":
        left = {row["sku"]: int(row["available"]) for row in answer.get("available", [])}
        lines = {sku: _left(left[sku]) for sku, wanted in cart.lines.items() if left.get(sku, wanted) < wanted}
        return Problem("There is not enough of what you want. Please change the quantities below.", lines=lines)
    fields: dict[str, str] = {}
    lines = {}
    for error in answer.get("errors", []):
        pointer = error["pointer"]
        number = pointer.removeprefix("/lines/").partition("/")[0]
        if name := FIELDS.get(pointer):
            fields[name] = WORDS[name] if code == "validation_failed" else SAID.get(str(code), error["detail"])
        elif number.isdecimal() and int(number) < len(cart.lines):
            lines[list(cart.lines)[int(number)]] = error["detail"]
    if fields or lines:
        return Problem("Please check what is marked.", fields, lines)
    return Problem(SAID.get(str(code)) or str(answer.get("detail") or AWAY))


def _left(available: int) -> str:
    return "Sold out, please remove it." if available == 0 else f"Only {available} left."
