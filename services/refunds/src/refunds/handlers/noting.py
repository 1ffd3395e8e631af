"""Facts that make no refund, and tell which are suspicious."""

from dataclasses import dataclass
from datetime import UTC, datetime

from payments_shared.contracts import stripe
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.messaging import Transaction
from refunds.decide.marking import mark
from refunds.model.patterns import Charge
from refunds.store import patterns as store


@dataclass(frozen=True, slots=True)
class Noting:
    """`secret` keys what is kept of cards; without one nothing is."""

    secret: bytes | None = None

    async def charged(self, tx: Transaction, event: StripeEvent) -> None:
        """`charge.succeeded`: how a payment was made, known before it or after."""
        charge = stripe.Charge.model_validate(event.data.object)
        method = charge.payment_method_details
        if charge.payment_intent is None:
            return
        fingerprint = method.card.fingerprint if method and method.card else None
        await store.keep_charge(
            tx.connection,
            Charge(
                payment_intent=charge.payment_intent,
                method_type=method.type if method else None,
                charged_at=datetime.fromtimestamp(charge.created, UTC),
                card=mark(self.secret, fingerprint) if self.secret and fingerprint else None,
            ),
        )
