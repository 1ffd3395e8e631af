"""Fold facts into orders: add what is new, derive the state, say what is due."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from checkout.decide import order as rules
from checkout.decide.order import Say, View
from checkout.gateway import session_seen
from checkout.model import (
    Abandoned,
    Fact,
    HoldEnded,
    IntentDeclined,
    IntentSucceeded,
    Order,
    OrderEnded,
    SessionSeen,
    State,
)
from checkout.store import orders as store
from payments_shared import metrics
from payments_shared.contracts import checkout as said
from payments_shared.contracts import fulfillment, refunds
from payments_shared.contracts import stripe as wire
from payments_shared.contracts.message import Message
from payments_shared.errors import Refused, Retryable
from payments_shared.ids import parse_external_id
from payments_shared.messaging import Outbox, Transaction

log = structlog.get_logger(__name__)

REFUND_RANKS: Mapping[str, int] = {
    "requested": 0,
    "approved": 1,
    "succeeded": 2,
    "failed": 3,
    "rejected": 3,
    "canceled": 3,
}
SHIPMENT_RANKS: Mapping[str, int] = {"created": 0, "shipped": 1, "delivered": 2, "canceled": 3, "returned": 4}


@dataclass(frozen=True, slots=True)
class Delays:
    """Business times in seconds: how long a declined order waits, and how long a mismatch waits for a person."""

    abandon_seconds: float
    mismatch_seconds: float


@dataclass(frozen=True, slots=True)
class Facts:
    """One method per input that is a fact."""

    outbox: Outbox
    delays: Delays

    # -- Stripe ------------------------------------------------------------------------------------------------------

    async def session_event(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """`checkout.session.*`: what Stripe says about a session."""
        session = wire.CheckoutSession.model_validate(event.data.object)
        failed = event.type == "checkout.session.async_payment_failed"
        order = await self._order_of(
            tx, session.id, session.payment_intent, session.client_reference_id, session.metadata
        )
        await self.learn(tx, order, session_seen(event.data.object, failed=failed))

    async def intent_event(self, tx: Transaction, event: wire.StripeEvent) -> None:
        """`payment_intent.succeeded` and `payment_intent.payment_failed`."""
        intent = wire.PaymentIntent.model_validate(event.data.object)
        order = await self._order_of(tx, None, intent.id, None, intent.metadata)
        if event.type == "payment_intent.succeeded":
            await self.learn(tx, order, IntentSucceeded(intent.id, intent.amount_received, intent.currency))
            return
        error = intent.last_payment_error
        charge = intent.latest_charge or event.id  # without a charge nothing tells one decline from the next
        code = (error.decline_code or error.code) if error else None
        await self.learn(tx, order, IntentDeclined(intent.id, charge, code))

    async def _order_of(
        self,
        tx: Transaction,
        session_id: str | None,
        payment_intent: str | None,
        reference: str | None,
        metadata: Mapping[str, str] | None,
    ) -> Order:
        """The order an object belongs to: by what is stored; else by the reference it carries, cross-checked.

        Raises:
            Refused: the object is none of ours.
            Retryable: it names an order that is not here (yet).
        """
        order_id = await store.find_order(tx.connection, session_id, payment_intent)
        if order_id is None:
            order_id = _named_order(reference, metadata)
        if order_id is None:
            raise Refused("not_ours", "The object names no order of ours.")
        order = await store.lock_order(tx.connection, order_id)
        if order is None:
            raise Retryable("order_unknown", "The order of this object is not here.")
        return order

    # -- other services ----------------------------------------------------------------------------------------------

    async def shipment(
        self,
        tx: Transaction,
        message: fulfillment.ShipmentCreated
        | fulfillment.ShipmentShipped
        | fulfillment.ShipmentDelivered
        | fulfillment.ShipmentCanceled
        | fulfillment.ShipmentReturned,
    ) -> None:
        """Where the parcel is, for the buyer's eyes."""
        order = await self._known(tx, message.order_id)
        status = message.TYPE.split(".")[1]
        if SHIPMENT_RANKS[status] >= SHIPMENT_RANKS.get(order.shipment_status or "", -1):
            await tx.connection.execute(store.QUERIES["save_shipment"], order.id, message.shipment_id, status)

    async def refund(self, tx: Transaction, message: refunds.AboutRefund) -> None:
        """What became of a refund, for the buyer's eyes and the audit."""
        order = await self._known(tx, message.order_id)
        status = message.TYPE.split(".")[1]
        known = dict(order.refunds)
        before = known.get(str(message.refund_id))
        if before is None or REFUND_RANKS[status] > REFUND_RANKS[str(before["status"])]:
            known[str(message.refund_id)] = {"status": status, "amount_minor": message.amount_minor}
            await tx.connection.execute(store.QUERIES["save_refunds"], order.id, known)

    async def stock(self, tx: Transaction, message: Message) -> None:
        """Stock facts change nothing here: the money's way back is refunds' business."""

    async def _known(self, tx: Transaction, order_id: UUID) -> Order:
        order = await store.lock_order(tx.connection, order_id)
        if order is None:
            raise Refused("order_unknown", "There is no such order.")
        return order

    # -- time --------------------------------------------------------------------------------------------------------

    async def abandon(self, tx: Transaction, order_id: UUID, decline: str) -> None:
        """If the decline is still the last word, the buyer has gone."""
        order = await self._known(tx, order_id)
        facts = await store.load_facts(tx.connection, order.id)
        declines = [fact.key for fact in facts if isinstance(fact, IntentDeclined)]
        if order.state is State.DECLINED and declines and declines[-1] == decline:
            await self.learn(tx, order, Abandoned(decline))

    async def end_hold(self, tx: Transaction, order_id: UUID, *, released: bool) -> None:
        """A person released a quarantined order, or its deadline passed."""
        order = await self._known(tx, order_id)
        if order.held_reason is not None:
            await self.learn(tx, order, HoldEnded(released))

    async def cancel(self, tx: Transaction, order_id: UUID, reason: str) -> Order:
        """End an order that nobody has paid for; one whose money is on its way or here goes on."""
        order = await self._known(tx, order_id)
        if not rules.may_end(order):
            return order
        return await self.learn(tx, order, OrderEnded(reason))

    # -- the fold ----------------------------------------------------------------------------------------------------

    async def learn(self, tx: Transaction, order: Order, fact: Fact) -> Order:
        """Add `fact` to the locked `order` and make true what follows. A fact known before changes nothing."""
        if not await store.add_fact(tx.connection, order.id, fact):
            return order
        if isinstance(fact, SessionSeen) and order.stripe_session_id is None:
            # The event overtook the answer of our own request: the slot is empty, so the session is adopted.
            await store.store_session(tx.connection, order.id, fact.session_id, None)
            order = replace(order, stripe_session_id=fact.session_id)
        already = await store.load_said(tx.connection, order.id)
        facts = await store.load_facts(tx.connection, order.id)
        seen = rules.view(order, facts, settled_intent=rules.settled_intent_of(already))
        now = await store.business_now(tx.connection)
        changed = await self._save(tx, order, seen, now)
        for key in rules.required(seen):
            if key not in already:
                message_id = self._say(tx, changed, seen, key, now)
                await store.record_said(tx.connection, order.id, key, message_id)
        return changed

    async def _save(self, tx: Transaction, order: Order, seen: View, now: datetime) -> Order:
        settled = seen.settled
        mismatched = seen.mismatch is not None
        totals = (order.tax_minor, order.shipping_minor, order.total_minor)
        if settled is not None and not mismatched:
            totals = (settled.tax_minor, settled.shipping_minor, settled.total_minor)
        held_until = order.held_until or now + timedelta(seconds=self.delays.mismatch_seconds)
        changed = replace(
            order,
            state=seen.state,
            held_reason=seen.mismatch if seen.held else None,
            held_until=held_until if seen.held else order.held_until,
            dishonoured=seen.dishonoured,
            tax_minor=totals[0],
            shipping_minor=totals[1],
            total_minor=totals[2],
            stripe_payment_intent=settled.payment_intent if settled else order.stripe_payment_intent,
            paid_at=order.paid_at or (now if seen.state is State.PAID else None),
        )
        await store.save_view(
            tx.connection,
            order,
            state=changed.state,
            held_reason=changed.held_reason,
            held_until=changed.held_until,
            dishonoured=changed.dishonoured,
            totals=totals,
            payment_intent=changed.stripe_payment_intent,
            paid_at=changed.paid_at,
        )
        await store.set_coupon_use(tx.connection, order.id, rules.coupon_use(seen))
        if changed.state is not order.state:
            metrics.ORDERS.labels(changed.state.value).inc()
        return changed

    def _say(self, tx: Transaction, order: Order, seen: View, key: str, now: datetime) -> UUID:
        kind, _, detail = key.partition(":")
        if key == Say.HELD:
            log.error("order.held", order_id=str(order.id), reason=seen.mismatch)
        if key.startswith(Say.DECLINED):
            return self._say_declined(tx, order, key.removeprefix(Say.DECLINED), now)
        if key.startswith(Say.ABANDONED):
            return tx.announce(_failed(order, abandoned=True))
        builders: Mapping[str, Callable[[], Message]] = {
            "processing": lambda: said.OrderProcessing(
                order_id=order.id,
                payment_intent=order.stripe_payment_intent,
                lines=_lines(order),
                customer=_customer(order, seen.settled),
            ),
            "paid": lambda: _paid(order, seen, now),
            "payment_failed": lambda: _failed(order, final=True),
            "expired": lambda: said.OrderExpired(order_id=order.id, customer=_customer(order)),
            "canceled": lambda: said.OrderCanceled.model_validate(
                {"order_id": order.id, "reason": seen.canceled.reason if seen.canceled else "amount_mismatch"}
            ),
            "held": lambda: said.OrderHeld.model_validate(
                {"order_id": order.id, "reason": seen.mismatch, "deadline": order.held_until}
            ),
            "unheld": lambda: said.OrderUnheld(order_id=order.id),
            "refund_due": lambda: _refund_due(order, seen, detail),
            "fetch_session": lambda: said.FetchSession(order_id=order.id, session_id=None, payment_intent=detail),
            "fetch_intent": lambda: said.FetchPaymentIntent(order_id=order.id, payment_intent=detail.split(":")[1]),
        }
        return tx.announce(builders[kind]())

    def _say_declined(self, tx: Transaction, order: Order, decline: str, now: datetime) -> UUID:
        until = now + timedelta(seconds=self.delays.abandon_seconds)
        tx.announce(said.AbandonOrder(order_id=order.id, decline=decline), available_at=until)
        return tx.announce(_failed(order, hold_until=until))


def _named_order(reference: str | None, metadata: Mapping[str, str] | None) -> UUID | None:
    for text in (reference, (metadata or {}).get("order_id")):
        if text:
            try:
                return parse_external_id("ord", text)
            except ValueError:
                continue
    return None


def _lines(order: Order) -> tuple[said.Line, ...]:
    return tuple(
        said.Line(
            sku=line.sku,
            name=line.name,
            quantity=line.quantity,
            unit_amount_minor=line.unit_amount_minor,
            amount_minor=line.amount_minor,
        )
        for line in order.lines
    )


def _customer(order: Order, settled: SessionSeen | None = None) -> said.Customer:
    return said.Customer(email=order.email, name=settled.name if settled else None, locale=order.locale)


def _paid(order: Order, seen: View, now: datetime) -> said.OrderPaid:
    settled = seen.settled
    assert settled is not None  # noqa: S101 - required() asks for it only with a settled session
    intent = settled.payment_intent or settled.session_id
    return said.OrderPaid(
        order_id=order.id,
        currency=order.currency,
        subtotal_minor=order.subtotal_minor,
        discount_minor=order.discount_minor,
        tax_minor=settled.tax_minor,
        shipping_minor=settled.shipping_minor,
        total_minor=settled.total_minor,
        coupon=order.coupon,
        lines=_lines(order),
        customer=_customer(order, settled),
        shipping_address=said.Address.model_validate(settled.address) if settled.address else None,
        payments=(
            said.Payment(
                payment_intent=intent,
                amount_minor=settled.total_minor,
                currency=settled.currency or order.currency,
            ),
        ),
        paid_at=order.paid_at or now,
    )


def _failed(
    order: Order, *, final: bool = False, abandoned: bool = False, hold_until: datetime | None = None
) -> said.OrderPaymentFailed:
    return said.OrderPaymentFailed(
        order_id=order.id,
        final=final,
        abandoned=abandoned,
        hold_until=hold_until,
        retry_url=order.stripe_session_url if abandoned else None,
        lines=_lines(order),
        customer=_customer(order),
        currency=order.currency,
        total_minor=order.total_minor,
    )


def _refund_due(order: Order, seen: View, detail: str) -> said.OrderRefundDue:
    intent, _, reason = detail.rpartition(":")
    capture = seen.capture_of(intent)
    return said.OrderRefundDue.model_validate(
        {
            "order_id": order.id,
            "payment_intent": intent,
            "amount_minor": capture.amount_minor,
            "currency": capture.currency or order.currency,
            "reason": reason,
            "customer": _customer(order, seen.settled).model_dump(),
        }
    )
