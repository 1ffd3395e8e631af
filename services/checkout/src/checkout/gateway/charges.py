"""Payment intents at Stripe, in our words."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from checkout.gateway.keys import key_of
from checkout.model.charges import Attempt
from checkout.model.facts import IntentAuthorized, IntentDeclined, IntentFetched, IntentSucceeded
from checkout.model.orders import Order
from payments_shared.contracts import stripe as wire
from payments_shared.ids import external_id
from payments_shared.stripe_client import Stripe, StripeRefused

ASKED_SECONDS: Final = 90_000  # a key is good for a day, so nothing is made later


@dataclass(frozen=True, slots=True)
class Charges:
    """Payment intents at Stripe over methods that their customers saved."""

    stripe: Stripe

    async def create(self, order: Order) -> Attempt:
        """The order's intent, charged. The same request under the same key, however often it is sent; so what it
        answers to a repetition is how the intent was then."""
        options = {"idempotency_key": key_of("oc", "ord", order)}
        params = dict(order.stripe_request["create"])
        return await self._attempted(
            "payment_intents.create", lambda: self.stripe.v1.payment_intents.create_async(params, options)
        )

    async def authorize(self, order: Order, leg: int) -> Attempt:
        """The intent of a part of the order's payment, to be captured later; as `create`."""
        options = {"idempotency_key": f"{key_of('oc', 'ord', order)}_leg_{leg}"}
        params = dict(order.stripe_request["legs"][leg])
        return await self._attempted(
            "payment_intents.create", lambda: self.stripe.v1.payment_intents.create_async(params, options)
        )

    async def capture(self, order: Order, leg: int, payment_intent: str) -> Attempt:
        """Take what was authorized for a part. An intent that has moved on is looked at instead."""
        options = {"idempotency_key": f"{key_of('oc', 'ord', order)}_capture_{leg}"}
        try:
            return await self._attempted(
                "payment_intents.capture",
                lambda: self.stripe.v1.payment_intents.capture_async(payment_intent, {}, options),
            )
        except StripeRefused as refusal:
            if refusal.code != "payment_intent_unexpected_state":
                raise
            return await self.retrieve(payment_intent)

    async def confirm(self, order: Order, payment_intent: str) -> Attempt:
        """Confirm the intent once more, with its buyer. Repeating it is harmless: an intent that has moved on is
        refused, and looked at instead."""
        return await self._confirmed(payment_intent, dict(order.stripe_request["confirm"]), {})

    async def retry(self, order: Order, payment_intent: str) -> Attempt:
        """Charge the intent once more, without its buyer: the attempt that is due, under a key of its own, the same for
        every repetition of it. An intent that has moved on is looked at instead."""
        key = f"{key_of('oc', 'ord', order)}_retry_{order.retry_attempt}"
        return await self._confirmed(payment_intent, dict(order.stripe_request["retry"]), {"idempotency_key": key})

    async def _confirmed(self, payment_intent: str, params: Any, options: Any) -> Attempt:  # Any: the SDK's
        try:
            return await self._attempted(
                "payment_intents.confirm",
                lambda: self.stripe.v1.payment_intents.confirm_async(payment_intent, params, options),
            )
        except StripeRefused as refusal:
            if refusal.code != "payment_intent_unexpected_state":
                raise
            return await self.retrieve(payment_intent)

    async def find(self, order: Order, leg: int | None = None) -> Attempt | None:
        """The order's intent among those made since the order, when a create's answer is lost for good; or that of a
        part of its payment."""
        made = int(order.created_at.timestamp())
        params: dict[str, Any] = {
            "limit": 100,
            "created": {"gte": made - 60, "lte": made + ASKED_SECONDS},
            "customer": order.stripe_request["create"]["customer"],
        }
        wanted = external_id("ord", order.id)
        while True:
            listed = await self.stripe.call(
                "payment_intents.list", lambda: self.stripe.v1.payment_intents.list_async(params)
            )
            for intent in listed.data:
                metadata = intent.to_dict().get("metadata") or {}
                if metadata.get("order_id") == wanted and (leg is None or metadata.get("leg") == str(leg)):
                    return attempt_in(intent.to_dict())
            if not listed.has_more:
                return None
            params["starting_after"] = listed.data[-1].id

    async def retrieve(self, payment_intent: str) -> Attempt:
        """The intent as it is now."""
        return await self._attempted(
            "payment_intents.retrieve", lambda: self.stripe.v1.payment_intents.retrieve_async(payment_intent)
        )

    async def cancel(self, payment_intent: str) -> Attempt:
        """Cancel the intent, and return it as it is afterwards: perhaps it was paid a moment before."""
        try:
            return await self._attempted(
                "payment_intents.cancel", lambda: self.stripe.v1.payment_intents.cancel_async(payment_intent)
            )
        except StripeRefused:
            return await self.retrieve(payment_intent)

    async def _attempted(self, operation: str, request: Callable[[], Awaitable[Any]]) -> Attempt:  # Any: the SDK's
        """What an intent became; one whose charge was declined is an answer."""
        try:
            intent = await self.stripe.call(operation, request)
        except StripeRefused as refusal:
            if refusal.status != 402 or refusal.intent is None:
                raise
            return attempt_in(refusal.intent)
        return attempt_in(intent.to_dict())


def attempt_in(value: Mapping[str, Any]) -> Attempt:  # Any: Stripe's own shape
    """An intent with the fact that it asserts."""
    intent = wire.PaymentIntent.model_validate(value)
    fact: IntentSucceeded | IntentAuthorized | IntentDeclined | IntentFetched
    leg = leg_in(intent)
    if intent.status == "succeeded":
        fact = IntentSucceeded(intent.id, intent.amount_received, intent.currency, leg)
    elif intent.status == "requires_capture":
        fact = IntentAuthorized(intent.id, intent.amount, leg)
    elif intent.status == "requires_payment_method" and intent.last_payment_error is not None:
        fact = declined_in(intent, otherwise=intent.id)
    else:
        fact = IntentFetched(intent.id, intent.status, leg)
    redirect = intent.next_action.redirect_to_url if intent.next_action else None
    return Attempt(intent.id, intent.status, fact, intent.client_secret, redirect.url if redirect else None)


def leg_in(intent: wire.PaymentIntent) -> int | None:
    """The part of a split payment that an intent is for, as it was made; None for any other payment."""
    text = intent.metadata.get("leg", "")
    return int(text) if text in ("0", "1") else None


def declined_in(intent: wire.PaymentIntent, *, otherwise: str) -> IntentDeclined:
    """The decline that an intent shows. Where nothing was charged, as when the buyer failed to answer his bank, only
    `otherwise` tells it from the next one."""
    error = intent.last_payment_error
    uncharged = error is not None and error.code == "payment_intent_authentication_failure"
    charge = otherwise if uncharged else intent.latest_charge or otherwise
    if error is None:
        return IntentDeclined(intent.id, charge, leg=leg_in(intent))
    return IntentDeclined(intent.id, charge, error.decline_code or error.code, error.advice_code, leg_in(intent))
