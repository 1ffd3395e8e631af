"""The amounts of a session in our own terms. Pure.

Tax by the shop's table is charged as lines of the session, since Stripe then rounds nothing; for us it is tax. And of a
session with Stripe Tax, what is contained in the prices is no part of the sum. Store credit is taken off the lines and
the ways to ship there; for us the total is what it was, and Stripe took the rest of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checkout.decide.charging import Charged
from checkout.decide.crediting import off_order, own_tax
from checkout.model.delivery import TaxSource
from checkout.model.facts import SessionSeen
from checkout.model.orders import Order


@dataclass(frozen=True, slots=True)
class Totals:
    """Minor units; `tax_minor` is what comes on top of the prices."""

    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    shipping_minor: int
    total_minor: int

    @property
    def adds_up(self) -> bool:
        return self.subtotal_minor - self.discount_minor + self.tax_minor + self.shipping_minor == self.total_minor


def tax_of(order: Order, settled: SessionSeen | Charged) -> Mapping[str, Any] | None:  # Any: jsonb
    """What the order keeps of its tax once `settled` has paid it: what Stripe Tax found in its prices, too, and
    `elsewhere`, the place that was typed on the page, when the table was asked for another."""
    if order.tax is None or isinstance(settled, Charged):
        return order.tax
    found: dict[str, Any] = {}
    if order.tax.get("inclusive"):
        found["included_minor"] = settled.tax_minor
    if order.tax.get("source") == TaxSource.TABLE and (place := _other_place(order.tax, settled.address)) is not None:
        found["elsewhere"] = place
    return {**order.tax, **found}


def _other_place(tax: Mapping[str, Any], address: Mapping[str, str | None] | None) -> dict[str, str | None] | None:
    """Where `address` is, unless the tax was counted for it; what was not said differs from nothing."""
    if address is None:
        return None
    place = {"country": address.get("country"), "region": address.get("state")}
    same = all(tax.get(part) in (None, place[part]) for part in place)
    return None if same else place


def totals_of(order: Order, settled: SessionSeen | Charged) -> Totals:
    """What `settled`, a session of `order` or the charge of its saved method, says was paid for."""
    if isinstance(settled, Charged):
        return Totals(
            settled.subtotal_minor,
            settled.discount_minor,
            settled.tax_minor,
            settled.shipping_minor,
            settled.total_minor + order.store_credit_minor,
        )
    tax, own, credit = order.tax or {}, own_tax(order.tax), off_order(order)
    contained = settled.tax_minor if tax.get("inclusive") else 0
    return Totals(
        subtotal_minor=settled.subtotal_minor - own,
        discount_minor=settled.discount_minor - credit.lines_minor,
        tax_minor=settled.tax_minor - contained + own,
        shipping_minor=settled.shipping_minor + credit.shipping_minor,
        total_minor=settled.total_minor + order.store_credit_minor,
    )


def billed(order: Order, settled: SessionSeen | Charged) -> Totals:
    """The amounts that `order.paid` tells, which add up to what was paid. Where a person let something else pass than
    was asked for, the goods cost what tax and shipping leave of that, and the discount is the order's."""
    paid = totals_of(order, settled)
    shipping = min(paid.shipping_minor, paid.total_minor)
    tax = min(paid.tax_minor, paid.total_minor - shipping)
    goods = paid.total_minor - shipping - tax
    return Totals(goods + order.discount_minor, order.discount_minor, tax, shipping, paid.total_minor)
