"""What Stripe is asked for. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from checkout.decide.crediting import off_quote
from checkout.decide.delivering import behavior, delivery_params, tax_lines, tax_params
from checkout.decide.paging import page_params
from checkout.model.carts import PricedLine, Quote
from checkout.model.customers import Method
from checkout.model.delivery import TaxSource
from checkout.model.options import PageRules
from checkout.model.orders import Placement
from payments_shared.ids import external_id


def session_of(
    order_id: UUID, quote: Quote, wanted: Placement, origin: str, expires_at: datetime, *, rules: PageRules
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """The exact parameters of the session. They are stored, so that every repetition under the key is the same.

    Source: Stripe API, "Create a Checkout Session".
    """
    name = external_id("ord", order_id)
    params: dict[str, Any] = {
        "mode": "payment",
        "client_reference_id": name,
        "currency": quote.currency,
        "line_items": [*(_line(line, quote) for line in quote.lines), *tax_lines(quote)],
        "success_url": _joined(origin, wanted.success_path, name),
        "cancel_url": _joined(origin, wanted.cancel_path, name),
        "expires_at": int(expires_at.timestamp()),
        "metadata": {**wanted.page.metadata, "order_id": name},
        "payment_intent_data": {"metadata": {**wanted.page.metadata, "order_id": name}},
        **_buyer(wanted),
        **delivery_params(quote),
        **tax_params(quote, known_customer=wanted.customer is not None),
        **page_params(wanted.page, quote, rules, wanted.delivery.destination),
    }
    if quote.discount_minor or off_quote(quote).lines_minor:
        params["discounts"] = [{"coupon": name}]
    return params


def _line(line: PricedLine, quote: Quote) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    return {
        "quantity": line.quantity,
        "price_data": {
            "currency": quote.currency,
            "unit_amount": line.unit_amount_minor,
            "product_data": {
                "name": line.name,
                "metadata": {"sku": line.sku},
                **({"tax_code": line.tax_code} if line.tax_code else {}),
            },
            **({"tax_behavior": behavior(quote.tax)} if quote.tax.source is TaxSource.STRIPE else {}),
        },
    }


def charge_of(
    order_id: UUID, quote: Quote, method: Method, wanted: Placement, origin: str
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """The exact parameters of a saved method's charge (`create`), and of its confirmation by the buyer where his bank
    asks for him (`confirm`); and of another attempt without him (`retry`).

    Source: Stripe API, "Create a PaymentIntent", "Confirm a PaymentIntent".
    """
    name = external_id("ord", order_id)
    return {
        "create": {
            "amount": quote.due_minor,
            "currency": quote.currency,
            "customer": method.customer,
            "payment_method": method.id,
            "payment_method_types": [method.type],
            "off_session": True,
            "confirm": True,
            "metadata": {"order_id": name},
            **_parcel(quote, wanted),
        },
        "retry": {"payment_method": method.id, "off_session": True},
        "confirm": {"payment_method": method.id, "return_url": _joined(origin, wanted.success_path, name)},
    }


def with_owner(
    request: Mapping[str, Any], secured: Mapping[str, Any]
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """The request of a charge that its owner has to confirm, with what is asked of his bank in `secured`: he is there
    from the beginning."""
    create = {name: value for name, value in secured.items() if name != "off_session"}
    return {**request, "create": {**create, "return_url": request["confirm"]["return_url"]}}


def _parcel(quote: Quote, wanted: Placement) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    recipient = wanted.one_click.recipient if wanted.one_click else None
    if quote.delivery is None or recipient is None:
        return {}
    place = wanted.delivery.destination
    given = {
        "line1": recipient.line1,
        "line2": recipient.line2,
        "city": recipient.city,
        "postal_code": recipient.postal_code,
        "state": place.region,
        "country": place.country,
    }
    return {"shipping": {"name": recipient.name, "address": {part: text for part, text in given.items() if text}}}


def covered(
    order_id: UUID, quote: Quote, wanted: Placement, origin: str
) -> dict[str, Any]:  # Any: as of the others, though Stripe is never asked for it
    """What is kept in the place of a request by an order of which nothing is left to pay: where its buyer goes from
    here, and his goods, and the shop's metadata."""
    name = external_id("ord", order_id)
    return {
        "success_url": _joined(origin, wanted.success_path, name),
        "cancel_url": _joined(origin, wanted.cancel_path, name),
        "metadata": {**wanted.page.metadata, "order_id": name},
        **_parcel(quote, wanted),
    }


def split_of(
    order_id: UUID, quote: Quote, parts: Sequence[tuple[Method, int]], wanted: Placement
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """The exact parameters of the intents of a payment that is split: both are authorized first (`legs`).

    Source: Stripe API, "Create a PaymentIntent", `capture_method`.
    """
    name = external_id("ord", order_id)
    legs = [
        {
            "amount": amount_minor,
            "currency": quote.currency,
            "customer": method.customer,
            "payment_method": method.id,
            "payment_method_types": [method.type],
            "capture_method": "manual",
            "off_session": True,
            "confirm": True,
            "metadata": {"order_id": name, "leg": str(number)},
            **_parcel(quote, wanted),
        }
        for number, (method, amount_minor) in enumerate(parts)
    ]
    return {"create": legs[0], "legs": legs}


def customer_in(request: Mapping[str, Any]) -> str:  # Any: Stripe's parameters, nested
    """The customer that a stored request names."""
    return str(request.get("create", request)["customer"])


def _buyer(wanted: Placement) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """Stripe takes a customer or an address. A customer is offered what he saved, and may save what he pays with."""
    if wanted.customer is None:
        return {"customer_email": wanted.email}
    return {"customer": wanted.customer, "saved_payment_method_options": {"payment_method_save": "enabled"}}


def saving_page(
    customer: str, currency: str, *, success_url: str, cancel_url: str
) -> dict[str, Any]:  # Any: Stripe's parameters
    """The parameters of a session that saves a payment method. Stripe chooses the kinds that suit `currency`.

    Source: Stripe API, "Create a Checkout Session", `mode` setup.
    """
    return {
        "mode": "setup",
        "customer": customer,
        "currency": currency,
        "success_url": success_url,
        "cancel_url": cancel_url,
    }


def saving_intent(customer: str) -> dict[str, Any]:  # Any: Stripe's parameters
    """The parameters of a setup intent for a form of the shop's own. Stripe chooses the kinds that the form offers."""
    return {"customer": customer}


def _joined(origin: str, path: str, order_name: str) -> str:
    url = origin + path if path.startswith("/") else path
    return f"{url}{'&' if '?' in path else '?'}order_id={order_name}"
