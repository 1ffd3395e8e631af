"""What is said of an order, from its view. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from checkout.decide import crediting
from checkout.decide.charging import Charged
from checkout.decide.declines import advice_for
from checkout.decide.delivering import way_of
from checkout.decide.order import CARD_TESTING, Capture, Say, View, payments_of
from checkout.decide.recovering import Links
from checkout.decide.totals import billed
from checkout.model.carts import PricedLine, Quote
from checkout.model.facts import SessionSeen
from checkout.model.orders import Order, Placement
from payments_shared.contracts import checkout as said
from payments_shared.contracts.message import Message


def message_for(key: str, order: Order, seen: View, *, now: datetime, hold_until: datetime, links: Links) -> Message:
    """The message that `key` asks for. `hold_until` is when an order whose card was declined now is given up, and
    `links` take up again one that ended."""
    if key.startswith(Say.DECLINED):
        return _failed(order, hold_until=hold_until)
    if key.startswith(Say.ABANDONED):
        return _failed(order, abandoned=True, recovery=links.link_to(order.id, now))
    if key == Say.FINAL:
        return _failed(order, final=True, recovery=links.link_to(order.id, now), returned=seen.stranded)
    if key == Say.EXPIRED:
        return _expired(order, links.link_to(order.id, now))
    kind, _, detail = key.partition(":")
    return _BUILDERS[kind](order, seen, detail, now)


def placed(order_id: UUID, quote: Quote, wanted: Placement, expires_at: datetime) -> said.OrderPlaced:
    """A new order, before anything is asked of anybody."""
    return said.OrderPlaced(
        order_id=order_id,
        currency=quote.currency,
        subtotal_minor=quote.subtotal_minor,
        discount_minor=quote.discount_minor,
        total_minor=quote.total_minor,
        coupon=quote.coupon,
        lines=_lines(quote.lines),
        customer=said.Customer(email=wanted.email, locale=wanted.locale),
        expires_at=expires_at,
        recovered_from=wanted.recovered_from,
        store_credit_minor=quote.store_credit_minor,
        client=said.Client(address=wanted.client.address, user_agent=wanted.client.user_agent)
        if wanted.client
        else None,
    )


def _processing(order: Order, seen: View, _: str, __: datetime) -> Message:
    return said.OrderProcessing(
        order_id=order.id,
        payment_intent=order.stripe_payment_intent,
        lines=_lines(order.lines),
        customer=_customer(order, seen.settled),
    )


def _paid(order: Order, seen: View, _: str, now: datetime) -> Message:
    settled = seen.settled
    assert settled is not None  # noqa: S101 - required() asks for it only with a settled session
    paid = billed(order, settled)
    return said.OrderPaid(
        order_id=order.id,
        currency=settled.currency or order.currency,
        subtotal_minor=paid.subtotal_minor,
        discount_minor=paid.discount_minor,
        tax_minor=paid.tax_minor,
        shipping_minor=paid.shipping_minor,
        total_minor=paid.total_minor,
        coupon=order.coupon,
        lines=_lines(order.lines),
        customer=_customer(order, settled),
        shipping_address=said.Address.model_validate(settled.address) if settled.address else None,
        shipping_option=_way(order, settled),
        payments=() if order.covered else _payments(order, settled),
        paid_at=order.paid_at or now,
        store_credit_minor=order.store_credit_minor,
    )


def _payments(order: Order, settled: SessionSeen | Charged) -> tuple[said.Payment, ...]:
    return tuple(
        said.Payment(
            payment_intent=taken.payment_intent,
            amount_minor=taken.amount_minor,
            currency=taken.currency or order.currency,
        )
        for taken in payments_of(settled)
    )


def _way(order: Order, settled: SessionSeen | Charged) -> said.ShippingOption | None:
    return _option(way_of(order, settled))


def _option(way: Mapping[str, Any] | None) -> said.ShippingOption | None:  # Any: jsonb
    return said.ShippingOption(code=way["option"], name=way["name"]) if way and way["option"] else None


def _retrying(order: Order, _: View, __: str, now: datetime) -> Message:
    told = advice_for(order)
    return said.OrderPaymentRetrying(
        order_id=order.id,
        attempt=order.retry_attempt - 1,
        next_attempt_at=order.retry_at or now,
        lines=_lines(order.lines),
        customer=_customer(order),
        currency=order.currency,
        total_minor=order.total_minor,
        store_credit_minor=order.store_credit_minor,
        problem=said.PaymentProblem.model_validate(asdict(told)) if told else None,
    )


def _expired(order: Order, recovery: said.RecoveryLink) -> Message:
    return said.OrderExpired(
        order_id=order.id,
        customer=_customer(order),
        lines=_lines(order.lines),
        currency=order.currency,
        total_minor=order.total_minor,
        store_credit_minor=order.store_credit_minor,
        recovered_from=order.recovered_from,
        recovery=recovery,
        discount_minor=order.discount_minor,
        shipping_minor=order.shipping_minor,
        shipping_option=_option(order.shipping),
        tax_minor=order.tax_minor,
    )


def _canceled(order: Order, seen: View, _: str, __: datetime) -> Message:
    reason = seen.canceled.reason if seen.canceled else "amount_mismatch"
    if reason in (CARD_TESTING, crediting.GONE):
        return said.OrderCanceled(order_id=order.id, reason="superseded", cause=reason)
    return said.OrderCanceled.model_validate({"order_id": order.id, "reason": reason})


def _held(order: Order, seen: View, cause: str, _: datetime) -> Message:
    if cause:
        return said.OrderHeld(order_id=order.id, reason="identity_conflict", cause=cause)
    return said.OrderHeld.model_validate({"order_id": order.id, "reason": seen.mismatch, "deadline": order.held_until})


def _unheld(order: Order, _: View, cause: str, __: datetime) -> Message:
    return said.OrderUnheld(order_id=order.id, cause=cause or None)


def _refund_due(order: Order, seen: View, detail: str, _: datetime) -> Message:
    intent, _sep, reason = detail.rpartition(":")
    capture = seen.capture_of(intent)
    return said.OrderRefundDue.model_validate(
        {
            "order_id": order.id,
            "payment_intent": intent,
            "amount_minor": capture.amount_minor,
            "currency": capture.currency or order.currency,
            **({"reason": "canceled_order", "rule": reason} if reason == "early_fraud_warning" else {"reason": reason}),
            "customer": _customer(order, seen.settled).model_dump(),
        }
    )


def _credit_returned(order: Order, seen: View, _: str, __: datetime) -> Message:
    return said.OrderCreditReturned(
        order_id=order.id,
        currency=order.currency,
        amount_minor=order.store_credit_minor,
        charged_minor=seen.settled.total_minor if seen.settled else 0,
        customer=_customer(order, seen.settled),
    )


def _sold_out(order: Order, seen: View, _: str, __: datetime) -> Message:
    return said.OrderSoldOut(order_id=order.id, lines=_lines(order.lines), customer=_customer(order, seen.settled))


def _fetch_session(order: Order, _: View, detail: str, __: datetime) -> Message:
    return said.FetchSession(order_id=order.id, session_id=None, payment_intent=detail)


def _cancel_intent(order: Order, _: View, detail: str, __: datetime) -> Message:
    return said.CancelPaymentIntent(order_id=order.id, payment_intent=detail.partition(":")[0])


def _fetch_intent(order: Order, _: View, detail: str, __: datetime) -> Message:
    return said.FetchPaymentIntent(order_id=order.id, payment_intent=detail.split(":")[1])


_BUILDERS: Mapping[str, Callable[[Order, View, str, datetime], Message]] = {
    "processing": _processing,
    "paid": _paid,
    "payment_retrying": _retrying,
    "canceled": _canceled,
    "held": _held,
    "unheld": _unheld,
    "refund_due": _refund_due,
    "credit_returned": _credit_returned,
    "sold_out": _sold_out,
    "fetch_session": _fetch_session,
    "fetch_intent": _fetch_intent,
    "cancel_intent": _cancel_intent,
}


def _failed(
    order: Order,
    *,
    final: bool = False,
    abandoned: bool = False,
    hold_until: datetime | None = None,
    recovery: said.RecoveryLink | None = None,
    returned: Sequence[Capture] = (),
) -> said.OrderPaymentFailed:
    told = advice_for(order)
    return said.OrderPaymentFailed(
        order_id=order.id,
        final=final,
        abandoned=abandoned,
        hold_until=hold_until,
        retry_url=order.stripe_session_url if abandoned else None,
        lines=_lines(order.lines),
        customer=_customer(order),
        currency=order.currency,
        total_minor=order.total_minor,
        store_credit_minor=order.store_credit_minor,
        problem=said.PaymentProblem.model_validate(asdict(told)) if told else None,
        recovery=recovery,
        split=order.split is not None,
        returned_minor=sum(one.amount_minor for one in returned),
    )


def _lines(lines: Sequence[PricedLine]) -> tuple[said.Line, ...]:
    return tuple(
        said.Line(
            sku=line.sku,
            name=line.name,
            quantity=line.quantity,
            unit_amount_minor=line.unit_amount_minor,
            amount_minor=line.amount_minor,
            parts=tuple(
                said.BundlePart(sku=sku, quantity=quantity, digital=sku in line.digital_parts)
                for sku, quantity in sorted(line.parts.items())
            ),
            digital=line.digital,
        )
        for line in lines
    )


def _customer(order: Order, settled: SessionSeen | Charged | None = None) -> said.Customer:
    name = settled.name if settled else None
    return said.Customer(email=order.email, name=name, locale=order.locale, account=order.customer_subject)
