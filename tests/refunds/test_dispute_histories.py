"""Whatever Stripe tells of refunds and disputes, in any order and any number of times, ends alike.

Events of disputes only order a question: Stripe is asked as it is by then, and answers may come in another order than
the questions were put.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise, permutations
from typing import Final

import pytest

from payments_shared.ids import derived_id
from refunds.decide import disputing, following, machine, owing
from refunds.decide.machine import SPENT
from refunds.decide.owing import Cause
from refunds.model.bills import Given, Tender
from refunds.model.disputes import OVER, Dispute, DisputeState, Told
from refunds.model.heard import Heard
from refunds.model.refunds import Answer, Payment, Refund, State

AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
PAYMENT: Final = Payment("pi_1", derived_id("order", "1"), "usd", 10_000, settles=True)
FINAL: Final = ("failed", "canceled")
ROUNDS: Final = 5  # each order is tried with other repetitions, and with Stripe going on at other moments


@dataclass(frozen=True, slots=True)
class Event:
    """Something Stripe tells. `step`: how far its world had come; a refund is shown as it was then."""

    step: int
    kind: str
    heard: Heard | None = None
    dispute: str | None = None


@dataclass(slots=True)
class World:
    """Stripe after each step of a history, and what it told."""

    refunds: list[dict[str, Heard]] = field(default_factory=lambda: [{}])
    disputes: list[dict[str, Told]] = field(default_factory=lambda: [{}])
    events: list[Event] = field(default_factory=lambda: [Event(0, "order.paid")])

    def refunded(self, name: str, status: str, amount: int = 4000, ours: Refund | None = None) -> "World":
        """A refund is made, or moves on."""
        step = self._step()
        known = self.refunds[step].get(name)
        heard = Heard(name, "pi_1", amount, "usd", status, refund_id=f"ref_{ours.id.hex}" if ours else None)
        self.refunds[step][name] = heard
        self.events.append(Event(step, "refund.updated" if known else "refund.created", heard))
        if not known:
            self.events.append(Event(step, "charge.refunded"))
        return self

    def disputed(
        self, status: str, *kinds: str, amount: int = 6000, name: str = "du_1", currency: str = "usd"
    ) -> "World":
        """A dispute is opened, or moves on."""
        step = self._step()
        self.disputes[step][name] = Told(name, "ch_1", "pi_1", amount, currency, status, "fraudulent", AT)
        self.events += [Event(step, f"charge.dispute.{kind}", dispute=name) for kind in kinds]
        return self

    def _step(self) -> int:
        self.refunds.append(dict(self.refunds[-1]))
        self.disputes.append(dict(self.disputes[-1]))
        return len(self.refunds) - 1


@dataclass(slots=True)
class Books:
    """What the service keeps, folded as its handlers do."""

    refunds: dict[str, Refund] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    kept: dict[str, Heard] = field(default_factory=dict)
    known: bool = False
    said: dict[str, list[str]] = field(default_factory=dict)

    def hear(self, heard: Heard) -> None:
        if not self.known:
            self._keep(heard)
            return
        owed = list[Cause]()
        ours = [one for one in self.refunds.values() if heard.refund_id == f"ref_{one.id.hex}"]
        if not ours and heard.stripe_refund_id not in self.refunds:
            _, refund = following.external(heard, PAYMENT, None, Given())
            room = PAYMENT.captured_minor - disputing.lost(list(self.disputes.values()), PAYMENT)
            displaced = following.displaced_by(heard, self.active(), room)
            self.refunds[heard.stripe_refund_id] = refund
            self._cancel(displaced)
            owed = [cause for one in displaced if (cause := owing.still_owed(one, heard.stripe_refund_id)) is not None]
        name = ours[0].stripe_refund_id or str(ours[0].id) if ours else heard.stripe_refund_id
        current = self.refunds[name if name in self.refunds else str(ours[0].id)]
        answer = Answer(heard.stripe_refund_id, heard.status)
        self.put(machine.step(current, machine.input_of(answer), answer))
        for cause in owed:
            self.owe(cause)

    def _keep(self, heard: Heard) -> None:
        before = self.kept.get(heard.stripe_refund_id)
        stays = before is not None and (
            before.status in FINAL or (before.status == "succeeded" and heard.status not in FINAL)
        )
        if not stays:
            self.kept[heard.stripe_refund_id] = heard

    def pay(self) -> None:
        """`order.paid`."""
        if self.known:
            return
        self.known = True
        for heard in self.kept.values():
            self.hear(heard)
        for dispute in list(self.disputes.values()):
            self._save(dispute, disputing.linked(dispute, PAYMENT.order_id))

    def answer(self, told: Told, asked_at: datetime) -> None:
        """Stripe answered a question about a dispute."""
        before = self.disputes.get(told.id)
        order_id = PAYMENT.order_id if self.known else None
        after = disputing.folded(before, told, asked_at, order_id=order_id, now=AT)
        if after is not None:
            self._save(before, after)

    def _save(self, before: Dispute | None, after: Dispute) -> None:
        if (said := disputing.due_announcement(after)) is not None:
            self.said.setdefault(after.id, []).append(said)
            after = replace(after, said=said)
        self.disputes[after.id] = after
        news = before is None or before.state is not after.state or before.order_id is None
        if self.known and news and after.state in OVER:
            follows = disputing.consequences(after, list(self.disputes.values()), self.active(), PAYMENT)
            self._cancel(follows.canceled)
            for cause in follows.owed:
                self.owe(cause)

    def owe(self, cause: Cause) -> None:
        owed = owing.system_refund(
            PAYMENT,
            cause,
            active_minor=sum(refund.amount_minor for refund in self.active()),
            lost_minor=disputing.lost(list(self.disputes.values()), PAYMENT),
        )
        if owed is not None:
            self.put(owed.refund)

    def _cancel(self, refunds: Iterable[Refund]) -> None:
        for refund in refunds:
            self.put(machine.step(refund, machine.Input.DISPLACED))

    def put(self, refund: Refund) -> None:
        self.refunds = {name: one for name, one in self.refunds.items() if one.id != refund.id}
        self.refunds[refund.stripe_refund_id or str(refund.id)] = refund

    def active(self) -> list[Refund]:
        return sorted((one for one in self.refunds.values() if one.state in SPENT), key=lambda one: str(one.id))

    def refundable(self) -> int:
        spent = sum(refund.amount_minor for refund in self.active())
        withheld = disputing.withheld(list(self.disputes.values()), PAYMENT)
        return Tender("pi_1", PAYMENT.captured_minor, spent, withheld).left_minor

    def check(self) -> None:
        """At every moment: what may still go back is within what was taken and is not withheld, and nothing of ours that
        Stripe was not asked for stands beside what was lost without fitting."""
        disputes, active = list(self.disputes.values()), self.active()
        spent = sum(refund.amount_minor for refund in active)
        assert 0 <= self.refundable() <= PAYMENT.captured_minor
        assert not [words for words in self.said.values() if any(one == other for one, other in pairwise(words))]
        if self.known and spent + disputing.lost(disputes, PAYMENT) > PAYMENT.captured_minor:
            assert not [one for one in active if one.state in (State.APPROVED, State.AWAITING_APPROVAL)]

    def ended(self) -> object:
        """What must be alike, however it came about."""
        return (
            sorted((str(one.id), one.state, one.amount_minor) for one in self.refunds.values()),
            sorted((one.id, one.state, one.amount_minor) for one in self.disputes.values()),
            self.refundable(),
            {name: words[-1] for name, words in self.said.items()},
        )


def a_refund(requester: str = "sam", amount: int = 10_000, state: State = State.APPROVED) -> Refund:
    """A refund that was there before."""
    approver = None if state is State.AWAITING_APPROVAL else "policy:v1"
    id_ = owing.refund_id("pi_1", "shortfall")
    return Refund(id_, PAYMENT.order_id, "pi_1", amount, "usd", "shortfall", state, requester, approver)


OURS: Final = a_refund(amount=4000, state=State.SUBMITTED)
OPENED: Final = ("created", "funds_withdrawn")

# By name: what Stripe does, the refund that we had before, the state of the dispute, what may still go back then, what of
# our refunds is left, and what was said last.
HISTORIES: dict[str, tuple[World, Refund | None, DisputeState | None, int, dict[State, int], str | None]] = {
    "open": (World().disputed("needs_response", *OPENED), None, DisputeState.OPEN, 4000, {}, "opened:dispute"),
    "inquiry": (World().disputed("warning_needs_response", "created"), None, DisputeState.INQUIRY, 10_000, {}, "opened:inquiry"),
    "inquiry closed": (
        World().disputed("warning_needs_response", "created").disputed("warning_under_review", "updated").disputed(
            "warning_closed", "closed"
        ),
        None, DisputeState.CLOSED, 10_000, {}, "won",
    ),
    "inquiry escalated, then lost": (
        World().disputed("warning_needs_response", "created").disputed("needs_response", "updated").disputed("lost", "closed"),
        None, DisputeState.LOST, 4000, {}, "lost",
    ),
    "won": (
        World().disputed("needs_response", "created").disputed("under_review", "updated").disputed(
            "won", "closed", "funds_reinstated"
        ),
        None, DisputeState.WON, 10_000, {}, "won",
    ),
    "lost whole": (
        World().disputed("needs_response", *OPENED, amount=10_000).disputed("lost", "closed", amount=10_000),
        None, DisputeState.LOST, 0, {}, "lost",
    ),
    "lost partly": (
        World().disputed("needs_response", *OPENED).disputed("lost", "closed"), None, DisputeState.LOST, 4000, {}, "lost",
    ),
    "lost, then won after all": (
        World().disputed("needs_response", "created").disputed("lost", "closed").disputed("won", "funds_reinstated"),
        None, DisputeState.WON, 10_000, {}, "won",
    ),
    "prevented": (World().disputed("prevented", "created", "closed"), None, DisputeState.LOST, 4000, {}, "lost"),
    "in another currency": (
        World().disputed("needs_response", *OPENED, amount=55, currency="eur"), None, DisputeState.OPEN, 0, {}, "opened:dispute",
    ),
    "refund before a dispute that is lost": (
        World().refunded("re_1", "succeeded", ours=OURS).disputed("needs_response", "created").disputed("lost", "closed"),
        OURS, DisputeState.LOST, 0, {State.SUCCEEDED: 4000}, "lost",
    ),
    "refund that failed before a dispute": (
        World().refunded("re_1", "pending", ours=OURS).refunded("re_1", "failed", ours=OURS).disputed("needs_response", "created"),
        OURS, DisputeState.OPEN, 4000, {State.FAILED: 4000}, "opened:dispute",
    ),
    "dispute, then a refund in the dashboard": (
        World().disputed("needs_response", "created").disputed("won", "closed").refunded("re_1", "succeeded"),
        None, DisputeState.WON, 6000, {State.SUCCEEDED: 4000}, "won",
    ),
    "lost, then a refund in the dashboard": (
        World().disputed("lost", "created", "closed").refunded("re_1", "succeeded"),
        None, DisputeState.LOST, 0, {State.SUCCEEDED: 4000}, "lost",
    ),
    "a refund of ours waits, and it is won": (
        World().disputed("needs_response", *OPENED).disputed("won", "closed"),
        a_refund(), DisputeState.WON, 0, {State.APPROVED: 10_000}, "won",
    ),
    "a refund of ours waits, and it is lost": (
        World().disputed("needs_response", *OPENED).disputed("lost", "closed"),
        a_refund(), DisputeState.LOST, 4000, {State.CANCELED: 10_000}, "lost",
    ),
    "a refund that fits waits, and it is lost": (
        World().disputed("needs_response", *OPENED).disputed("lost", "closed"),
        a_refund(amount=4000), DisputeState.LOST, 0, {State.APPROVED: 4000}, "lost",
    ),
    "a refund for a second person waits, and it is lost": (
        World().disputed("needs_response", *OPENED).disputed("lost", "closed"),
        a_refund(state=State.AWAITING_APPROVAL), DisputeState.LOST, 4000, {State.CANCELED: 10_000}, "lost",
    ),
    "what the system owes waits, and it is lost partly": (
        World().disputed("needs_response", *OPENED).disputed("lost", "closed"),
        a_refund("system:shortfall"), DisputeState.LOST, 0, {State.CANCELED: 10_000, State.APPROVED: 4000}, "lost",
    ),
    "what the system owes waits, and all is lost": (
        World().disputed("needs_response", *OPENED, amount=10_000).disputed("lost", "closed", amount=10_000),
        a_refund("system:shortfall"), DisputeState.LOST, 0, {State.CANCELED: 10_000}, "lost",
    ),
    "refund in the dashboard, then all is lost": (
        World().refunded("re_1", "succeeded", amount=6000).disputed("needs_response", *OPENED, amount=10_000).disputed(
            "lost", "closed", amount=10_000
        ),
        None, DisputeState.LOST, 0, {State.SUCCEEDED: 6000}, "lost",
    ),
    "failed refund in the dashboard beside one of ours that took all": (
        World().refunded("re_1", "failed"), a_refund(state=State.SUCCEEDED), None, 0,
        {State.SUCCEEDED: 10_000, State.FAILED: 4000}, None,
    ),
    "failed refund in the dashboard beside one of ours that waits": (
        World().refunded("re_1", "failed"), a_refund(), None, 0, {State.APPROVED: 10_000, State.FAILED: 4000}, None,
    ),
    "refund in the dashboard beside what the system owes": (
        World().refunded("re_1", "succeeded"), a_refund("system:shortfall"), None, 0,
        {State.CANCELED: 10_000, State.SUCCEEDED: 4000, State.APPROVED: 6000}, None,
    ),
}  # fmt: skip


def _deliveries(events: Sequence[Event], chance: random.Random) -> Iterator[Sequence[Event]]:
    """Every order, and in each some events again, or all of them where that stays few."""
    if len(events) <= 3:
        yield from set(permutations((*events, *events)))
        return
    for order in permutations(events):
        again = list(order)
        for event in chance.sample(events, 2):
            again.insert(chance.randint(0, len(again)), event)
        yield again


def _run(world: World, before: Refund | None, delivered: Sequence[Event], chance: random.Random) -> Books:
    """Hear all of it while Stripe goes on; each answer may be kept for a while."""
    books = Books()
    if before is not None:
        books.known = True
        books.put(before)
    step, late, clock = 0, list[tuple[Told, datetime]](), AT
    for event in delivered:
        step = max(step, event.step, chance.choice((step, len(world.refunds) - 1)))
        clock += timedelta(seconds=1)
        if event.kind == "order.paid":
            books.pay()
        elif event.heard is not None:
            books.hear(event.heard)
        elif event.dispute is None:
            for heard in world.refunds[step].values():
                books.hear(heard)
        else:
            late.append((world.disputes[step][event.dispute], clock))
        while late and chance.random() < 0.6:
            books.answer(*late.pop(chance.randrange(len(late))))
        books.check()
    chance.shuffle(late)
    for told, asked_at in late:
        books.answer(told, asked_at)
        books.check()
    return books


@pytest.mark.parametrize("name", HISTORIES)
def test_every_order_and_repetition_ends_alike(name: str) -> None:
    world, before, state, refundable, refunds, said = HISTORIES[name]
    chance = random.Random(name)

    ends = []
    for delivered in chain.from_iterable(_deliveries(world.events, chance) for _ in range(ROUNDS)):
        books = _run(world, before, delivered, chance)
        ends.append(books.ended())

    assert all(end == ends[0] for end in ends)
    assert [one.state for one in books.disputes.values()] == ([state] if state else [])
    assert books.refundable() == refundable
    assert {one.state: one.amount_minor for one in books.refunds.values()} == refunds
    assert books.said.get("du_1", [None])[-1] == said
