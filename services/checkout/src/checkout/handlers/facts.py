"""Fold facts into orders: add what is new, derive the state, say what is due."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import credit_use, crediting, learning, risks, saying
from checkout.decide import order as rules
from checkout.decide.learning import Account, Learned
from checkout.decide.order import Say
from checkout.decide.recovering import Links
from checkout.gateway import declined_in, leg_in, seen_in
from checkout.handlers.crediting import give_back
from checkout.handlers.gating import Gates
from checkout.handlers.ledger import Ledger, open_ledger
from checkout.handlers.suspecting import Suspecting, attempt_in, is_suspicion, payment_of, suspicion_in
from checkout.model.credit import CreditState
from checkout.model.facts import (
    Abandoned,
    EndAsked,
    Fact,
    HoldEnded,
    IntentAuthorized,
    IntentDeclined,
    IntentFetched,
    IntentSucceeded,
    OrderEnded,
    StockShort,
)
from checkout.model.orders import Order, Saying, State
from checkout.model.risks import Attempt, Risk
from checkout.model.velocity import Exceeded
from checkout.store import losing
from checkout.store import orders as store
from payments_shared import tracing
from payments_shared.contracts import checkout as said
from payments_shared.contracts import fulfillment, inventory, refunds
from payments_shared.contracts import stripe as wire
from payments_shared.errors import Refused, Retryable
from payments_shared.ids import parse_external_id
from payments_shared.messaging import Batch, Outbox, Transaction

OF_PARTS: Final = frozenset({"payment_intent.amount_capturable_updated", "payment_intent.canceled"})
"""Types that are heard of the intents of a split payment alone."""

log = structlog.get_logger(__name__)

Parcel = (
    fulfillment.ShipmentCreated
    | fulfillment.ShipmentShipped
    | fulfillment.ShipmentDelivered
    | fulfillment.ShipmentCanceled
    | fulfillment.ShipmentReturned
)
Stock = inventory.StockCommitted | inventory.StockReleased | inventory.StockShortfall
Money = refunds.AboutRefund | refunds.AboutDispute
Heard = wire.StripeEvent | Parcel | fulfillment.DigitalDelivered | Money | Stock
"""What Stripe and the other services say."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Business times in seconds: how long a declined order waits, and how long a mismatch waits for a person."""

    abandon_seconds: float
    mismatch_seconds: float


@dataclass(frozen=True, slots=True)
class Shown:
    """An object of Stripe as an event shows it: the fact that it asserts, and all that it says of whose it is.

    `created`: when Stripe made the event, in Unix seconds. `asking`: it names no order, so where none is known for its
    payment Stripe is asked.
    """

    created: int
    fact: Fact | Attempt
    session_id: str | None
    payment_intent: str | None
    named: UUID | None
    asking: said.FindOrder | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """One method per input that is a fact."""

    outbox: Outbox
    delays: Delays
    links: Links
    suspecting: Suspecting = field(default_factory=Suspecting)
    gates: Gates = field(default_factory=Gates)

    # -- messages ----------------------------------------------------------------------------------------------------

    async def hear(self, batch: Batch[Heard]) -> None:
        """What Stripe shows of sessions and intents; where goods are and what became of refunds, for the buyer's eyes;
        and what became of disputes, for those of staff. Stock facts change nothing here, since the money's way back is
        refunds' business; but where store credit paid for what cannot be had, it goes back, and where nobody paid its
        buyer is told. Of a payment that was given back, since its order is not here, nothing more is learned.

        Raises:
            Refused: an object is none of ours, or a message names an order that there is not.
            Retryable: an object names an order that is not here (yet).
        """
        heard = [_shown(message) if isinstance(message, wire.StripeEvent) else message for message in batch.messages]
        wanted = await self._orders_of(batch, heard)
        ledger = await open_ledger(batch.connection, wanted)
        lost = await losing.list_asked_for(batch.connection, wanted - ledger.accounts.keys())
        alarms = dict(await self.gates.watch(batch.connection, _tried(ledger, heard)))
        for (tx, _), one in zip(batch, heard, strict=True):
            match one:
                case Shown() | refunds.AboutRefund() | refunds.AboutDispute() if one.payment_intent in lost:
                    pass
                case Shown(fact=Attempt(charge=charge)) if (alarm := alarms.pop(charge, None)) is not None:
                    self._take(tx, ledger, one)
                    self._end_card_testing(tx, ledger, _owner(ledger, one), alarm)
                case Shown():
                    self._take(tx, ledger, one)
                case refunds.AboutRefund():
                    self._hear_of_refund(tx, ledger, one)
                case refunds.AboutDispute():
                    ledger.note(_known(ledger, one.order_id).id, risks.of_dispute(one))
                case fulfillment.DigitalDelivered():
                    ledger.show(learning.with_digital(_known(ledger, one.order_id), ledger.now))
                case inventory.StockShortfall():
                    self._fall_short(tx, ledger, one.order_id)
                case None | inventory.StockCommitted() | inventory.StockReleased():
                    pass
                case _:
                    ledger.show(learning.with_shipment(_known(ledger, one.order_id), one.shipment_id, _status(one)))
        await ledger.save(batch.connection)

    async def issue_credit(self, tx: Transaction, message: refunds.StoreCreditIssued) -> None:
        """Give what a refund turns into store credit, once for each refund, and say so each time; or that the order has
        given back already what the refund speaks of.

        Raises:
            Poison: something else was given for the refund: money is concerned, so a person looks at it.
        """
        ledger = await open_ledger(tx.connection, [message.order_id])
        order = _known(ledger, message.order_id)
        if not message.payment_intent and order.store_credit_state == CreditState.RELEASED:
            refund_id = message.refund_id
            tx.announce(said.StoreCreditRefused(order_id=order.id, refund_id=refund_id, reason=said.CREDIT_IS_BACK))
            return
        account = ledger.accounts[order.id]
        about = (message.refund_id, "approved", message.amount_minor, message.payment_intent)
        ledger.show(learning.with_refund(account, *about))
        await ledger.save(tx.connection)
        await give_back(tx, message)

    def _take(self, tx: Transaction, ledger: Ledger, shown: Shown) -> None:
        if shown.asking is not None and ledger.find(None, shown.payment_intent) is None:
            tx.announce(shown.asking)
        elif isinstance(shown.fact, Attempt):
            ledger.note(_owner(ledger, shown), risks.of_attempt(shown.fact))
        else:
            owner = _owner(ledger, shown)
            before = ledger.accounts[owner].order.state
            self._learn(tx, ledger, owner, shown.fact)
            ledger.heard(owner, before, shown.created)

    def _hear_of_refund(self, tx: Transaction, ledger: Ledger, one: refunds.AboutRefund) -> None:
        before = _known(ledger, one.order_id)
        about = (one.refund_id, _status(one), one.amount_minor, one.payment_intent)
        learned = learning.learn_of_refund(ledger.accounts[before.id], *about)
        ledger.show(learned.account.order)
        for key in learned.due:
            ledger.say(Saying(before.id, key, self._say(tx, ledger, learned, key)))
        _tell_of_credit(tx, before, learned.account.order)

    def _fall_short(self, tx: Transaction, ledger: Ledger, order_id: UUID) -> None:
        account = ledger.accounts.get(order_id)
        if account is not None and (account.order.store_credit_minor or account.order.covered):
            self._learn(tx, ledger, order_id, StockShort())

    def _end_card_testing(self, tx: Transaction, ledger: Ledger, order_id: UUID, alarm: Sequence[Exceeded]) -> None:
        """Close the page at which somebody tries cards. If one of them has paid, or may have, Stripe keeps it as it is,
        and so do we; and also where only the others at his address have tried too many."""
        order = ledger.accounts[order_id].order
        reasons = tuple(one.reason for one in alarm)
        if not any(one.own for one in alarm):
            ledger.note(order_id, Risk("velocity", "velocity", "crowded", reasons))
            return
        if order.state not in (State.PENDING, State.DECLINED) or order.stripe_session_id is None:
            return
        ledger.note(order_id, Risk(rules.CARD_TESTING, rules.CARD_TESTING, "expired", reasons))
        self._learn(tx, ledger, order_id, EndAsked(rules.CARD_TESTING))
        tx.announce(said.ExpireSession(order_id=order_id, session_id=order.stripe_session_id))

    async def _orders_of(
        self,
        batch: Batch[Heard],
        heard: list[Shown | Parcel | fulfillment.DigitalDelivered | Money | Stock | None],
    ) -> set[UUID]:
        shown = [one for one in heard if isinstance(one, Shown)]
        named = {one.named for one in shown if one.named is not None}
        silent = Shown | inventory.StockCommitted | inventory.StockReleased | None
        spoken_of = {one.order_id for one in heard if not isinstance(one, silent)}
        sessions = {one.session_id for one in shown if one.session_id is not None}
        intents = {one.payment_intent for one in shown if one.payment_intent is not None}
        stored = await store.find_orders(batch.connection, sessions, intents) if shown else set()
        return named | spoken_of | stored

    # -- time and people -----------------------------------------------------------------------------------------------

    async def abandon(self, tx: Transaction, order_id: UUID, decline: str) -> None:
        """If the decline is still the last word, the buyer has gone."""
        ledger = await open_ledger(tx.connection, [order_id])
        order = _known(ledger, order_id)
        facts = ledger.accounts[order_id].facts
        declines = [key for key, fact in facts.items() if isinstance(fact, IntentDeclined)]
        if order.state is State.DECLINED and declines and declines[-1] == decline:
            self._learn(tx, ledger, order_id, Abandoned(decline))
        await ledger.save(tx.connection)

    async def end_lapsed_hold(self, tx: Transaction, order_id: UUID) -> None:
        """The deadline of a quarantined order passed."""
        ledger = await open_ledger(tx.connection, [order_id])
        if _known(ledger, order_id).held_reason in rules.QUARANTINES:
            self._learn(tx, ledger, order_id, HoldEnded(released=False))
        await ledger.save(tx.connection)

    async def judge(self, tx: Transaction, order_id: UUID, verdict: Callable[[Account], Sequence[Fact]]) -> Order:
        """A person decides about a held order, as `decide.verdicts` says. The order is returned as it is then.

        Raises:
            Refused: as `verdict` says; 404: there is no such order.
        """
        ledger = await open_ledger(tx.connection, [order_id])
        if order_id not in ledger.accounts:
            raise Refused("not_found", "There is no such order.", status=404)
        for fact in verdict(ledger.accounts[order_id]):
            self._learn(tx, ledger, order_id, fact)
        await ledger.save(tx.connection)
        return ledger.accounts[order_id].order

    async def find_order(self, tx: Transaction, order_id: UUID, payment_intent: str, event: wire.StripeEvent) -> None:
        """What Stripe suspects of a payment, once Stripe has said whose it was.

        Raises:
            Retryable: the order is not here (yet).
        """
        ledger = await open_ledger(tx.connection, [order_id])
        if order_id not in ledger.accounts:
            if payment_intent in await losing.list_asked_for(tx.connection, [order_id]):
                return
            raise Retryable("order_unknown", "The order of this payment is not here.")
        self._learn(tx, ledger, order_id, suspicion_in(event, payment_intent))
        await ledger.save(tx.connection)

    async def cancel(self, tx: Transaction, order_id: UUID, reason: str) -> Order:
        """End an order that nobody has paid for; one whose money is on its way or here goes on."""
        ledger = await open_ledger(tx.connection, [order_id])
        if rules.may_end(_known(ledger, order_id)):
            self._learn(tx, ledger, order_id, OrderEnded(reason))
        await ledger.save(tx.connection)
        return ledger.accounts[order_id].order

    async def learn(self, tx: Transaction, order: Order, fact: Fact) -> Order:
        """Add `fact` to the locked `order` and make true what follows. A fact known before changes nothing."""
        ledger = await open_ledger(tx.connection, [order.id])
        self._learn(tx, ledger, order.id, fact)
        await ledger.save(tx.connection)
        return ledger.accounts[order.id].order

    # -- the fold ----------------------------------------------------------------------------------------------------

    def _learn(self, tx: Transaction, ledger: Ledger, order_id: UUID, fact: Fact) -> None:
        tracing.link(ledger.accounts[order_id].order.traceparent)
        fact = self.suspecting.as_things_stand(fact, ledger.accounts[order_id].order)
        learned = learning.learn(
            ledger.accounts[order_id], fact, now=ledger.now, mismatch_seconds=self.delays.mismatch_seconds
        )
        if learned is None:
            return
        if self._lacks_credit(ledger, learned):
            # As for every order that has ended: its late money goes back. What is said of both is said in this order.
            self._learn(tx, ledger, order_id, OrderEnded(crediting.GONE))
            self._learn(tx, ledger, order_id, fact)
            return
        before = ledger.accounts[order_id].order
        ledger.learn(fact, learned)
        if (risk := risks.of_fact(fact, learned.account.order)) is not None:
            ledger.note(order_id, risk)
        for key in learned.due:
            ledger.say(Saying(order_id, key, self._say(tx, ledger, learned, key)))
        _tell_of_credit(tx, before, learned.account.order)

    def _lacks_credit(self, ledger: Ledger, learned: Learned) -> bool:
        """Whether late money asks for store credit that its buyer has used for something else, or lost."""
        after = learned.account.order
        return credit_use.is_taken_again(ledger.accounts[after.id].order, after) and not ledger.has_credit_for(after)

    def _say(self, tx: Transaction, ledger: Ledger, learned: Learned, key: str) -> UUID:
        account: Account = learned.account
        until = ledger.now + timedelta(seconds=self.delays.abandon_seconds)
        if key == Say.HELD or key.startswith(Say.SUSPECTED):
            log.error("order.held", order_id=account.order.id, reason=account.order.held_reason)
        if key.startswith(Say.DECLINED):
            wait = said.AbandonOrder(order_id=account.order.id, decline=key.removeprefix(Say.DECLINED))
            tx.announce(wait, available_at=until)
        message = saying.message_for(
            key, account.order, learned.seen, now=ledger.now, hold_until=until, links=self.links
        )
        # The facts behind what is said only grow in number. A suspicion is held and ends on its own, so that no later
        # word about another one takes its place.
        alone = key.startswith((Say.SUSPECTED, Say.CLEARED))
        return tx.announce(message, sequence=None if alone else len(account.facts))


def _tell_of_credit(tx: Transaction, before: Order, after: Order) -> None:
    """Refunds must hear of credit that went back by itself, which is never refunded as well."""
    if credit_use.is_back(after) and not credit_use.is_back(before):
        released = said.StoreCreditReleased(
            order_id=after.id, amount_minor=after.store_credit_minor, currency=after.currency
        )
        tx.announce(released)


def _shown(event: wire.StripeEvent) -> Shown | None:
    """What an event shows of an order's payment; None for a session that only saves a payment method, and for an intent
    that is authorized or canceled where its session, or the answer to our request, tells more."""
    if is_suspicion(event):
        asking = said.FindOrder(payment=payment_of(event), event=event)
        return Shown(event.created, suspicion_in(event), None, suspicion_in(event).payment_intent, None, asking)
    if event.type.startswith("charge."):
        charge = wire.Charge.model_validate(event.data.object)
        named = _named_order(None, charge.metadata)
        return Shown(event.created, attempt_in(charge), None, charge.payment_intent, named)
    if event.type.startswith("checkout.session."):
        session = wire.CheckoutSession.model_validate(event.data.object)
        if session.mode == "setup":
            return None
        fact = seen_in(session, failed=event.type == "checkout.session.async_payment_failed")
        named = _named_order(session.client_reference_id, session.metadata)
        return Shown(event.created, fact, session.id, session.payment_intent, named)
    intent = wire.PaymentIntent.model_validate(event.data.object)
    if event.type in OF_PARTS and leg_in(intent) is None:
        return None
    return Shown(event.created, _attempt(event, intent), None, intent.id, _named_order(None, intent.metadata))


def _attempt(event: wire.StripeEvent, intent: wire.PaymentIntent) -> Fact:
    match event.type:
        case "payment_intent.succeeded":
            return IntentSucceeded(intent.id, intent.amount_received, intent.currency, leg_in(intent))
        case "payment_intent.amount_capturable_updated":
            return IntentAuthorized(intent.id, intent.amount, leg_in(intent))
        case "payment_intent.canceled":
            return IntentFetched(intent.id, "canceled", leg_in(intent))
    return declined_in(intent, otherwise=event.id)


def _tried(ledger: Ledger, heard: Sequence[object]) -> list[tuple[Order, Attempt]]:
    """The attempts that are told of, with their orders, as far as these are here."""
    found = [(one, one.fact) for one in heard if isinstance(one, Shown) and isinstance(one.fact, Attempt)]
    owned = [(ledger.find(None, one.payment_intent) or one.named, attempt) for one, attempt in found]
    return [(ledger.accounts[owner].order, attempt) for owner, attempt in owned if owner in ledger.accounts]


def _owner(ledger: Ledger, shown: Shown) -> UUID:
    """The order an object belongs to: by what is stored; else by the reference it carries."""
    order_id = ledger.find(shown.session_id, shown.payment_intent) or shown.named
    if order_id is None:
        raise Refused("not_ours", "The object names no order of ours.")
    if order_id not in ledger.accounts:
        raise Retryable("order_unknown", "The order of this object is not here.")
    return order_id


def _named_order(reference: str | None, metadata: Mapping[str, str] | None) -> UUID | None:
    for text in (reference, (metadata or {}).get("order_id")):
        if text:
            try:
                return parse_external_id("ord", text)
            except ValueError:
                continue
    return None


def _known(ledger: Ledger, order_id: UUID) -> Order:
    account = ledger.accounts.get(order_id)
    if account is None:
        raise Refused("order_unknown", "There is no such order.", status=404)
    return account.order


def _status(message: Parcel | refunds.AboutRefund) -> str:
    return message.TYPE.split(".")[1]
