"""What Stripe took, whether or not its order is here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from checkout.gateway.payments import named_order, session_seen
from checkout.model.losing import Buyer, Taken
from payments_shared.contracts import stripe as wire
from payments_shared.errors import Refused
from payments_shared.stripe_client import OutcomeUnknown, Stripe, StripeRefused

PAGE: Final = 50
"""Payments of a page. After each there are two more questions, ten at once: at half a second a call it takes six."""
BUYERS_AT_ONCE: Final = 10  # far below what Stripe bears in a second

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Takings:
    """Stripe, in our words. `OutcomeUnknown`: it does not answer; 502 `stripe_refused`: it refuses for good."""

    stripe: Stripe

    async def listed(self, since: datetime, after: str | None) -> tuple[list[Taken], int, str | None]:
        """What was taken by a page of the payments made since then, the newest first; how many these are, and the last
        of them where there are more.

        Raises:
            Refused: 422 `cursor_unknown`: `after` is no payment.
            Refused, OutcomeUnknown: as the class says.
        """
        params: dict[str, Any] = {
            "limit": PAGE,
            "created": {"gte": int(since.timestamp())},
            "expand": ["data.latest_charge"],
        }
        if after is not None:
            params["starting_after"] = after
        page = await self._call("payment_intents.list", lambda: self.stripe.v1.payment_intents.list_async(params))
        if page is None:
            raise Refused("cursor_unknown", "The cursor is none that was given here.", status=422)
        found = [_taken(one.to_dict()) for one in page.data]
        return [one for one in found if one is not None], len(found), page.data[-1].id if page.has_more else None

    async def one(self, payment_intent: str) -> Taken | None:
        """What a payment took; None where Stripe knows none, or it took nothing, or names no order.

        Raises:
            Refused, OutcomeUnknown: as the class says.
        """
        params = {"expand": ["latest_charge"]}
        intent = await self._call(
            "payment_intents.retrieve", lambda: self.stripe.v1.payment_intents.retrieve_async(payment_intent, params)
        )
        return _taken(intent.to_dict()) if intent is not None else None

    async def buyer(self, taken: Taken) -> Buyer:
        """Who typed his address on the page of the payment; else Stripe's customer.

        Raises:
            Refused, OutcomeUnknown: as the class says.
        """
        params = {"payment_intent": taken.payment_intent, "limit": 1}
        listed = await self._call("checkout.sessions.list", lambda: self.stripe.v1.checkout.sessions.list_async(params))
        if listed is not None and listed.data:
            session = session_seen(listed.data[0].to_dict())
            return Buyer(session.email, session.name)
        if (customer := taken.customer) is None:
            return Buyer()
        found = await self._call("customers.retrieve", lambda: self.stripe.v1.customers.retrieve_async(customer))
        known = found.to_dict() if found is not None else {}
        return Buyer(known.get("email"), known.get("name"))

    async def buyers(self, lost: Sequence[Taken]) -> list[Buyer]:
        """Whom to write to about each of which something is left, in their order; nobody where Stripe does not answer
        in time: whoever gives it back asks again.

        Raises:
            Refused: as the class says.
        """
        turns = asyncio.Semaphore(BUYERS_AT_ONCE)

        async def in_turn(one: Taken) -> Buyer:
            async with turns:
                try:
                    return Buyer() if one.is_back else await self.buyer(one)
                except OutcomeUnknown:
                    log.warning("payment.buyer_unanswered", payment_intent=one.payment_intent)
                    return Buyer()

        return list(await asyncio.gather(*map(in_turn, lost)))

    async def _call(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Any:  # Any: the SDK's
        """What Stripe answers; None where what was named does not exist."""
        try:
            return await self.stripe.call(operation, request)
        except StripeRefused as refusal:
            if refusal.code == "resource_missing":
                return None
            raise Refused("stripe_refused", f"Stripe says: {refusal.detail}", status=502) from refusal


def _taken(value: Mapping[str, Any]) -> Taken | None:  # Any: Stripe's own shape
    charge = value.get("latest_charge")  # of a payment that has succeeded the one that holds its money
    intent = wire.PaymentIntent.model_validate({**value, "latest_charge": charge and charge["id"]})
    order_id = named_order(intent.metadata)
    if order_id is None or intent.status != "succeeded" or not intent.amount_received:
        return None
    made = datetime.fromtimestamp(value["created"], UTC)
    refunded = wire.Charge.model_validate(charge).amount_refunded if charge else 0
    return Taken(intent.id, order_id, intent.amount_received, intent.currency, made, value.get("customer"), refunded)
