"""The texts of Stripe's `evidence`, by the reason of a dispute. Pure.

Source: Stripe API, "Update a dispute", and "Respond to disputes": which of them speak to which reason, a limit for each
field, and 150,000 characters for all of them together.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from payments_shared.errors import FieldError, Refused
from refunds.model.packs import Pack, PackParcel, PackRefund

LONG: Final = 20_000
SHORT: Final = 5_000
COMBINED: Final = 150_000
LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "customer_name": SHORT,
        "customer_email_address": SHORT,
        "customer_purchase_ip": SHORT,
        "billing_address": SHORT,
        "product_description": LONG,
        "shipping_address": SHORT,
        "shipping_carrier": SHORT,
        "shipping_date": SHORT,
        "shipping_tracking_number": SHORT,
        "service_date": SHORT,
        "access_activity_log": LONG,
        "duplicate_charge_id": SHORT,
        "duplicate_charge_explanation": LONG,
        "refund_policy_disclosure": LONG,
        "refund_refusal_explanation": LONG,
        "cancellation_policy_disclosure": LONG,
        "cancellation_rebuttal": LONG,
        "uncategorized_text": LONG,
    }
)
"""What each text may have, in characters. The files of `evidence` are not among them."""

DIGITAL: Final = "Digital goods were given to the buyer:"

_ALWAYS: Final = (
    "customer_name",
    "customer_email_address",
    "billing_address",
    "product_description",
    "uncategorized_text",
)
_WAY: Final = ("shipping_address", "shipping_carrier", "shipping_date", "shipping_tracking_number", "service_date")
_PERSON: Final = ("customer_purchase_ip", "access_activity_log")
_REFUNDS: Final = ("refund_policy_disclosure", "refund_refusal_explanation")
_TWICE: Final = ("duplicate_charge_id", "duplicate_charge_explanation")
_BY_REASON: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "fraudulent": (*_PERSON, *_WAY),
        "unrecognized": (*_PERSON, *_WAY),
        "debit_not_authorized": (*_PERSON, *_WAY),
        "product_not_received": (*_WAY, "access_activity_log"),
        "product_unacceptable": (*_WAY, *_REFUNDS),
        "credit_not_processed": _REFUNDS,
        "duplicate": (*_TWICE, *_WAY),
        "subscription_canceled": ("cancellation_rebuttal", *_WAY),
    }
)
_ANY_OTHER: Final = (*_PERSON, *_WAY, *_REFUNDS, *_TWICE)


def texts_of(pack: Pack, policy: str) -> dict[str, str]:
    """The texts that speak to the reason of the dispute, as far as anything is known; none is longer than it may be,
    and together they are not either: the longest gives way."""
    wanted = (*_ALWAYS, *_BY_REASON.get(pack.dispute.reason, _ANY_OTHER))
    makers = _makers(pack, policy)
    found = {name: _cut(text, LIMITS[name]) for name in wanted if (text := makers[name]().strip())}
    while (over := sum(map(len, found.values())) - COMBINED) > 0:
        longest = max(found, key=lambda name: (len(found[name]), name))
        found[longest] = _cut(found[longest], max(len(found[longest]) - over, SHORT))
    return dict(sorted(found.items()))


def overridden(texts: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """The texts with a person's own in place of some; an empty one takes the text away.

    Raises:
        Refused: 422 `evidence_too_long`: together they are longer than a bank takes.
    """
    chosen = {name: text for name, text in {**texts, **overrides}.items() if text.strip()}
    if (total := sum(map(len, chosen.values()))) > COMBINED:
        detail = f"All texts together have {total} characters; {COMBINED} are taken."
        raise Refused("evidence_too_long", detail, status=422, errors=[FieldError("/texts", detail, "too_long")])
    return dict(sorted(chosen.items()))


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


# -- each text ---------------------------------------------------------------------------------------------------------


def _makers(pack: Pack, policy: str) -> Mapping[str, Callable[[], str]]:
    order, parcels = pack.order, [parcel for parcel in pack.parcels if parcel.shipped_at is not None]
    return {
        "customer_name": lambda: (order and order.customer_name) or _billing_name(pack),
        "customer_email_address": lambda: (order and order.customer_email) or "",
        "customer_purchase_ip": lambda: (order and order.ip_address) or "",
        "billing_address": lambda: "\n".join(_disputed_address(pack)),
        "product_description": lambda: _products(pack),
        "shipping_address": lambda: "\n".join(order.shipping_address) if order and parcels else "",
        "shipping_carrier": lambda: _each(parcel.carrier for parcel in parcels),
        "shipping_date": lambda: _each(_day(parcel.shipped_at) for parcel in parcels),
        "shipping_tracking_number": lambda: _each(parcel.tracking_number for parcel in parcels),
        "service_date": lambda: _each(_day(event.at) for event in pack.timeline if event.what.startswith(DIGITAL)),
        "access_activity_log": lambda: _activity(pack),
        "duplicate_charge_id": lambda: _other_charge(pack),
        "duplicate_charge_explanation": lambda: _twice(pack),
        "refund_policy_disclosure": lambda: policy,
        "refund_refusal_explanation": lambda: _refusal(pack),
        "cancellation_policy_disclosure": lambda: "",
        "cancellation_rebuttal": lambda: "The payment was for one order. It is no subscription, and nothing renews it.",
        "uncategorized_text": lambda: _story(pack),
    }


def _billing_name(pack: Pack) -> str:
    return next((charge.billing_name for charge in pack.charges if charge.disputed and charge.billing_name), "")


def _disputed_address(pack: Pack) -> list[str]:
    return next((charge.billing_address for charge in pack.charges if charge.disputed), [])


def _products(pack: Pack) -> str:
    if pack.order is None:
        return ""
    return "\n".join(f"{line.quantity} × {line.name} ({line.sku})" for line in pack.order.lines)


def _each(values: Iterable[str | None]) -> str:
    """What there is, each once, in order."""
    return ", ".join(dict.fromkeys(value for value in values if value))


def _day(at: str | None) -> str:
    return (at or "")[:10]


def _activity(pack: Pack) -> str:
    """What the buyer did and was told, with times; of a payment that no one knows there is nothing."""
    if pack.order is None:
        return ""
    browser = [f"Browser of the buyer: {pack.order.user_agent}"] if pack.order.user_agent else []
    return "\n".join([*browser, *(f"{event.at} {event.what}" for event in pack.timeline)])


def _other_charge(pack: Pack) -> str:
    """The charge that the bank may take for the same one: another of this order."""
    return next((charge.id for charge in pack.charges if not charge.disputed), "")


def _twice(pack: Pack) -> str:
    others = [charge for charge in pack.charges if not charge.disputed]
    if pack.order is None:
        return ""
    if not others:
        return f"Order {pack.order.order_id} was paid once: there is no other charge for it."
    told = []
    for charge in others:
        back = [refund for refund in _succeeded(pack) if refund.tender == charge.payment_intent]
        told.append(f"Charge {charge.id} of the same order, taken on {_day(charge.at)}{_sent_back(back)}.")
    return "\n".join(told)


def _sent_back(refunds: list[PackRefund]) -> str:
    if not refunds:
        return ", paid another part of it and was not given back"
    return ", was given back: " + ", ".join(f"{refund.stripe_refund_id} on {_day(refund.at)}" for refund in refunds)


def _succeeded(pack: Pack) -> list[PackRefund]:
    return [refund for refund in pack.refunds if refund.status == "succeeded" and refund.stripe_refund_id]


def _refusal(pack: Pack) -> str:
    if pack.order is None:
        return ""
    done = [f"Refund {refund.stripe_refund_id} was sent on {_day(refund.at)}." for refund in _succeeded(pack)]
    refused = [
        f"A refund was asked for and refused on {_day(refund.at)}."
        for refund in pack.refunds
        if refund.status == "rejected"
    ]
    return "\n".join([*done, *refused]) or "No refund of this order was asked for before the dispute."


def _story(pack: Pack) -> str:
    if pack.order is None:
        return ""
    facts = [f"Order {pack.order.order_id} was paid on {_day(pack.order.paid_at)}."]
    facts += [_authentication(pack), *(_delivery(parcel) for parcel in pack.parcels)]
    return "\n".join([*(fact for fact in facts if fact), "The attached document has the whole record."])


def _authentication(pack: Pack) -> str:
    charge = next((charge for charge in pack.charges if charge.disputed), None)
    if charge is None:
        return ""
    checks = {
        "3-D Secure": charge.three_d_secure,
        "card security code": charge.cvc_check,
        "street address": charge.line1_check,
        "postal code": charge.postal_code_check,
    }
    told = "; ".join(f"{name}: {result}" for name, result in checks.items() if result)
    return f"Checks of the card when it was charged: {told}." if told else ""


def _delivery(parcel: PackParcel) -> str:
    way = " ".join(part for part in (parcel.carrier, parcel.tracking_number) if part)
    told = f"A parcel was shipped on {_day(parcel.shipped_at)}{f' ({way})' if way else ''}"
    told += f" and delivered on {_day(parcel.delivered_at)}" if parcel.delivered_at else ""
    return told + (f"; it came back on {_day(parcel.returned_at)}." if parcel.returned_at else ".")
