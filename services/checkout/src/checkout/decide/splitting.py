"""An order that is paid with two saved methods: both are authorized, then the first is captured, then the second. Pure.

Once a method is refused, or the order is not wanted any more, nothing more is taken: what is authorized is canceled at
Stripe, and what was captured goes back when the other part can never be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from checkout.decide.charging import Charge, Charged, charged
from checkout.model.customers import Saved
from checkout.model.facts import (
    EndAsked,
    Fact,
    GivenUp,
    IntentAuthorized,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    OrderEnded,
)
from checkout.model.orders import Order, State
from checkout.model.splits import Part, Split, Standing
from payments_shared.errors import Refused
from payments_shared.money import Money, NotChargeable, check_chargeable

SPLIT_BY: Final = frozenset({"card"})
"""Kinds of methods that can be authorized before they are captured.

Source: Stripe, "Place a hold on a payment method".
"""
_OPEN: Final = frozenset({Standing.AUTHORIZED, Standing.REFUSED})


@dataclass(frozen=True, slots=True)
class Step:
    """What is done next at Stripe for the part number `leg`: `find`, `authorize`, `capture` or `cancel`."""

    act: str
    leg: int


def amounts_of(parts: Sequence[Part], total_minor: int, currency: str) -> tuple[int, ...]:
    """How much each part pays of the total, which is what store credit leaves.

    Raises:
        Refused: 422 `split_not_total`, `split_part_too_small`, with what is due.
    """
    due = {"amount_due_minor": total_minor, "currency": currency}
    named = sum(part.amount_minor or 0 for part in parts)
    amounts = tuple(total_minor - named if part.amount_minor is None else part.amount_minor for part in parts)
    if sum(amounts) != total_minor:
        raise Refused("split_not_total", f"The parts must be {total_minor} in all.", status=422, extra=due)
    for amount in amounts:
        try:
            check_chargeable(Money(amount, currency), maximum_minor=total_minor)
        except NotChargeable as error:
            detail = "A part is too small to be charged, or cannot be paid to the unit."
            raise Refused("split_part_too_small", detail, status=422, extra=due) from error
    return amounts


def check_methods(chosen: Sequence[Saved]) -> None:
    """Refuse methods that cannot pay a part each.

    Raises:
        Refused: 422 `split_same_method`; 409 `payment_method_not_splittable`.
    """
    if len({one.method.id for one in chosen}) < len(chosen):
        raise Refused("split_same_method", "Two parts are paid with two methods.", status=422)
    if any(one.method.type not in SPLIT_BY for one in chosen):
        raise Refused("payment_method_not_splittable", "Only cards can pay a part of an order.")


def refused_method(split: Split | None) -> str | None:
    """The method for which a split payment did not come about."""
    legs = split.legs if split else ()
    return next((leg.method for leg in legs if leg.refused), None)


def next_step(split: Split) -> Step | None:
    """What is to be done at Stripe for a split payment; None when nothing is. Whoever repeats it does no harm."""
    legs = list(enumerate(split.legs))
    if split.releasing:
        unknown = (Step("find", n) for n, leg in legs if leg.standing is Standing.NEW and leg.asked)
        still = (Step("cancel", n) for n, leg in legs if leg.standing in _OPEN)
        return next(unknown, None) or next(still, None)
    new = next((Step("authorize", n) for n, leg in legs if leg.standing is Standing.NEW), None)
    return new or next((Step("capture", n) for n, leg in legs if leg.standing is Standing.AUTHORIZED), None)


def may_be_given_up(order: Order) -> bool:
    """Whether it is ours to decide that the payment does not come about: not once both parts are authorized, and not
    where what is authorized is released for another reason."""
    return order.state is State.PENDING and order.split is not None and not order.split.releasing


def adopting(order: Order, fact: Fact) -> Order:
    """The order with the slot of a part filled: the event may have overtaken the answer of our own request. Each fact
    of an intent names its part."""
    if order.split is None or not isinstance(fact, IntentAuthorized | IntentDeclined | IntentFetched | IntentSucceeded):
        return order
    legs = order.split.legs
    number = fact.leg
    if number is None or number >= len(legs) or legs[number].payment_intent is not None:
        return order
    filled = replace(legs[number], payment_intent=fact.payment_intent)
    split = replace(order.split, legs=(*legs[:number], filled, *legs[number + 1 :]))
    first = fact.payment_intent if number == 0 else order.stripe_payment_intent
    return replace(order, split=split, stripe_payment_intent=first)


def folded(order: Order, known: Sequence[Fact]) -> Split | None:
    """How far each part has come; None for an order that is paid at once."""
    if order.split is None:
        return None
    declined = {fact.payment_intent for fact in known if isinstance(fact, IntentDeclined)}
    legs = tuple(
        replace(leg, standing=_standing(leg.payment_intent, known), refused=leg.payment_intent in declined)
        for leg in order.split.legs
    )
    ended = any(isinstance(fact, EndAsked | OrderEnded | GivenUp) for fact in known)
    fails = any(leg.standing in (Standing.REFUSED, Standing.CLOSED) for leg in legs)
    taken = all(leg.standing is Standing.CAPTURED for leg in legs)
    return Split(legs, releasing=(ended or fails) and not taken)


def _standing(intent: str | None, known: Iterable[Fact]) -> Standing:
    """The strongest that is known of a part's intent. Captured and canceled are for good, and never both."""
    told = {_asserted(fact) for fact in known if getattr(fact, "payment_intent", None) == intent}
    order = (Standing.CAPTURED, Standing.CLOSED, Standing.REFUSED, Standing.AUTHORIZED)
    return next((standing for standing in order if standing in told), Standing.NEW)


def _asserted(fact: Fact) -> Standing:
    match fact:
        case IntentSucceeded():
            return Standing.CAPTURED
        case IntentFetched(status="canceled"):
            return Standing.CLOSED
        case IntentFetched(status="processing"):
            return Standing.NEW  # what comes of it is said later
        case IntentDeclined() | IntentFetched():
            return Standing.REFUSED
        case IntentAuthorized():
            return Standing.AUTHORIZED
        case _:
            return Standing.NEW


def charge_of(order: Order, split: Split, known: Sequence[Fact]) -> Charge:
    """How far the charge of a split payment has come. From when both parts are authorized its money is on its way, and
    nobody can wish its end; where its buyer did before, what is told of the parts later is as if it never was."""
    intents = {leg.payment_intent for leg in split.legs}
    authorized = {fact.payment_intent for fact in known if isinstance(fact, IntentAuthorized | IntentSucceeded)}
    wished = any(isinstance(fact, EndAsked) for fact in known)
    refusals = tuple(
        sorted(
            (fact for fact in known if isinstance(fact, IntentDeclined) and fact.payment_intent in intents),
            key=lambda fact: fact.key,
        )
    )
    gives_up = bool(refusals) or any(isinstance(fact, GivenUp) for fact in known)
    return Charge(
        intent=order.stripe_payment_intent,
        on_its_way=not wished and None not in intents and intents <= authorized,
        closed=any(leg.standing is Standing.CLOSED for leg in split.legs),
        refusals=refusals,
        gives_up=gives_up,
        for_good=gives_up and not wished,
        unwanted=wished or any(isinstance(fact, OrderEnded) for fact in known),
    )


def to_close(split: Split, known: Sequence[Fact]) -> tuple[str, ...]:
    """The intents that must be canceled at Stripe, as `<intent>:release`: those of the parts once they are released,
    and one that was authorized beside them, as where Stripe made it in spite of an error, at any time."""
    opened = [leg.payment_intent for leg in split.legs if split.releasing and leg.standing in _OPEN]
    parts = {leg.payment_intent for leg in split.legs}
    beside = {fact.payment_intent for fact in known if isinstance(fact, IntentAuthorized)} - parts
    stray = (intent for intent in sorted(beside) if _standing(intent, known) is Standing.AUTHORIZED)
    return tuple(f"{intent}:release" for intent in (*opened, *stray))


def paid_together(order: Order, split: Split, captures: dict[str, IntentSucceeded]) -> list[Charged]:
    """The money of both parts as one payment; nothing before both were captured."""
    taken = [captures[leg.payment_intent] for leg in split.legs if leg.payment_intent in captures]
    if len(taken) < len(split.legs):
        return []
    total = sum(capture.amount_minor for capture in taken)
    currencies = {capture.currency for capture in taken}
    whole = IntentSucceeded(taken[0].payment_intent, total, currencies.pop() if len(currencies) == 1 else "")
    parts = tuple((capture.payment_intent, capture.amount_minor) for capture in taken)
    return [replace(charged(order, whole), parts=parts)]


def stranded(split: Split, captures: Iterable[str]) -> tuple[str, ...]:
    """Intents among `captures`, all that took money, that took it while a part can never be taken: it goes back."""
    return tuple(sorted(captures)) if any(leg.standing is Standing.CLOSED for leg in split.legs) else ()
