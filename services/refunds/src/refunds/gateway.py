"""The outward door of refunds: Stripe."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from payments_shared.ids import external_id
from payments_shared.stripe_client import Stripe
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Refund

PAGE: Final = 100  # Stripe's most


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

    async def list_refunds(self, payment_intent: str) -> list[Heard]:
        """All refunds of a payment, whoever asked for them."""
        found: list[Heard] = []
        params: dict[str, Any] = {"payment_intent": payment_intent, "limit": PAGE}  # Any: Stripe's parameters
        while True:
            page = await self.stripe.call("refunds.list", partial(self.stripe.v1.refunds.list_async, dict(params)))
            found += [_heard(one) for one in page.data]
            if not page.has_more:
                return found
            params["starting_after"] = page.data[-1].id

    async def find(self, refund: Refund) -> Answer | None:
        """Our refund among those of its payment, by the id that we wrote into it."""
        wanted = external_id("ref", refund.id)
        assert refund.payment_intent is not None  # noqa: S101 - Stripe is asked for nothing else
        for heard in await self.list_refunds(refund.payment_intent):
            if heard.refund_id == wanted:
                return Answer(heard.stripe_refund_id, heard.status, heard.failure_reason)
        return None

    async def retrieve(self, stripe_refund_id: str) -> Answer:
        """The refund as it is now."""
        found = await self.stripe.call(
            "refunds.retrieve", lambda: self.stripe.v1.refunds.retrieve_async(stripe_refund_id)
        )
        return Answer(found.id, found.status, getattr(found, "failure_reason", None))


def _heard(one: Any) -> Heard:  # Any: the client's objects have untyped members
    metadata = one.metadata
    return Heard(
        stripe_refund_id=one.id,
        payment_intent=one.payment_intent,
        amount_minor=one.amount,
        currency=one.currency,
        status=one.status,
        failure_reason=getattr(one, "failure_reason", None),
        refund_id=metadata["refund_id"] if metadata is not None and "refund_id" in metadata else None,
    )
