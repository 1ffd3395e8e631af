"""Orders that are paid with a saved method: which one, and how far its charge has come. Pure.

Their payment intent is charged without its owner first. Where the bank wants him, it is confirmed once more with him.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from checkout.decide import retrying
from checkout.decide.methods import Shown, listed
from checkout.model.carts import Quote
from checkout.model.customers import Saved
from checkout.model.delivery import Recipient, TaxSource
from checkout.model.facts import EndAsked, Fact, GivenUp, IntentDeclined, IntentFetched, IntentSucceeded, OrderEnded
from checkout.model.orders import Order
from payments_shared.errors import Refused

DEBITED_IN: Final[Mapping[str, frozenset[str]]] = {
    "acss_debit": frozenset({"cad", "usd"}),
    "au_becs_debit": frozenset({"aud"}),
    "bacs_debit": frozenset({"gbp"}),
    "sepa_debit": frozenset({"eur"}),
    "us_bank_account": frozenset({"usd"}),
}
"""Currencies of accounts that are debited; a card takes any.

Source: Stripe, "Payment method integration options", currency support.
"""


BY_CREDIT: Final = "store_credit"
BY_NOBODY: Final = "nothing_due"
"""What stands in the place of an intent where there is none."""


def check(quote: Quote, recipient: Recipient | None) -> None:
    """Refuse what cannot be bought without a page, on which an address is typed.

    Raises:
        Refused: 409 `one_click_not_offered`.
    """
    if quote.delivery is not None and recipient is None:
        raise Refused("one_click_not_offered", "Say where the goods shall go, or let them be bought on a page.")
    if quote.tax.source is TaxSource.STRIPE:
        raise Refused("one_click_not_offered", "Stripe finds the tax of this order on a page.")


def check_total(quote: Quote, expected_minor: int | None) -> None:
    """Refuse what comes to something else than its buyer was shown: there is no page on which he would see it.

    Raises:
        Refused: 409 `total_changed`.
    """
    if expected_minor is not None and expected_minor != quote.total_minor:
        detail = "The order comes to something else now; show the customer what."
        raise Refused("total_changed", detail, extra={"total_minor": quote.total_minor, "currency": quote.currency})


def chosen(methods: Sequence[Saved], default: str | None, method_id: str | None, currency: str, now: datetime) -> Saved:
    """The method to charge: the one that is named, else the default.

    Raises:
        Refused: 404: it is not his. 409 `no_payment_method`, `payment_method_expired`,
            `payment_method_not_in_currency`.
    """
    offered = listed(methods, default, now)
    found = _named(offered, method_id) if method_id is not None else next((one for one in offered if one.default), None)
    if found is None:
        raise Refused("no_payment_method", "There is no saved payment method to pay with.")
    if found.expired:
        raise Refused("payment_method_expired", "The payment method has expired; choose or save another.")
    if currency not in DEBITED_IN.get(found.saved.method.type or "", {currency}):
        raise Refused("payment_method_not_in_currency", f"The payment method does not pay in {currency}.")
    return found.saved


def _named(offered: Sequence[Shown], method_id: str) -> Shown:
    for one in offered:
        if one.saved.method.id == method_id:
            return one
    raise Refused("not_found", "There is no such payment method.", status=404)


@dataclass(frozen=True, slots=True)
class Charged:
    """Money that an intent took for an order which has no page. Only the total was asked for, so only that is compared;
    what it is made of is the order's. `parts`: the intents that took it and how much each, where that were several; the
    first one stands for all. `payment_intent` None: store credit paid all of it, and `total_minor` is 0."""

    payment_intent: str | None
    currency: str
    subtotal_minor: int
    discount_minor: int
    tax_minor: int
    shipping_minor: int
    total_minor: int
    parts: tuple[tuple[str, int], ...] = ()
    session_id: str = ""
    name: None = None
    address: Mapping[str, str | None] | None = None
    presentment: None = None


def charged(order: Order, capture: IntentSucceeded) -> Charged:
    """What `capture` is to `order`."""
    return Charged(
        payment_intent=capture.payment_intent,
        currency=capture.currency,
        subtotal_minor=order.subtotal_minor,
        discount_minor=order.discount_minor,
        tax_minor=order.tax_minor,
        shipping_minor=order.shipping_minor,
        total_minor=capture.amount_minor,
        address=_address_in(order.stripe_request),
    )


def _address_in(request: Mapping[str, Any]) -> Mapping[str, str | None] | None:  # Any: Stripe's parameters, nested
    """Where a stored request has the goods sent, as a page would tell it."""
    shipping = request.get("create", request).get("shipping")
    return {**shipping["address"], "name": shipping["name"]} if shipping else None


def covered(order: Order) -> Charged:
    """What pays an order of which Stripe is asked for nothing: store credit, or nobody."""
    return Charged(
        payment_intent=None,
        currency=order.currency,
        subtotal_minor=order.subtotal_minor,
        discount_minor=order.discount_minor,
        tax_minor=order.tax_minor,
        shipping_minor=order.shipping_minor,
        total_minor=0,
        session_id=BY_CREDIT if order.store_credit_minor else BY_NOBODY,
        address=_address_in(order.stripe_request),
    )


@dataclass(frozen=True, slots=True)
class Charge:
    """How far the charge of an order has come. `on_its_way`: a debit was sent. `closed`: its intent was canceled at
    Stripe, and nobody can pay it any more. `refusals` are the declines after which no owner can help. `retried`: soft
    ones are followed by another attempt, and `gives_up`: no more; `for_good`: by the bank's word, or by ours where its
    buyer had not wanted an end before. `unwanted`: somebody ended the order, or wants to."""

    intent: str | None = None
    on_its_way: bool = False
    closed: bool = False
    refusals: tuple[IntentDeclined, ...] = ()
    retried: bool = False
    gives_up: bool = False
    for_good: bool = False
    unwanted: bool = False

    @property
    def failed(self) -> bool:
        """The money will not come, by the bank's word and not by time or anybody's wish."""
        return self.closed and (self.for_good or self.on_its_way)

    @property
    def waits(self) -> bool:
        """The method is to be charged again, by itself."""
        return bool(self.refusals) and not (self.gives_up or self.closed or self.unwanted)


NO_CHARGE: Final = Charge()


def charge_of(order: Order, known: Iterable[Fact]) -> Charge:
    """The charge of an order that is paid with a saved method; nothing for one that has a page."""
    if order.saved_method is None:
        return NO_CHARGE
    facts = tuple(known)
    fetched = {(fact.payment_intent, fact.status) for fact in facts if isinstance(fact, IntentFetched)}
    declined = (fact for fact in facts if isinstance(fact, IntentDeclined) and not fact.asks_for_owner)
    refusals = tuple(sorted(declined, key=lambda fact: fact.key))
    wished = any(isinstance(fact, EndAsked) for fact in facts)
    refused = retrying.is_refused(order, facts, refusals)
    gives_up = refused or (bool(refusals) and any(isinstance(fact, GivenUp) for fact in facts))
    return Charge(
        intent=order.stripe_payment_intent,
        on_its_way=any(status == "processing" for _, status in fetched),
        closed=(order.stripe_payment_intent, "canceled") in fetched,
        refusals=refusals,
        retried=bool(order.retry_seconds),
        gives_up=gives_up,
        for_good=refused or (gives_up and not wished),
        unwanted=wished or any(isinstance(fact, OrderEnded) for fact in facts),
    )


def to_close(charge: Charge, *, ended: bool, paid: bool) -> tuple[str, ...]:
    """Why the intent must be canceled at Stripe, as `<intent>:<reason>`: for each refusal, since nobody is there to try
    another method, or once where it was tried again; and for the order's end. Nothing when it took money, or is
    canceled."""
    if charge.intent is None or charge.closed or paid:
        return ()
    refused = ["given_up"] if charge.retried else [refusal.charge for refusal in charge.refusals]
    reasons = (refused if charge.gives_up else []) + (["ended"] if ended else [])
    return tuple(f"{charge.intent}:{reason}" for reason in reasons)
