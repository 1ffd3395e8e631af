"""What Stripe suspects of a payment: attempts as Radar sees them, reviews, and warnings of the card's bank."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from checkout.model.facts import Fact, FraudWarned, ReviewSeen
from checkout.model.orders import Order
from checkout.model.risks import Attempt
from payments_shared.contracts import stripe as wire

LEFT: Final = frozenset({"shipped", "delivered", "returned"})
"""Of a shipment: the goods are out of our hands."""


@dataclass(frozen=True, slots=True)
class Suspecting:
    """`refund_up_to`: by currency, the largest amount in minor units that goes back as soon as its bank warns of it."""

    refund_up_to: Mapping[str, int] = field(default_factory=dict)

    def as_things_stand(self, fact: Fact, order: Order) -> Fact:
        """A warning with what its consequences depend on; every other fact as it is."""
        if not isinstance(fact, FraudWarned):
            return fact
        limit = self.refund_up_to.get(order.currency)
        return replace(fact, shipped=order.shipment_status in LEFT, refund_up_to_minor=limit)


def is_suspicion(event: wire.StripeEvent) -> bool:
    """Whether the event is about a review or a warning."""
    return event.type in wire.REVIEW_TYPES or event.type in wire.WARNING_TYPES


def suspicion_in(event: wire.StripeEvent, payment_intent: str | None = None) -> ReviewSeen | FraudWarned:
    """The fact that a review or a warning asserts, about `payment_intent` where its object does not name one."""
    if event.type in wire.WARNING_TYPES:
        warning = wire.EarlyFraudWarning.model_validate(event.data.object)
        intent = payment_intent or warning.payment_intent or ""
        return FraudWarned(warning.id, intent, warning.fraud_type, shipped=False)
    review = wire.Review.model_validate(event.data.object)
    return ReviewSeen(
        review.id, payment_intent or review.payment_intent or "", review.opened_reason, review.closed_reason
    )


def payment_of(event: wire.StripeEvent) -> str:
    """The payment that a review or a warning is about: an intent, or a charge where none is named."""
    if event.type in wire.WARNING_TYPES:
        warning = wire.EarlyFraudWarning.model_validate(event.data.object)
        return warning.payment_intent or warning.charge
    review = wire.Review.model_validate(event.data.object)
    return review.payment_intent or review.charge or review.id


def attempt_to_save(event: wire.StripeEvent) -> Attempt:
    """The attempt that a setup intent tells of whose method could not be made ready."""
    intent = wire.SetupIntent.model_validate(event.data.object)
    error = intent.last_setup_error or wire.SetupError()
    method = error.payment_method or wire.ChargedMethod()
    return Attempt(
        charge=intent.latest_attempt or event.id,
        payment_intent=None,
        declined=True,
        at=datetime.fromtimestamp(event.created, UTC),
        method=method.type,
        failure=error.code,
        fingerprint=method.card.fingerprint if method.card else None,
        reason=error.decline_code,
    )


def attempt_that_saved(event: wire.StripeEvent) -> Attempt:
    """The attempt that made a method ready which was attached then."""
    method = wire.ChargedMethod.model_validate(event.data.object)
    return Attempt(
        charge=str(event.data.object["id"]),
        payment_intent=None,
        declined=False,
        at=datetime.fromtimestamp(event.created, UTC),
        method=method.type,
        fingerprint=method.card.fingerprint if method.card else None,
    )


def attempt_in(charge: wire.Charge) -> Attempt:
    """The attempt that a charge was."""
    outcome = charge.outcome or wire.ChargeOutcome()
    method = charge.payment_method_details or wire.ChargedMethod()
    card = method.card
    return Attempt(
        charge=charge.id,
        payment_intent=charge.payment_intent,
        declined=charge.status == "failed",
        at=datetime.fromtimestamp(charge.created, UTC),
        method=method.type,
        failure=charge.failure_code,
        fingerprint=card.fingerprint if card else None,
        type=outcome.type,
        network_status=outcome.network_status,
        reason=outcome.reason,
        risk_level=outcome.risk_level,
        risk_score=outcome.risk_score,
        rule=str(outcome.rule["id"]) if isinstance(outcome.rule, dict) else outcome.rule,
        seller_message=outcome.seller_message,
    )
