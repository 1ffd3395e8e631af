"""The outward doors of checkout: the stock hold at inventory, Stripe, and exchange rates."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID
from xml.etree import ElementTree as ET

import aiohttp
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from checkout.model.carts import Rates
from checkout.model.customers import Addition, Customer, Method
from checkout.model.facts import IntentFetched, IntentSucceeded, SessionSeen
from checkout.model.orders import Order
from payments_shared import tracing
from payments_shared.auth import ServiceTokens
from payments_shared.contracts import stripe as wire
from payments_shared.errors import Refused, Retryable
from payments_shared.ids import external_id, parse_external_id
from payments_shared.money import SUPPORTED
from payments_shared.stripe_client import Stripe, StripeRefused

HOLD_TIMEOUT_SECONDS: Final = 5.0
FEED_TIMEOUT_SECONDS: Final = 20.0
FEED_BYTES_MAX: Final = 100_000
RATE_MIN: Final = Decimal("1e-9")

_CUBE: Final = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"


class HoldUnknown(Retryable):
    """Inventory did not answer: the hold may or may not exist."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The one internal call between services."""

    http: aiohttp.ClientSession
    url: str
    tokens: ServiceTokens

    async def hold(self, order_id: UUID, lines: Sequence[tuple[str, int]], expires_at: datetime) -> None:
        """Hold stock for the order; repeating it is harmless.

        Raises:
            Refused: 409 `out_of_stock` with `available`, or `reservation_closed`.
            HoldUnknown: no answer, or one that says nothing about the hold.
        """
        body = {
            "order_id": external_id("ord", order_id),
            "expires_at": expires_at.isoformat(),
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        }
        headers = {"Authorization": f"Bearer {self.tokens.token()}"} | tracing.carried()
        try:
            async with (
                asyncio.timeout(HOLD_TIMEOUT_SECONDS),
                self.http.post(f"{self.url}/internal/reservations", json=body, headers=headers) as answer,
            ):
                status, content = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HoldUnknown("inventory_unavailable", "Stock could not be checked.") from error
        if status in (200, 201):
            return
        if status == 409 and (refusal := _refusal(content)) is not None:
            raise refusal
        raise HoldUnknown("inventory_unavailable", f"Stock could not be checked ({status}).")


def _refusal(content: bytes) -> Refused | None:
    """What inventory said no with; None for a 409 of somebody between us, which says nothing about the hold."""
    try:
        problem = json.loads(content)
        extra = {"available": problem["available"]} if "available" in problem else {}
        return Refused(problem["code"], problem["detail"], extra=extra)
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Payments:
    """Stripe, in our words."""

    stripe: Stripe

    async def create_discount(self, order: Order) -> None:
        """A coupon at Stripe of exactly our discount, for this order alone. Repeating it is harmless."""
        params = {
            "id": external_id("ord", order.id),
            "amount_off": order.discount_minor,
            "currency": order.currency,
            "duration": "once",
            "max_redemptions": 1,
            "name": (order.coupon or "Discount")[:40],
        }
        options = {"idempotency_key": _key("cp", "ord", order)}
        try:
            await self.stripe.call("coupons.create", lambda: self.stripe.v1.coupons.create_async(params, options))
        except StripeRefused as refusal:
            if refusal.code != "resource_already_exists":
                raise

    async def create_session(self, order: Order) -> tuple[str, str | None]:
        """The order's session, its id and URL. The same request under the same key, however often it is sent."""
        options = {"idempotency_key": _key("co", "ord", order)}
        params = dict(order.stripe_request)
        session = await self.stripe.call(
            "checkout.sessions.create", lambda: self.stripe.v1.checkout.sessions.create_async(params, options)
        )
        return session.id, session.url

    async def find_session(self, order: Order) -> tuple[str, str | None] | None:
        """The order's session among those made since the order, when a create's answer is lost for good."""
        params: dict[str, Any] = {"limit": 100, "created": {"gte": int(order.created_at.timestamp()) - 60}}
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
        options = {"idempotency_key": _key("cu", "cst", customer)}
        made = await self.stripe.call(
            "customers.create", lambda: self.stripe.v1.customers.create_async(params, options)
        )
        return str(made.id)

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
        options = {"idempotency_key": _key("sp", "add", addition)}
        params = dict(addition.stripe_request)
        session = await self.stripe.call(
            "checkout.sessions.create", lambda: self.stripe.v1.checkout.sessions.create_async(params, options)
        )
        return str(session.url)

    async def create_setup_intent(self, addition: Addition) -> str:
        """The secret with which the shop's own form saves a payment method."""
        options = {"idempotency_key": _key("si", "add", addition)}
        params = dict(addition.stripe_request)
        intent = await self.stripe.call(
            "setup_intents.create", lambda: self.stripe.v1.setup_intents.create_async(params, options)
        )
        return str(intent.client_secret)

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


@dataclass(frozen=True, slots=True)
class RateFeed:
    """The euro's reference rates, as the European Central Bank publishes them each working day.

    Source: ECB, "Euro foreign exchange reference rates", the daily XML.
    """

    http: aiohttp.ClientSession
    url: str

    async def fetch(self) -> Rates:
        """The newest rates.

        Raises:
            Retryable: no answer, or none that is rates.
        """
        try:
            async with asyncio.timeout(FEED_TIMEOUT_SECONDS), self.http.get(self.url) as answer:
                answer.raise_for_status()
                raw = b""
                async for chunk in answer.content.iter_any():
                    raw += chunk
                    if len(raw) > FEED_BYTES_MAX:
                        break
            return _rates(raw, urlsplit(self.url).hostname or "")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retryable("rates_unavailable", "Exchange rates could not be fetched.") from error
        except (ValueError, LookupError, ArithmeticError, ET.ParseError, DefusedXmlException) as error:
            raise Retryable("rates_unavailable", "What was fetched is no exchange rates.") from error


def _rates(raw: bytes, source: str) -> Rates:
    """Rates from the daily XML: `<Cube time="2026-05-01"><Cube currency="USD" rate="1.0832"/>…`."""
    if len(raw) > FEED_BYTES_MAX:
        raise ValueError("too long")
    root = fromstring(raw)
    days = [cube for cube in root.iter(_CUBE) if "time" in cube.attrib]
    if len(days) != 1:
        raise ValueError("not the rates of one day")
    per_euro = {cube.attrib["currency"].lower(): Decimal(cube.attrib["rate"]) for cube in days[0] if cube.tag == _CUBE}
    if not per_euro or not all(rate.is_finite() and RATE_MIN < rate < 1 / RATE_MIN for rate in per_euro.values()):
        raise ValueError("a rate is no rate")
    day = date.fromisoformat(days[0].attrib["time"])
    return Rates(day, source, {currency: rate for currency, rate in per_euro.items() if currency in SUPPORTED})


def _key(kind: str, prefix: str, wanted: Order | Customer | Addition) -> str:
    """The same for every repetition, and another once Stripe has kept a failure under it."""
    suffix = f"_{wanted.stripe_attempt}" if wanted.stripe_attempt else ""
    return f"{kind}_{external_id(prefix, wanted.id)}{suffix}"


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
    )


def _presentment(details: wire.PresentmentDetails | None) -> dict[str, object] | None:
    if details is None:
        return None
    return {"amount_minor": details.presentment_amount, "currency": details.presentment_currency}
