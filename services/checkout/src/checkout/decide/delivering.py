"""Delivery and tax as Stripe's page is asked for them. Pure.

Source: Stripe API, "Create a Checkout Session", `shipping_options`, `shipping_address_collection`, `automatic_tax`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from checkout.decide.charging import Charged
from checkout.decide.crediting import off_quote
from checkout.model.carts import Quote
from checkout.model.delivery import Delivery, Offer, Tax, TaxShare, TaxSource
from checkout.model.facts import SessionSeen
from checkout.model.orders import Order


def delivery_params(quote: Quote) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """What the page asks for and offers, nothing where nothing is shipped."""
    if quote.delivery is None:
        return {}
    params: dict[str, Any] = {"shipping_address_collection": {"allowed_countries": list(quote.delivery.countries)}}
    if quote.delivery.offers:
        params["shipping_options"] = [_option(offer, quote) for offer in quote.delivery.offers]
    return params


def _option(offer: Offer, quote: Quote) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    data: dict[str, Any] = {
        "type": "fixed_amount",
        "display_name": offer.name,
        # What store credit pays of the cheapest way it pays of each: what is left is due, whichever is chosen.
        "fixed_amount": {"amount": offer.amount_minor - off_quote(quote).shipping_minor, "currency": quote.currency},
        "metadata": {"option": offer.code},
    }
    estimate = {
        name: {"unit": "business_day", "value": days}
        for name, days in (("minimum", offer.days_min), ("maximum", offer.days_max))
        if days
    }
    if estimate:
        data["delivery_estimate"] = estimate
    if quote.tax.source is TaxSource.STRIPE:
        data["tax_behavior"] = behavior(quote.tax)
        if offer.tax_code:
            data["tax_code"] = offer.tax_code
    return {"shipping_rate_data": data}


def way_of(order: Order, settled: SessionSeen | Charged) -> Mapping[str, Any] | None:  # Any: jsonb
    """The order's way to the buyer once `settled` has paid it: the one that he chose on the page."""
    if order.shipping is None or not isinstance(settled, SessionSeen) or settled.chosen_way is None:
        return order.shipping
    offered = order.stripe_request.get("shipping_options", [])
    if settled.chosen_way >= len(offered):
        return order.shipping
    chosen = offered[settled.chosen_way]["shipping_rate_data"]
    return {**order.shipping, "option": chosen["metadata"]["option"], "name": chosen["display_name"]}


def tax_params(quote: Quote, *, known_customer: bool) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """Stripe Tax, where it is to find the tax. A customer who is known gets the address that he types, since Stripe
    takes his place from there."""
    if quote.tax.source is not TaxSource.STRIPE:
        return {}
    params: dict[str, Any] = {"automatic_tax": {"enabled": True}}
    if known_customer:
        params["customer_update"] = {"address": "auto"} | ({"shipping": "auto"} if quote.delivery else {})
    return params


def tax_lines(quote: Quote) -> list[dict[str, Any]]:  # Any: Stripe's parameters, nested
    """Tax by the shop's own table as lines of the session, one for each rate: Stripe then has nothing to round."""
    return [
        {
            "quantity": 1,
            "price_data": {
                "currency": quote.currency,
                "unit_amount": share.amount_minor,
                "product_data": {"name": _named(share), "metadata": {"tax": "table"}},
            },
        }
        for share in quote.tax.shares
        if share.amount_minor and not share.inclusive
    ]


def _named(share: TaxShare) -> str:
    percent = (Decimal(share.rate_millionths) / 10_000).normalize()
    return f"{share.name} {percent:f} %"


def behavior(tax: Tax) -> str:
    """Whether Stripe Tax takes prices to contain their tax."""
    return "inclusive" if tax.inclusive else "exclusive"


def calculation(quote: Quote, off: tuple[int, ...], place: dict[str, str]) -> dict[str, Any]:  # Any: as above
    """What Stripe Tax is asked before there is a session. `off` is what the discount takes off each line.

    Source: Stripe API, "Create a Tax Calculation".
    """
    params: dict[str, Any] = {
        "currency": quote.currency,
        "customer_details": {"address": place, "address_source": "shipping" if quote.delivery else "billing"},
        "line_items": [
            {
                "amount": line.amount_minor - less,
                "quantity": line.quantity,
                "reference": line.sku,
                "tax_behavior": behavior(quote.tax),
                **({"tax_code": line.tax_code} if line.tax_code else {}),
            }
            for line, less in zip(quote.lines, off, strict=True)
        ],
    }
    if quote.delivery and quote.delivery.offers:
        params["shipping_cost"] = _carried(quote.delivery, quote.tax)
    return params


def _carried(delivery: Delivery, tax: Tax) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    offer = delivery.offers[0]
    cost: dict[str, Any] = {"amount": offer.amount_minor, "tax_behavior": behavior(tax)}
    return cost | ({"tax_code": offer.tax_code} if offer.tax_code else {})
