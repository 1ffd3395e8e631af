"""Charge a saved method, and close what must not be paid any more. What became of it is a fact like any other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from checkout.decide import charging as rules
from checkout.decide import order as order_rules
from checkout.decide.declines import Problem, advice_for, advice_on
from checkout.decide.splitting import amounts_of, check_methods, refused_method
from checkout.gateway import Charges
from checkout.handlers.facts import Facts
from checkout.handlers.splitting import Splitting
from checkout.model.carts import Quote
from checkout.model.charges import Attempt
from checkout.model.customers import Saved
from checkout.model.orders import Answer, Order, Placement, State
from checkout.model.splits import Split
from checkout.store import methods, orders
from payments_shared.contracts import checkout as said
from payments_shared.errors import Refused, Retryable
from payments_shared.failpoints import failpoint
from payments_shared.ids import external_id
from payments_shared.messaging import Call, Outbox
from payments_shared.postgres import Connection, acquire, unavailable_as_retryable
from payments_shared.stripe_client import StripeRefused, only_asked

REPEATED_SECONDS: Final = 60.0  # whoever got no answer asks again by then, or asks no more
OWNER_SECONDS: Final = 1800.0  # how long an order waits for its buyer to answer his bank

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Charging:
    """The way to pay of orders without a page. The exact request was stored with the order, and its key is the order's:
    whoever repeats it gets the same intent."""

    outbox: Outbox
    facts: Facts
    charges: Charges

    @property
    def splitting(self) -> Splitting:
        """The way to pay of orders that are paid with two methods."""
        return Splitting(self.outbox, self.facts, self.charges)

    async def methods_for(
        self, connection: Connection, wanted: Placement, quote: Quote, now: datetime
    ) -> Sequence[tuple[Saved, int]]:
        """The saved methods that a new order is to be paid with, and how much each pays, minor units.

        Raises:
            Refused: 404 for one that is not his; 409 when there is none, it cannot pay, or a page is needed; 422 when
                the parts are not the total.
        """
        assert wanted.customer_subject is not None  # noqa: S101 - only the signed-in have a door to this
        assert wanted.one_click is not None  # noqa: S101 - as above
        rules.check(quote, wanted.one_click.recipient)
        customer = await methods.load_customer(connection, wanted.customer_subject, livemode=self.outbox.livemode)
        ours = customer.stripe_customer_id if customer else None
        found = await methods.list_methods(connection, ours) if ours else []
        default = customer.default_method if customer else None
        parts = wanted.one_click.split
        if not parts:
            one = rules.chosen(found, default, wanted.one_click.method_id, quote.currency, now)
            return [(one, quote.due_minor)]
        chosen = [rules.chosen(found, default, part.method_id, quote.currency, now) for part in parts]
        check_methods(chosen)
        return list(zip(chosen, amounts_of(parts, quote.due_minor, quote.currency), strict=True))

    async def charge(self, order: Order) -> Order:
        """Ask Stripe for the order's intent, and return the order as it is by the answer. Once its time has passed
        nothing is charged any more: its buyer has long gone, and Stripe may have forgotten the key. What a 500 of
        Stripe's left behind is looked for before another key is used: it may show only now.

        Raises:
            StripeRefused: our parameters were wrong; a declined charge is no refusal.
            Refused: the order's time has passed, and it is canceled.
            OutcomeUnknown: the intent may exist.
        """
        if await self._is_late(order):
            if (charged := await self.found(order)) is not None:
                return charged
            await self.end(order, "hold_failed")
            raise Refused("order_canceled", "The order was not paid in its time.")
        if order.split is not None:
            return await self.splitting.go_on(order)
        if order.stripe_attempt and (charged := await self.found(order)) is not None:
            return charged
        attempt = await self.charges.create(order)
        failpoint("after_stripe_call")
        return await self.learn(order.id, attempt)

    async def go_on(self, order: Order) -> Order:
        """Go on with a payment that is split, for whoever repeats its request. Once the order's time has passed nothing
        more is authorized, as above.

        Raises:
            Retryable: Stripe did not answer.
        """
        if await self._is_late(order):
            return await self.splitting.give_up(order, "deadline")
        return await self.splitting.go_on(order)

    async def is_known(self, order: Order) -> bool:
        """Whether Stripe shows what became of the order's charge, which is learnt then."""
        return order.session_asked_at is not None and await self.found(order) is not None

    async def is_overdue(self, order: Order) -> bool:
        """Whether whoever waits for the order's charge would have asked again by now."""
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                now = await orders.business_now(connection)
        return order.expires_at - now < timedelta(seconds=OWNER_SECONDS - REPEATED_SECONDS)

    async def _is_late(self, order: Order) -> bool:
        with unavailable_as_retryable():
            async with acquire(self.outbox.pool) as connection:
                return order.expires_at <= await orders.business_now(connection)

    async def found(self, order: Order) -> Order | None:
        """The order by what its intent shows, when the answer to its charge is lost for good; None without one."""
        with only_asked():
            attempt = await self.charges.find(order)
        return None if attempt is None else await self.learn(order.id, attempt)

    async def end(self, order: Order, reason: str) -> None:
        """Cancel an order whose intent may exist. What is found of it comes first, and is closed by the end.

        Raises:
            Retryable: its intent became known meanwhile, or took the money.
        """
        found = await self.charges.find(order)
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                current = await orders.lock_order(tx.connection, order.id)
                if current is None or order_rules.moved_on(order, current):
                    raise Retryable("order_moved_on", "Somebody else is bringing the order to its payment.")
                if found is not None:
                    await self.facts.learn(tx, current, found.fact)
                ended = await self.facts.cancel(tx, order.id, reason)
        if ended.state is not State.CANCELED:
            raise Retryable("order_moved_on", "The order was paid meanwhile; ask again for the answer.")

    async def learn(self, order_id: UUID, attempt: Attempt) -> Order:
        """Fold what an intent shows into its order."""
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                order = await orders.lock_order(tx.connection, order_id)
                assert order is not None  # noqa: S101 - orders are never deleted
                return await self.facts.learn(tx, order, attempt.fact)

    async def answer(self, order: Order, token: str) -> Answer:
        """What the buyer who waits is told: 201 paid or on its way, 202 when his bank asks for him, or when the method
        is charged again later.

        Raises:
            Refused: 402 `payment_declined`, 409 `order_expired`, `order_canceled`.
            Retryable: Stripe does not say what became of the intent.
        """
        attempt = None
        if order.state is State.PENDING and order.split is None:
            attempt = await self._with_owner(order)
            order = await self.learn(order.id, attempt)
        if order.state in (State.PAID, State.PROCESSING):
            return _rendered(201, order, token, order.state.value)
        if order.retry_at is not None:
            return _rendered(202, order, token, "retrying")
        if order.state in (State.CANCELED, State.EXPIRED):
            raise Refused(f"order_{order.state.value}", "The order ended before it was paid.")
        if order.state is State.PENDING and attempt is None:
            raise Retryable("order_in_progress", "One of two methods is authorized; ask again for the answer.")
        if attempt is None or attempt.asks_for_owner or order.state is not State.PENDING:
            raise _declined(order)
        wanted = {"client_secret": attempt.client_secret, "action_url": attempt.action_url}
        return _rendered(202, order, token, attempt.status, wanted)

    async def _with_owner(self, order: Order) -> Attempt:
        """The intent as it is now; confirmed once more where the bank asks for the buyer, who waits for this answer."""
        assert order.stripe_payment_intent is not None  # noqa: S101 - it was charged, so it has an intent
        try:
            attempt = await self.charges.retrieve(order.stripe_payment_intent)
            if attempt.asks_for_owner:
                attempt = await self.charges.confirm(order, order.stripe_payment_intent)
        except StripeRefused as refusal:
            log.error("order.stripe_refused", order_id=order.id, code=refusal.code, param=refusal.param)
            raise Refused("stripe_refused", "The payment provider refused the order.", status=502) from refusal
        failpoint("after_confirmation")
        return attempt

    async def cancel_intent(self, call: Call, message: said.CancelPaymentIntent) -> None:
        """Command: nobody shall pay this intent any more. If it was paid a moment before, that is a fact too."""
        try:
            attempt = await self.charges.cancel(message.payment_intent)
        except StripeRefused as refusal:
            log.warning("intent.not_canceled", payment_intent=message.payment_intent, code=refusal.code)
            return
        failpoint("after_stripe_call")
        async with call.conclude() as tx:
            order = await orders.lock_order(tx.connection, message.order_id)
            if order is not None:
                await self.facts.learn(tx, order, attempt.fact)


def _declined(order: Order) -> Refused:
    advice = advice_for(order) or advice_on(Problem.AUTHENTICATE, order.currency)
    extra = {"order_id": external_id("ord", order.id), "payment_problem": asdict(advice)}
    extra |= {"method_id": refused} if (refused := refused_method(order.split)) else {}
    return Refused("payment_declined", advice.advice, status=402, extra=extra)


def _rendered(
    status: int, order: Order, token: str, shown: str, wanted: Mapping[str, str | None] | None = None
) -> Answer:
    body = {
        "order_id": external_id("ord", order.id),
        "order_token": token,
        "status": shown,
        "currency": order.currency,
        "subtotal_minor": order.subtotal_minor,
        "discount_minor": order.discount_minor,
        "shipping_minor": order.shipping_minor,
        "tax_minor": order.tax_minor,
        "total_minor": order.total_minor,
        "store_credit_minor": order.store_credit_minor,
        "amount_due_minor": order.due_minor,
        "payment_intent": order.stripe_payment_intent,
        "client_secret": None,
        "action_url": None,
        "expires_at": _time(order.expires_at),
        "next_attempt_at": _time(order.retry_at) if order.retry_at else None,
        **({"payments": _parts(order.split)} if order.split else {}),
        **(wanted or {}),
    }
    return Answer(status, json.dumps(body).encode())


def _parts(split: Split) -> list[dict[str, object]]:
    return [
        {"method_id": leg.method, "amount_minor": leg.amount_minor, "payment_intent": leg.payment_intent}
        for leg in split.legs
    ]


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
