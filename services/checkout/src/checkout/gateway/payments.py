"""Sessions, customers and what they save, at Stripe, in our words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from checkout.decide.crediting import discount_at_stripe
from checkout.gateway.charges import ASKED_SECONDS, Charges
from checkout.gateway.keys import key_of
from checkout.model.customers import Addition, Customer, Method, Renewed
from checkout.model.facts import IntentFetched, IntentSucceeded, SessionSeen
from checkout.model.orders import Order
from payments_shared.contracts import stripe as wire
from payments_shared.ids import external_id, parse_external_id
from payments_shared.stripe_client import Stripe, StripeRefused


@dataclass(frozen=True, slots=True)
class Payments:
    """Stripe, in our words."""

    stripe: Stripe

    @property
    def charges(self) -> Charges:
        """Payments without a page."""
        return Charges(self.stripe)

    async def create_discount(self, order: Order) -> None:
        """A coupon at Stripe of exactly our discount, and what store credit takes off, for this order alone. Repeating
        it is harmless."""
        amount_off, name = discount_at_stripe(order)
        params = {
            "id": external_id("ord", order.id),
            "amount_off": amount_off,
            "currency": order.currency,
            "duration": "once",
            "max_redemptions": 1,
            "name": name,
        }
        options = {"idempotency_key": key_of("cp", "ord", order)}
        try:
            await self.stripe.call("coupons.create", lambda: self.stripe.v1.coupons.create_async(params, options))
        except StripeRefused as refusal:
            if refusal.code != "resource_already_exists":
                raise

    async def create_session(self, order: Order) -> tuple[str, str | None]:
        """The order's session, its id and URL. The same request under the same key, however often it is sent."""
        options = {"idempotency_key": key_of("co", "ord", order)}
        params = dict(order.stripe_request)
        session = await self.stripe.call(
            "checkout.sessions.create", lambda: self.stripe.v1.checkout.sessions.create_async(params, options)
        )
        return session.id, session.url

    async def find_session(self, order: Order) -> tuple[str, str | None] | None:
        """The order's session among those made since the order, when a create's answer is lost for good."""
        made = int(order.created_at.timestamp())
        params: dict[str, Any] = {"limit": 100, "created": {"gte": made - 60, "lte": made + ASKED_SECONDS}}
        listed = await self.stripe.call(
            "checkout.sessions.list", lambda: self.stripe.v1.checkout.sessions.list_async(params)
        )
        wanted = external_id("ord", order.id)
        while True:
            for session in listed.data:
                if session.client_reference_id == wanted:
                    return session.id, session.url
            if not listed.has_more:
                return None
            params["starting_after"] = listed.data[-1].id
            listed = await self.stripe.call(
                "checkout.sessions.list", lambda: self.stripe.v1.checkout.sessions.list_async(params)
            )

    async def retrieve_session(self, session_id: str) -> SessionSeen:
        """The session as it is now."""
        session = await self.stripe.call(
            "checkout.sessions.retrieve", lambda: self.stripe.v1.checkout.sessions.retrieve_async(session_id)
        )
        return session_seen(session.to_dict())

    async def session_of_intent(self, payment_intent: str) -> SessionSeen | None:
        """The session that an intent belongs to."""
        params = {"payment_intent": payment_intent, "limit": 1}
        listed = await self.stripe.call(
            "checkout.sessions.list", lambda: self.stripe.v1.checkout.sessions.list_async(params)
        )
        return session_seen(listed.data[0].to_dict()) if listed.data else None

    async def retrieve_intent(self, payment_intent: str) -> IntentSucceeded | IntentFetched:
        """The intent as it is now."""
        intent = await self.stripe.call(
            "payment_intents.retrieve", lambda: self.stripe.v1.payment_intents.retrieve_async(payment_intent)
        )
        if intent.status == "succeeded":
            return IntentSucceeded(intent.id, intent.amount_received, intent.currency)
        return IntentFetched(intent.id, intent.status)

    async def order_of(self, payment: str) -> tuple[str | None, UUID | None]:
        """The intent behind `payment`, an intent or a charge, and the order that it names. What Stripe does not know
        names none."""
        try:
            if payment.startswith("pi_"):
                found = await self.stripe.call(
                    "payment_intents.retrieve", lambda: self.stripe.v1.payment_intents.retrieve_async(payment)
                )
                return payment, named_order(found.to_dict().get("metadata"))
            charge = await self.stripe.call("charges.retrieve", lambda: self.stripe.v1.charges.retrieve_async(payment))
        except StripeRefused as refusal:
            if refusal.code != "resource_missing":
                raise
            return None, None
        shown = wire.Charge.model_validate(charge.to_dict())
        return shown.payment_intent, named_order(shown.metadata)

    async def expire_session(self, session_id: str) -> SessionSeen:
        """Close the session, and return it as it is afterwards: perhaps it was paid a moment before."""
        try:
            session = await self.stripe.call(
                "checkout.sessions.expire", lambda: self.stripe.v1.checkout.sessions.expire_async(session_id)
            )
        except StripeRefused:
            return await self.retrieve_session(session_id)
        return session_seen(session.to_dict())

    async def calculate_tax(self, params: dict[str, Any]) -> tuple[int, int]:  # Any: Stripe's parameters, nested
        """What Stripe Tax says of a cart: the tax on top of its prices, and the tax in them. Nothing is kept there."""
        found = await self.stripe.call(
            "tax.calculations.create", lambda: self.stripe.v1.tax.calculations.create_async(params)
        )
        return found.tax_amount_exclusive, found.tax_amount_inclusive

    # -- customers and what they save ------------------------------------------------------------------------------

    async def create_customer(self, customer: Customer) -> str:
        """The person's customer. The same request under the same key, however often it is sent."""
        params: dict[str, Any] = {"metadata": {"customer": external_id("cst", customer.id)}}
        if customer.email is not None:
            params["email"] = customer.email
        options = {"idempotency_key": key_of("cu", "cst", customer)}
        made = await self.stripe.call(
            "customers.create", lambda: self.stripe.v1.customers.create_async(params, options)
        )
        return str(made.id)

    async def renew_customer(self, renewed: Renewed) -> None:
        """The customer's address is this one from now on. The number of the renewal is in the key: one that went back
        to an earlier address is another request."""
        options = {"idempotency_key": f"ce_{external_id('cst', renewed.id)}_{renewed.email_version}"}
        await self.stripe.call(
            "customers.update",
            lambda: self.stripe.v1.customers.update_async(
                renewed.stripe_customer_id, {"email": renewed.email}, options
            ),
        )

    async def find_customer(self, customer: Customer, since: datetime, until: datetime) -> str | None:
        """The person's customer among those made in a time, when a create's answer is lost."""
        made = {"gte": int(since.timestamp()), "lte": int(until.timestamp())}
        params: dict[str, Any] = {"limit": 100, "created": made}
        wanted = external_id("cst", customer.id)
        while True:
            listed = await self.stripe.call("customers.list", lambda: self.stripe.v1.customers.list_async(params))
            for one in listed.data:
                if (one.to_dict().get("metadata") or {}).get("customer") == wanted:
                    return str(one.id)
            if not listed.has_more:
                return None
            params["starting_after"] = listed.data[-1].id

    async def open_saving_page(self, addition: Addition) -> str:
        """The URL of a page on which a payment method is saved."""
        options = {"idempotency_key": key_of("sp", "add", addition)}
        params = dict(addition.stripe_request)
        session = await self.stripe.call(
            "checkout.sessions.create", lambda: self.stripe.v1.checkout.sessions.create_async(params, options)
        )
        return str(session.url)

    async def create_setup_intent(self, addition: Addition) -> str:
        """The secret with which the shop's own form saves a payment method."""
        options = {"idempotency_key": key_of("si", "add", addition)}
        params = dict(addition.stripe_request)
        intent = await self.stripe.call(
            "setup_intents.create", lambda: self.stripe.v1.setup_intents.create_async(params, options)
        )
        return str(intent.client_secret)

    async def cancel_setup_intent(self, setup_intent: str) -> None:
        """Nothing is saved with it any more. Repeating it is harmless.

        Raises:
            StripeRefused: it has ended, or belongs to a page of Stripe's.
        """
        await self.stripe.call("setup_intents.cancel", lambda: self.stripe.v1.setup_intents.cancel_async(setup_intent))

    async def retrieve_method(self, method_id: str) -> Method | None:
        """The payment method as it is now; None when Stripe knows none."""
        try:
            found = await self.stripe.call(
                "payment_methods.retrieve", lambda: self.stripe.v1.payment_methods.retrieve_async(method_id)
            )
        except StripeRefused as refusal:
            if refusal.code != "resource_missing":
                raise
            return None
        return method_in(wire.PaymentMethod.model_validate(found.to_dict()))

    async def detach_method(self, method_id: str) -> Method | None:
        """Take the method from its customer, and return it as it is afterwards. Repeating it is harmless: what was
        detached before is refused, and looked at instead."""
        try:
            found = await self.stripe.call(
                "payment_methods.detach", lambda: self.stripe.v1.payment_methods.detach_async(method_id)
            )
        except StripeRefused:
            return await self.retrieve_method(method_id)
        return method_in(wire.PaymentMethod.model_validate(found.to_dict()))


def method_in(method: wire.PaymentMethod) -> Method:
    """What is kept of a payment method."""
    card = method.card
    accounts = (method.us_bank_account, method.sepa_debit, method.bacs_debit, method.acss_debit, method.au_becs_debit)
    account = next((account for account in accounts if account is not None), None)
    return Method(
        id=method.id,
        customer=method.customer,
        type=method.type,
        brand=card.brand if card else None,
        last4=card.last4 if card else account.last4 if account else None,
        exp_month=card.exp_month if card else None,
        exp_year=card.exp_year if card else None,
        bank_name=account.bank_name if account else None,
        wallet=card.wallet.type if card and card.wallet else None,
        added_at=datetime.fromtimestamp(method.created, UTC),
    )


def named_order(metadata: Mapping[str, str] | None) -> UUID | None:
    """The order that an object of Stripe's names, as we wrote it there."""
    text = (metadata or {}).get("order_id")
    try:
        return parse_external_id("ord", text) if text else None
    except ValueError:
        return None


def session_seen(value: Mapping[str, Any], *, failed: bool = False) -> SessionSeen:  # Any: Stripe's own shape
    """The fact that a session object asserts."""
    return seen_in(wire.CheckoutSession.model_validate(value), failed=failed)


def seen_in(session: wire.CheckoutSession, *, failed: bool = False) -> SessionSeen:
    """The fact that a session asserts."""
    totals = session.total_details or wire.SessionTotals()
    details = session.customer_details
    collected = session.collected_information
    shipping = collected.shipping_details if collected else None
    address = shipping.address.model_dump() | {"name": shipping.name} if shipping and shipping.address else None
    return SessionSeen(
        session_id=session.id,
        status=session.status or "open",
        payment_status=session.payment_status,
        payment_intent=session.payment_intent,
        currency=session.currency,
        subtotal_minor=session.amount_subtotal or 0,
        discount_minor=totals.amount_discount,
        tax_minor=totals.amount_tax,
        shipping_minor=totals.amount_shipping or 0,
        total_minor=session.amount_total or 0,
        failed=failed,
        email=details.email if details else None,
        name=details.name if details else None,
        address=address,
        presentment=_presentment(session.presentment_details),
        chosen_way=_chosen_way(session),
    )


def _chosen_way(session: wire.CheckoutSession) -> int | None:
    """The place of the chosen way to ship; None where it is the first, as the release before kept it."""
    rates = [offered.shipping_rate for offered in session.shipping_options or ()]
    chosen = session.shipping_cost.shipping_rate if session.shipping_cost else None
    return rates.index(chosen) or None if chosen is not None and chosen in rates else None


def _presentment(details: wire.PresentmentDetails | None) -> dict[str, object] | None:
    if details is None:
        return None
    return {"amount_minor": details.presentment_amount, "currency": details.presentment_currency}
