"""What requests say of delivery and store credit, and how these and tax are shown. Shared by the doors that price a
cart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from checkout.model.delivery import Delivery, DeliveryWish, Destination, TaxSource
from checkout.model.delivery import Tax as PricedTax
from checkout.model.orders import Order
from checkout.routes.shapes import CreditOnOrder, ShippingChosen, Tax, TaxRateShown

REGION: Final = r"^[A-Z0-9]{1,3}$"
OPTION: Final = r"^[A-Za-z0-9_-]{1,40}$"

UseStoreCredit = Annotated[
    StrictBool,
    Field(description="Pay with the store credit of the customer who is signed in first; Stripe charges the rest."),
]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Region = Annotated[str, Field(pattern=REGION, description="ISO 3166-2 after the country: CA, BY.")]
PostalCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9 -]{1,12}$")]


class ShippingWish(BaseModel):
    """The page asks for an address: in `country` if one is named, with `option` as the only way to ship if one is."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    country: Country | None = None
    region: Region | None = None
    option: Annotated[str, Field(pattern=OPTION)] | None = None


def delivery_wish(
    country: str | None, region: str | None, postal_code: str | None, shipping: ShippingWish | None
) -> DeliveryWish:
    """The wish of a request. Where the goods go decides; where the buyer is, as long as no other country is said."""
    if shipping is None:
        return DeliveryWish(Destination(country, region, postal_code))
    if shipping.country is None:
        destination = Destination(country, shipping.region or region, postal_code)
    elif country in (None, shipping.country):
        destination = Destination(shipping.country, shipping.region or region, postal_code, "/shipping")
    else:
        destination = Destination(shipping.country, shipping.region, None, "/shipping")
    return DeliveryWish(destination, asked=True, option=shipping.option)


def shown_tax(tax: Mapping[str, Any] | None) -> Tax:  # Any: jsonb
    """Who said what tax is due, and by which rates; nobody did for orders from before tax was known."""
    kept = tax or {}
    return {
        "source": kept.get("source", TaxSource.NONE.value),
        "included_minor": kept.get("included_minor", 0),
        "elsewhere": "elsewhere" in kept,
        "rates": shown_rates(kept.get("rates", ())),
    }


def shown_way(shipping: Mapping[str, Any] | None) -> ShippingChosen | None:  # Any: jsonb
    """The way to the buyer; None where nothing is shipped."""
    return {"option": shipping["option"], "name": shipping["name"]} if shipping else None


def tax_of_quote(tax: PricedTax) -> Tax:
    """As above, of what is not ordered yet."""
    return {
        "source": tax.source.value,
        "included_minor": tax.included_minor,
        "elsewhere": False,
        "rates": shown_rates([asdict(share) for share in tax.shares]),
    }


def way_of_quote(delivery: Delivery | None) -> ShippingChosen | None:
    """The way to the buyer with which a cart is priced; None where nothing is shipped."""
    if delivery is None:
        return None
    first = delivery.offers[0] if delivery.offers else None
    return {"option": first.code, "name": first.name} if first else {"option": None, "name": None}


def shown_credit(order: Order) -> CreditOnOrder | None:
    """The part of store credit in paying an order; None where it has none."""
    if order.store_credit_state is None:
        return None
    return {"amount_minor": order.store_credit_minor, "status": order.store_credit_state}


def shown_rates(shares: Sequence[Mapping[str, Any]]) -> list[TaxRateShown]:  # Any: jsonb
    """Rates as people know them, in percent."""
    return [
        {
            "name": share["name"],
            "percent": f"{(Decimal(share['rate_millionths']) / 10_000).normalize():f}",
            "inclusive": share["inclusive"],
            "amount_minor": share["amount_minor"],
        }
        for share in shares
    ]
