"""The outward door of refunds: Stripe."""

from dataclasses import dataclass

from payments_shared.ids import external_id
from payments_shared.stripe_client import Stripe
from refunds.model.refunds import Answer, Refund


@dataclass(frozen=True, slots=True)
class Payments:
    """Stripe, in our words."""

    stripe: Stripe

    async def create(self, refund: Refund) -> Answer:
        """Ask for the refund, under its own key: however often this is sent, Stripe pays once.

        Raises:
            StripeRefused: a definite no.
            OutcomeUnknown: it may have been paid.
        """
        name = external_id("ref", refund.id)
        params = {
            "payment_intent": refund.payment_intent,
            "amount": refund.amount_minor,
            "metadata": {"refund_id": name, "order_id": external_id("ord", refund.order_id)},
        }
        suffix = f"_{refund.stripe_attempt}" if refund.stripe_attempt else ""
        options = {"idempotency_key": f"rf_{name}{suffix}"}
        made = await self.stripe.call("refunds.create", lambda: self.stripe.v1.refunds.create_async(params, options))
        return Answer(made.id, made.status, getattr(made, "failure_reason", None))

    async def find(self, refund: Refund) -> Answer | None:
        """Our refund among those of its payment, by the id that we wrote into it."""
        params = {"payment_intent": refund.payment_intent, "limit": 100}
        listed = await self.stripe.call("refunds.list", lambda: self.stripe.v1.refunds.list_async(params))
        wanted = external_id("ref", refund.id)
        for found in listed.data:
            metadata = found.metadata
            if metadata is not None and "refund_id" in metadata and metadata["refund_id"] == wanted:
                return Answer(found.id, found.status, getattr(found, "failure_reason", None))
        return None

    async def retrieve(self, stripe_refund_id: str) -> Answer:
        """The refund as it is now."""
        found = await self.stripe.call(
            "refunds.retrieve", lambda: self.stripe.v1.refunds.retrieve_async(stripe_refund_id)
        )
        return Answer(found.id, found.status, getattr(found, "failure_reason", None))
