"""What an order has become: a fold over the set of facts, the same for every order and repetition of arrival.

Two things follow from a view: the state, and what must have been said by now. What was said before is taken away
from that; so a fact that is heard twice, or told by two events, announces nothing the second time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from checkout.decide import charging, splitting
from checkout.decide.charging import NO_CHARGE, Charge, Charged
from checkout.decide.holds import Hold, holds_of, warned
from checkout.decide.totals import Totals, totals_of
from checkout.model.facts import (
    Abandoned,
    CoveredByCredit,
    EndAsked,
    Fact,
    HoldEnded,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    NothingDue,
    OrderEnded,
    OrderRefused,
    SessionSeen,
    StockShort,
)
from checkout.model.orders import Order, State
from checkout.model.splits import Split

STRENGTH: Final = (
    State.PENDING,
    State.DECLINED,
    State.EXPIRED,
    State.CANCELED,
    State.PROCESSING,
    State.SETTLEMENT_FAILED,
    State.PAID,
)
"""From weakest to strongest; an order only ever moves to the right."""

NOT_PAYABLE: Final = frozenset({"requires_payment_method", "canceled"})
"""Statuses of an intent that mean, once its session is complete, that the money will not come.

Source: Stripe API, PaymentIntent, "status".
"""


QUARANTINES: Final = frozenset({"amount_mismatch", "currency_mismatch"})
"""Reasons of a hold that a deadline ends, too: what was paid is not what was asked for."""

CARD_TESTING: Final = "card_testing"
"""Why an order is ended whose page somebody tries stolen cards at."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Money taken by one intent."""

    payment_intent: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class View:
    """What the facts add up to.

    `settled` is the session that pays the order, None while none is known with its content; or the charge of a saved
    method. `totals` is what it says was paid for. `to_close` are intents that nobody may pay any more, each with why.
    `surplus` is money taken by other intents. `mismatch` names the first difference between what we asked for and what
    was paid. `holds` are all suspicions that there were of the payment that settles, also those that are over;
    `warned_off`: its bank calls it fraud, and it goes back at once. `refused`: a person gives it back. `charge` is that
    of a saved method, `split` where there are two, and `stranded` what one of them paid while the other cannot.
    `stock_short`: its goods cannot be had, and store credit had paid for them, or nobody.
    """

    state: State
    settled: SessionSeen | Charged | None
    surplus: tuple[Capture, ...]
    unexplained: tuple[str, ...]
    mismatch: str | None
    declines: tuple[IntentDeclined, ...]
    abandoned: tuple[str, ...]
    canceled: OrderEnded | None
    hold_ended: HoldEnded | None
    ambiguous: tuple[str, ...]
    holds: tuple[Hold, ...] = ()
    warned_off: bool = False
    to_close: tuple[str, ...] = ()
    refused: OrderRefused | None = None
    charge: Charge = NO_CHARGE
    stock_short: bool = False
    split: Split | None = None
    stranded: tuple[Capture, ...] = ()
    totals: Totals | None = None

    @property
    def held(self) -> bool:
        """Paid, and yet nothing may leave until a person decides or the deadline passes."""
        return self.mismatch is not None and self.hold_ended is None and self.canceled is None

    @property
    def suspicion(self) -> Hold | None:
        """What keeps the goods of a paid order here, first of all what only a refund can end."""
        if self.state is not State.PAID or self.canceled is not None or self.dishonoured:
            return None
        return min((hold for hold in self.holds if not hold.over), key=lambda hold: not hold.final, default=None)

    @property
    def dishonoured(self) -> bool:
        """Paid, and the money must go back: the order had ended, or its amounts never added up."""
        lapsed = self.hold_ended is not None and not self.hold_ended.released
        return self.state is State.PAID and (self.canceled is not None or (self.mismatch is not None and lapsed))

    @property
    def captured_minor(self) -> int:
        """All money that was taken for the order, as far as its sessions are known."""
        others = sum(one.amount_minor for one in (*self.surplus, *self.stranded))
        return others + (self.settled.total_minor if self.settled else 0)

    def capture_of(self, payment_intent: str) -> Capture:
        """The money that a refund of `payment_intent` gives back: a surplus, or a payment that settled the order."""
        taken = (*self.surplus, *self.stranded, *(payments_of(self.settled) if self.settled else ()))
        return next(capture for capture in taken if capture.payment_intent == payment_intent)


def payments_of(settled: SessionSeen | Charged) -> tuple[Capture, ...]:
    """The payments that settle an order; the first stands for all."""
    currency = settled.currency or ""
    if isinstance(settled, Charged) and settled.parts:
        return tuple(Capture(intent, amount_minor, currency) for intent, amount_minor in settled.parts)
    return (Capture(settled.payment_intent or settled.session_id, settled.total_minor, currency),)


def is_final(order: Order) -> bool:
    """Whether whoever waits for the outcome of a purchase has it. Late money may still change it. Who has paid for what
    is not sent waits until it is his, unless something holds it or his money has gone back."""
    if order.state is not State.PAID:
        return order.state not in (State.PENDING, State.DECLINED, State.PROCESSING)
    is_waited_for = any(line.digital or line.digital_parts for line in order.lines) and not order.dishonoured
    return not is_waited_for or bool(order.digital_delivered_at or order.held_reason or order.refunds)


def may_end(order: Order) -> bool:
    """Whether we may still end `order`: once money is on its way or here, goods are kept for it, and it is too late."""
    return STRENGTH.index(order.state) <= STRENGTH.index(State.CANCELED)


def moved_on(seen: Order, current: Order) -> bool:
    """Whether another worker asked Stripe for a session or an intent, or has it, since the order was `seen`; or has
    paid it without Stripe."""
    known = current.stripe_session_id or current.stripe_payment_intent
    paid = current.covered and current.state is State.PAID
    return known is not None or paid or current.session_asked_at != seen.session_asked_at


def view(order: Order, facts: Iterable[Fact], *, settled_intent: str | None) -> View:
    """Fold `facts`. `settled_intent` is the intent that `order.paid` was said with, None when it was not said yet.

    The first payment seen stays the one that settles: what was said of it (held, or due back) must stay true.
    """
    chosen = settled_intent or order.stripe_payment_intent
    known = tuple(facts)
    sessions = [fact for fact in known if isinstance(fact, SessionSeen)]
    captures = {fact.payment_intent: fact for fact in known if isinstance(fact, IntentSucceeded)}
    split = splitting.folded(order, known)
    own = [s for s in sessions if order.stripe_session_id in (None, s.session_id) and order.saved_method is None]
    charge = splitting.charge_of(order, split, known) if split else charging.charge_of(order, known)
    # Once order.paid was said the goods are on their way: whoever cancels now comes too late.
    canceled = _ended(known, own, charge) if settled_intent is None else None
    if order.covered:
        covered = canceled is None and any(isinstance(fact, CoveredByCredit | NothingDue) for fact in known)
        paid: Sequence[SessionSeen | Charged] = [charging.covered(order)] if covered else []
    else:
        paid = _paid(order, sessions, captures, split)
    settled = next((s for s in paid if s.payment_intent == chosen), paid[0] if paid else None)
    explained = {payment.payment_intent for payment in paid}
    declines = tuple(sorted((f for f in known if isinstance(f, IntentDeclined)), key=lambda f: f.key))
    declined = bool(declines) if order.saved_method is None else bool(charge.refusals)
    state = _state(order, own, known, charge, paid=bool(paid), canceled=canceled is not None, declined=declined)
    holds = holds_of(known, {one.payment_intent for one in payments_of(settled)}) if settled else ()
    ended = canceled is not None
    totals = totals_of(order, settled) if settled else None
    return View(
        state=state,
        settled=settled,
        surplus=_surplus(paid, settled, captures),
        stranded=tuple(_capture(captures[one]) for one in splitting.stranded(split, captures)) if split else (),
        split=split,
        unexplained=tuple(sorted(intent for intent in captures if intent not in explained and not order.saved_method)),
        mismatch=_mismatch(order, settled, totals) if settled and totals else None,
        totals=totals,
        declines=declines,
        abandoned=tuple(sorted(fact.decline for fact in known if isinstance(fact, Abandoned))),
        canceled=canceled,
        hold_ended=next((fact for fact in known if isinstance(fact, HoldEnded)), None),
        ambiguous=_ambiguous(known, own) if state is State.PROCESSING else (),
        holds=holds,
        # What a review gave back, or the bank has taken, is not there to be given back again.
        warned_off=settled is not None
        and warned(known, {one.payment_intent for one in payments_of(settled)}, settled.total_minor)
        and not any(hold.final for hold in holds),
        to_close=splitting.to_close(split, known)
        if split
        else charging.to_close(charge, ended=ended, paid=bool(captures)),
        refused=next((fact for fact in known if isinstance(fact, OrderRefused)), None),
        charge=charge,
        stock_short=any(isinstance(fact, StockShort) for fact in known),
    )


def _capture(taken: IntentSucceeded) -> Capture:
    return Capture(taken.payment_intent, taken.amount_minor, taken.currency)


def _paid(
    order: Order, sessions: Sequence[SessionSeen], captures: dict[str, IntentSucceeded], split: Split | None
) -> Sequence[SessionSeen | Charged]:
    """The payments that may settle the order, the likeliest first."""
    if split is not None:
        return splitting.paid_together(order, split, captures)
    if order.saved_method is not None:
        return [charging.charged(order, captures[intent]) for intent in sorted(captures)]
    return sorted((s for s in sessions if s.paid), key=lambda s: (s.session_id != order.stripe_session_id, s.key))


def _ended(known: Sequence[Fact], own: Sequence[SessionSeen], charge: Charge) -> OrderEnded | None:
    """The end of the order by our own doing, also when the buyer's wish has closed the session and nobody got further:
    Stripe's word of that is no expiry."""
    ended = next((fact for fact in known if isinstance(fact, OrderEnded)), None)
    asked = next((fact for fact in known if isinstance(fact, EndAsked)), None)
    if ended is None and asked is not None and (charge.closed or any(session.status == "expired" for session in own)):
        return OrderEnded(asked.reason)
    return ended


def _state(
    order: Order,
    own: Sequence[SessionSeen],
    known: Sequence[Fact],
    charge: Charge,
    *,
    paid: bool,
    canceled: bool,
    declined: bool,
) -> State:
    # Who was told that the order is canceled hears of no money but what comes: not that it was on its way, nor that it
    # will not come. Once that was told the end comes too late.
    was = order.state
    by_wish = canceled and was not in (State.PROCESSING, State.SETTLEMENT_FAILED)
    complete = any(s.status == "complete" for s in own)
    dead = {f.payment_intent for f in known if isinstance(f, IntentFetched) and f.status in NOT_PAYABLE}
    failed = any(s.failed or (s.status == "complete" and s.payment_intent in dead) for s in own)
    failed = failed or charge.failed or (charge.closed and was is State.PROCESSING)
    holds = (  # the strongest first
        (State.PAID, paid),
        (State.SETTLEMENT_FAILED, was is State.SETTLEMENT_FAILED or (failed and not by_wish)),
        (State.PROCESSING, was is State.PROCESSING or ((complete or charge.on_its_way) and not by_wish)),
        (State.CANCELED, canceled),
        (State.EXPIRED, charge.closed or any(s.status == "expired" for s in own)),
        (State.DECLINED, declined),
        (State.PENDING, True),
    )
    return next(state for state, is_so in holds if is_so)


def _surplus(
    paid: Sequence[SessionSeen | Charged],
    settled: SessionSeen | Charged | None,
    captures: Mapping[str, IntentSucceeded],
) -> tuple[Capture, ...]:
    # Money counts as surplus only once something else has settled the order: until then it may be what settles it.
    if settled is None:
        return ()
    others = {
        s.payment_intent: Capture(s.payment_intent, s.total_minor, s.currency or "")
        for s in paid
        if s.payment_intent and s.payment_intent != settled.payment_intent
    }
    settling = {one.payment_intent for one in payments_of(settled)}
    for intent, capture in captures.items():
        if intent not in settling:
            others[intent] = _capture(capture)
    return tuple(others[intent] for intent in sorted(others))


def _mismatch(order: Order, settled: SessionSeen | Charged, paid: Totals) -> str | None:
    if settled.currency != order.currency:
        return "currency_mismatch"
    as_asked = (order.subtotal_minor, order.discount_minor) == (paid.subtotal_minor, paid.discount_minor)
    return None if as_asked and paid.adds_up else "amount_mismatch"


def _ambiguous(known: Sequence[Fact], own: Sequence[SessionSeen]) -> tuple[str, ...]:
    # A failed attempt of a session that is complete: an early decline before it, or the end of a delayed payment?
    complete = {s.payment_intent for s in own if s.status == "complete"}
    return tuple(sorted(f.key for f in known if isinstance(f, IntentDeclined) and f.payment_intent in complete))


class Say:
    """Keys of what must have been said. The part after the colon tells repetitions of a kind apart."""

    PROCESSING = "processing"
    PAID = "paid:"
    FINAL = "payment_failed:final"
    DECLINED = "payment_failed:declined:"
    RETRYING = "payment_retrying:"
    ABANDONED = "payment_failed:abandoned:"
    EXPIRED = "expired"
    CANCELED = "canceled"
    HELD = "held"
    UNHELD = "unheld"
    SUSPECTED = "held:"
    CLEARED = "unheld:"
    REFUND = "refund_due:"
    CREDIT_BACK = "credit_returned"
    SOLD_OUT = "sold_out"
    FETCH_SESSION = "fetch_session:"
    FETCH_INTENT = "fetch_intent:"
    CANCEL_INTENT = "cancel_intent:"


def required(seen: View) -> tuple[str, ...]:
    """Everything that the view asks to have been said, as keys, in the order in which it should be said."""
    match seen.state:
        case State.PAID:
            keys = _required_when_paid(seen)
        case State.SETTLEMENT_FAILED:
            keys = [Say.FINAL]
        case State.PROCESSING:
            # An end that comes this late is ours: the goods are given back, and so will be the money.
            keys = [
                Say.CANCELED if seen.canceled else Say.PROCESSING,
                *(Say.FETCH_INTENT + key for key in seen.ambiguous),
            ]
        case State.CANCELED:
            keys = [Say.CANCELED]
        case State.EXPIRED:
            keys = [Say.EXPIRED]
        case State.DECLINED:
            keys = _required_when_declined(seen)
        case State.PENDING:
            keys = []
    # A lone capture is asked after until the session that explains it is known; then order.paid is built from that
    # session, whatever came first. When no session of ours explains it, asking finds out which one does.
    keys += [Say.FETCH_SESSION + intent for intent in seen.unexplained if seen.settled is None]
    keys += [Say.CANCEL_INTENT + why for why in seen.to_close]
    keys += [f"{Say.REFUND}{capture.payment_intent}:surplus_payment" for capture in seen.surplus]
    keys += [f"{Say.REFUND}{capture.payment_intent}:canceled_order" for capture in seen.stranded]
    return tuple(keys)


def _required_when_declined(seen: View) -> list[str]:
    if seen.charge.retried:
        return [Say.RETRYING + refusal.key for refusal in seen.charge.refusals] if seen.charge.waits else []
    keys = [Say.DECLINED + decline.key for decline in seen.declines]
    return keys + [Say.ABANDONED + decline for decline in seen.abandoned]


def _required_when_paid(seen: View) -> list[str]:
    assert seen.settled is not None  # noqa: S101 - the state is paid only through a paid session
    intents = [one.payment_intent for one in payments_of(seen.settled)]
    if seen.canceled is not None:
        return _refunds(intents, "canceled_order")
    if seen.mismatch is None:
        return _required_when_honoured(seen, intents)
    if seen.hold_ended is None:
        return [Say.HELD]
    if seen.hold_ended.released:
        return [Say.HELD, Say.UNHELD, *_required_when_honoured(seen, intents)]
    # Nobody released it in time: the goods go back on the shelf, and the money to the buyer.
    return [Say.HELD, Say.CANCELED, *_refunds(intents, "amount_mismatch")]


def _refunds(intents: Sequence[str], reason: str) -> list[str]:
    return [f"{Say.REFUND}{intent}:{reason}" for intent in intents]


def _required_when_honoured(seen: View, intents: Sequence[str]) -> list[str]:
    # Holds come first: who hears of the payment knows already that nothing may leave.
    return [
        *(Say.SUSPECTED + hold.cause for hold in seen.holds),
        *(Say.CLEARED + hold.cause for hold in seen.holds if hold.over),
        f"{Say.PAID}{intents[0]}",
        *(_refunds(intents, "early_fraud_warning") if seen.warned_off else []),
        *(_refunds(intents, "canceled_order") if seen.refused else []),
        *([_goods_gone(intents)] if seen.stock_short else []),
    ]


def _goods_gone(intents: Sequence[str]) -> str:
    # Of money that goes back refunds writes. Where there is none its buyer would wait for his goods for ever.
    return Say.SOLD_OUT if intents == [charging.BY_NOBODY] else Say.CREDIT_BACK


def settled_intent_of(said: Iterable[str]) -> str | None:
    """The intent that `order.paid` was said with."""
    return next((key.removeprefix(Say.PAID) for key in said if key.startswith(Say.PAID)), None)


def coupon_use(seen: View) -> str:
    """What becomes of the order's use of its coupon: held, redeemed or released."""
    if seen.state is State.PAID and not seen.dishonoured:
        return "redeemed"
    ended = seen.state in (State.CANCELED, State.EXPIRED, State.SETTLEMENT_FAILED) or seen.dishonoured
    return "released" if ended else "held"
