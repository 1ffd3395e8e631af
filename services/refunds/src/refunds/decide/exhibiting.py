"""Everything that proves a disputed payment, put together. Pure: the same facts make the same document."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from payments_shared.ids import external_id
from payments_shared.money import SUPPORTED, exponent
from refunds.decide import evidence
from refunds.decide.hearing import charges_of
from refunds.model.bills import STORE_CREDIT, Bill
from refunds.model.disputes import Dispute
from refunds.model.exhibits import Charge, Exhibit, GivenBack, Kind
from refunds.model.packs import (
    Pack,
    PackCharge,
    PackDispute,
    PackEvent,
    PackLine,
    PackMail,
    PackOrder,
    PackParcel,
    PackRefund,
)
from refunds.model.refunds import Order

NO_DIGEST: Final = "0" * 64
_ADDRESS: Final = ("name", "line1", "line2")
_REFUNDED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "awaiting_approval": "was asked for",
        "rejected": "was refused",
        "canceled": "was canceled",
        "approved": "was approved",
        "submitted": "is on its way",
        "pending": "is on its way",
        "requires_action": "waits for the buyer",
        "succeeded": "was sent back",
        "failed": "could not be sent back",
    }
)
_MOVES: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.PREPARED: "The parcel was made ready.",
        Kind.DELIVERED: "The parcel was delivered.",
        Kind.CANCELED: "The parcel was canceled before it left.",
        Kind.RETURNED: "The parcel came back.",
    }
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of a disputed payment. `order` is None as long as its payment is unknown. `policy` is what the shop
    says of refunds to its buyers."""

    dispute: Dispute
    order: Order | None
    exhibits: Sequence[Exhibit]
    refunds: Sequence[GivenBack]
    policy: str = ""


def pack_of(case: Case) -> Pack:
    """The pack, with its digest."""
    order = _order(case)
    made = Pack(
        digest=NO_DIGEST,
        dispute=_dispute(case.dispute),
        order=order,
        charges=[_charge(charge, case.dispute) for charge in charges_of(list(case.exhibits))],
        parcels=_parcels(case.exhibits),
        mails=_mails(case.exhibits, order.customer_email if order else None),
        refunds=[_refund(refund) for refund in case.refunds],
        timeline=[],
        evidence={},
    )
    made = made.model_copy(update={"timeline": _timeline(made, case.exhibits)})
    made = made.model_copy(update={"evidence": evidence.texts_of(made, case.policy)})
    return made.model_copy(update={"digest": digest_of(made)})


def digest_of(pack: Pack) -> str:
    """A hash of everything in the pack but itself."""
    facts = pack.model_dump(mode="json", exclude={"digest"})
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def moment(at: datetime) -> str:
    """RFC 3339, in UTC, to the millisecond: texts sort as the moments do."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def in_words(amount_minor: int, currency: str) -> str:
    """An amount as a bank reads it anywhere: `USD 100.00`."""
    if currency not in SUPPORTED:
        return f"{amount_minor} minor units of {currency.upper()}"
    return f"{currency.upper()} {Decimal(amount_minor).scaleb(-exponent(currency))}"


# -- parts -------------------------------------------------------------------------------------------------------------


def _dispute(dispute: Dispute) -> PackDispute:
    return PackDispute(
        id=dispute.id,
        charge=dispute.charge,
        payment_intent=dispute.payment_intent,
        amount_minor=dispute.amount_minor,
        currency=dispute.currency,
        reason=dispute.reason,
        network_reason_code=dispute.network_reason_code,
        opened_at=moment(dispute.opened_at),
        due_by=moment(dispute.due_by) if dispute.due_by else None,
    )


def _order(case: Case) -> PackOrder | None:
    order = case.order
    if order is None or order.bill is None:
        return None
    bill, customer = order.bill, order.customer or {}
    placed, paid = (_one(case.exhibits, kind) for kind in (Kind.PLACED, Kind.PAID))
    client, delivery = (placed.body if placed else {}), (paid.body if paid else {})
    return PackOrder(
        order_id=external_id("ord", order.order_id),
        placed_at=moment(placed.at) if placed else None,
        paid_at=moment(bill.paid_at),
        customer_name=customer.get("name"),
        customer_email=customer.get("email"),
        signed_in=order.account is not None,
        ip_address=client.get("address"),
        user_agent=client.get("user_agent"),
        currency=bill.currency,
        subtotal_minor=bill.subtotal_minor,
        discount_minor=bill.discount_minor,
        shipping_minor=bill.shipping_minor,
        tax_minor=bill.tax_minor,
        total_minor=bill.total_minor,
        lines=_lines(bill),
        shipping_address=address_lines(delivery.get("address") or {}),
        shipping_option=delivery.get("option"),
    )


def _lines(bill: Bill) -> list[PackLine]:
    return [
        PackLine(sku=line.sku, name=line.name, quantity=line.quantity, amount_minor=line.amount_minor)
        for line in bill.lines
    ]


def address_lines(address: Mapping[str, Any]) -> list[str]:  # Any: JSON
    """A postal address, as it stands on a parcel."""
    town = " ".join(str(address[name]) for name in ("postal_code", "city", "state") if address.get(name))
    lines = [*(address.get(name) for name in _ADDRESS), town, address.get("country")]
    return [str(line) for line in lines if line]


def _charge(charge: Charge, dispute: Dispute) -> PackCharge:
    return PackCharge(
        id=charge.id,
        payment_intent=charge.payment_intent,
        at=moment(charge.at),
        amount_minor=charge.amount_minor,
        currency=charge.currency,
        disputed=charge.id == dispute.charge,
        method=charge.method,
        brand=charge.brand,
        last4=charge.last4,
        country=charge.country,
        wallet=charge.wallet,
        three_d_secure=charge.three_d_secure,
        three_d_secure_flow=charge.three_d_secure_flow,
        three_d_secure_version=charge.three_d_secure_version,
        cvc_check=charge.cvc_check,
        line1_check=charge.line1_check,
        postal_code_check=charge.postal_code_check,
        network_status=charge.network_status,
        risk_level=charge.risk_level,
        risk_score=charge.risk_score,
        billing_name=charge.billing_name,
        billing_address=list(charge.billing_address),
    )


def _parcels(exhibits: Sequence[Exhibit]) -> list[PackParcel]:
    """The parcels that left the house."""
    found = []
    for shipped in _all(exhibits, Kind.SHIPPED):
        delivered, returned = (_one(exhibits, kind, shipped.ref) for kind in (Kind.DELIVERED, Kind.RETURNED))
        found.append(
            PackParcel(
                shipment_id=shipped.ref,
                carrier=shipped.body.get("carrier"),
                tracking_number=shipped.body.get("tracking_number"),
                shipped_at=moment(shipped.at),
                delivered_at=moment(delivered.at) if delivered else None,
                returned_at=moment(returned.at) if returned else None,
            )
        )
    return found


def _mails(exhibits: Sequence[Exhibit], buyer: str | None) -> list[PackMail]:
    """Mails to the buyer himself: what staff was written proves nothing to a bank."""
    return [
        PackMail(
            kind=mail.body["kind"],
            recipient=mail.body["recipient"],
            message_id=mail.body["message_id"],
            at=moment(mail.at),
        )
        for mail in _all(exhibits, Kind.MAIL)
        if buyer is not None and mail.body["recipient"].lower() == buyer.lower()
    ]


def _refund(refund: GivenBack) -> PackRefund:
    return PackRefund(
        refund_id=external_id("ref", refund.refund_id),
        tender=refund.payment_intent or STORE_CREDIT,
        stripe_refund_id=refund.stripe_refund_id,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        reason=refund.reason,
        status=refund.state,
        at=moment(refund.state_at),
    )


# -- the timeline ------------------------------------------------------------------------------------------------------


def _timeline(pack: Pack, exhibits: Sequence[Exhibit]) -> list[PackEvent]:
    told = [(pack.dispute.opened_at, f"The payment was disputed: {pack.dispute.reason}.")]
    if pack.order is not None:
        total = in_words(pack.order.total_minor, pack.order.currency)
        told.append((pack.order.paid_at, f"The order was paid: {total}."))
        if pack.order.placed_at is not None:
            told.append((pack.order.placed_at, _placed(pack.order)))
    told += [(charge.at, _taken(charge)) for charge in pack.charges]
    told += [(moment(one.at), what) for one in exhibits if (what := _moved(one)) is not None]
    told += [(mail.at, f"Mail {mail.kind} was sent to {mail.recipient}.") for mail in pack.mails]
    told += [(refund.at, _given_back(refund)) for refund in pack.refunds]
    return [PackEvent(at=at, what=what) for at, what in sorted(told)]


def _placed(order: PackOrder) -> str:
    place = f" from {order.ip_address}" if order.ip_address else ""
    return f"The order was placed{place}{' by a buyer who was signed in' if order.signed_in else ''}."


def _taken(charge: PackCharge) -> str:
    card = " ".join(part for part in (charge.brand or charge.method, charge.last4 and f"•••• {charge.last4}") if part)
    return f"{in_words(charge.amount_minor, charge.currency)} was taken by {card} ({charge.id})."


def _moved(exhibit: Exhibit) -> str | None:
    body = exhibit.body
    if exhibit.kind is Kind.SHIPPED:
        way = " ".join(str(part) for part in (body.get("carrier"), body.get("tracking_number")) if part)
        return f"The parcel was given to the carrier{f': {way}' if way else ''}."
    if exhibit.kind is Kind.DIGITAL:
        return f"{evidence.DIGITAL} {', '.join(body['skus'])}."
    return _MOVES.get(exhibit.kind)


def _given_back(refund: PackRefund) -> str:
    amount = in_words(refund.amount_minor, refund.currency)
    words = _REFUNDED.get(refund.status, refund.status.replace("_", " "))
    return f"A refund of {amount} {words} ({refund.reason.replace('_', ' ')})."


def _all(exhibits: Sequence[Exhibit], kind: Kind) -> list[Exhibit]:
    return sorted((one for one in exhibits if one.kind is kind), key=lambda one: (one.at, one.ref))


def _one(exhibits: Sequence[Exhibit], kind: Kind, ref: str | None = None) -> Exhibit | None:
    return next((one for one in exhibits if one.kind is kind and ref in (None, one.ref)), None)
