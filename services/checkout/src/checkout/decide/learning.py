"""What a new fact makes of an order. Pure; the rules are those of `order`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from checkout.decide import credit_use, declines, retrying, splitting
from checkout.decide import order as rules
from checkout.decide.delivering import way_of
from checkout.decide.order import View
from checkout.decide.totals import tax_of
from checkout.model.facts import Fact, IntentDeclined, IntentFetched, IntentSucceeded, SessionSeen
from checkout.model.orders import Order, State


@dataclass(frozen=True, slots=True)
class Account:
    """An order, every fact known of it by its key in the order of arrival, and the keys of what was said of it."""

    order: Order
    facts: Mapping[str, Fact]
    said: frozenset[str]


@dataclass(frozen=True, slots=True)
class Learned:
    """An account that knows more. `due` are the keys of what must be said now, in that order."""

    account: Account
    seen: View
    due: tuple[str, ...]


def learn(account: Account, fact: Fact, *, now: datetime, mismatch_seconds: float) -> Learned | None:
    """Add `fact`; None when it was known before, and nothing changes.

    `mismatch_seconds` is how long a payment that does not match waits for a person, from `now` on.
    """
    if fact.key in account.facts:
        return None
    order = _adopting(account.order, fact)
    if isinstance(fact, IntentDeclined):
        # Of two declines the one heard last is told: nothing else tells which is newer, and it decides nothing.
        order = replace(order, payment_problem=declines.problem_of(fact.decline_code, fact.advice_code).value)
    facts = {**account.facts, fact.key: fact}
    seen = rules.view(order, facts.values(), settled_intent=rules.settled_intent_of(account.said))
    changed = _as_seen(order, seen, now, mismatch_seconds)
    return _to_be_said(Account(changed, facts, account.said), seen)


def learn_of_refund(account: Account, refund_id: UUID, status: str, amount_minor: int, tender: str) -> Learned:
    """What a refund changes of an account, as `with_refund` says. One that gives back nothing after all may let store
    credit go back by itself, of which its buyer is told then."""
    after = with_refund(account, refund_id, status, amount_minor, tender)
    return _to_be_said(Account(after, account.facts, account.said), seen_of(account))


def _to_be_said(account: Account, seen: View) -> Learned:
    untrue = () if credit_use.is_back(account.order) else (rules.Say.CREDIT_BACK,)
    due = tuple(key for key in rules.required(seen) if key not in account.said and key not in untrue)
    return Learned(Account(account.order, account.facts, account.said | frozenset(due)), seen, due)


def seen_of(account: Account) -> View:
    """What the facts of an account add up to."""
    return rules.view(account.order, account.facts.values(), settled_intent=rules.settled_intent_of(account.said))


def _adopting(order: Order, fact: Fact) -> Order:
    """The order with its slot filled: the event may have overtaken the answer of our own request."""
    if order.split is not None:
        return splitting.adopting(order, fact)
    if order.saved_method is not None:
        if isinstance(fact, IntentSucceeded | IntentDeclined | IntentFetched) and order.stripe_payment_intent is None:
            return replace(order, stripe_payment_intent=fact.payment_intent)
    elif isinstance(fact, SessionSeen) and order.stripe_session_id is None:
        return replace(order, stripe_session_id=fact.session_id)
    return order


def _as_seen(order: Order, seen: View, now: datetime, mismatch_seconds: float) -> Order:
    settled = seen.settled
    settles = settled if seen.mismatch is None else None
    adopted = seen.totals if settles is not None and seen.totals is not None else order
    held_until = order.held_until or now + timedelta(seconds=mismatch_seconds)
    waits = seen.state is State.DECLINED and seen.charge.waits
    attempt, retry_at = retrying.next_attempt(order, len(seen.charge.refusals), now, waits=waits)
    return replace(
        order,
        state=seen.state,
        held_reason=_held_reason(order, seen),
        held_until=held_until if seen.held else order.held_until,
        dishonoured=seen.dishonoured,
        tax_minor=adopted.tax_minor,
        shipping_minor=adopted.shipping_minor,
        total_minor=adopted.total_minor,
        tax=tax_of(order, settles) if settles is not None else order.tax,
        shipping=way_of(order, settled) if settled is not None else order.shipping,
        stripe_payment_intent=(settled and settled.payment_intent) or order.stripe_payment_intent,
        presentment=(settled and settled.presentment) or order.presentment,
        paid_at=order.paid_at or (now if seen.state is State.PAID else None),
        store_credit_state=credit_use.state_after(order, seen),
        version=order.version + 1,
        retry_attempt=attempt,
        retry_at=retry_at,
        split=seen.split,
        split_open=seen.split is not None and splitting.next_step(seen.split) is not None,
    )


def _held_reason(order: Order, seen: View) -> str | None:
    """What holds the order; once all of its money is back there is nothing left to decide about a suspicion."""
    if seen.held:
        return seen.mismatch
    suspicion = seen.suspicion
    if suspicion is None or credit_use.paid_back_minor(order) >= seen.captured_minor:
        return None
    return suspicion.reason


REFUND_RANKS: Mapping[str, int] = {
    "requested": 0,
    "approved": 1,
    "succeeded": 2,
    "failed": 3,
    "rejected": 3,
    "canceled": 3,
}
SHIPMENT_RANKS: Mapping[str, int] = {"created": 0, "shipped": 1, "delivered": 2, "canceled": 3, "returned": 4}


def with_shipment(order: Order, shipment_id: UUID, status: str) -> Order:
    """The order as it is shown to the buyer, once its parcel is said to be `status`; news may come in any order."""
    if SHIPMENT_RANKS[status] < SHIPMENT_RANKS.get(order.shipment_status or "", -1):
        return order
    return replace(order, shipment_id=shipment_id, shipment_status=status)


def with_digital(order: Order, now: datetime) -> Order:
    """The order as it is shown to the buyer, once what of it is not sent is said to be his."""
    return replace(order, digital_delivered_at=order.digital_delivered_at or now)


def with_refund(account: Account, refund_id: UUID, status: str, amount_minor: int, tender: str) -> Order:
    """The order as it is shown to the buyer, once a refund of it is said to be `status`; news may come in any order.
    `tender` is what had paid: an intent, or empty for store credit."""
    order = account.order
    before = order.refunds.get(str(refund_id))
    if before is not None and REFUND_RANKS[status] <= REFUND_RANKS[str(before["status"])]:
        return order
    shown: dict[str, object] = {"status": status, "amount_minor": amount_minor}
    if not tender:
        shown["tender"] = credit_use.TENDER
    order = replace(order, refunds={**order.refunds, str(refund_id): shown})
    seen = seen_of(account)
    return replace(order, held_reason=_held_reason(order, seen), store_credit_state=credit_use.state_after(order, seen))
