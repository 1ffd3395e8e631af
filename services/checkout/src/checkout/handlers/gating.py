"""Gates against who tries cards that are not his: attempts are counted for all processes together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import structlog

from checkout.decide import declines, securing, velocity
from checkout.model.carts import Quote
from checkout.model.orders import Order, Placement
from checkout.model.risks import Attempt, Risk
from checkout.model.securing import Buying, SecureRule
from checkout.model.velocity import Block, Exceeded, Limits, Marked, Openings
from checkout.store import velocity as store
from checkout.store.risks import keep_risks
from payments_shared import metrics
from payments_shared.errors import Refused
from payments_shared.postgres import Connection, Pool, acquire
from payments_shared.sweeper import Round

KEPT_SECONDS: Final = 30 * 86_400  # no window is longer
HOUR_SECONDS: Final = 3600
ROOM_SECONDS: Final = 60  # the next order to be paid or to expire makes room, and nobody knows when

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gates:
    """`secret` keys what is kept of cards, buyers and addresses."""

    secret: bytes = b""
    limits: Limits = field(default_factory=Limits)
    rules: Sequence[SecureRule] = ()
    openings: Openings = field(default_factory=Openings)

    async def admit(self, connection: Connection, wanted: Placement) -> None:
        """Let a new order in.

        Raises:
            Refused: 429 `velocity_exceeded`: its buyer or its address tried too many cards lately; 429
                `too_many_open_orders`: its buyer, or guests at its address, have as many as they may.
        """
        await self._check_blocks(connection, wanted)
        if not await self._has_room(connection, wanted):
            metrics.RISK_DECISIONS.labels("openings", "refused").inc()
            raise Refused(
                "too_many_open_orders",
                "Too many orders wait for their payment; pay or cancel one, or wait until one expires.",
                status=429,
                extra={"retry_after_seconds": ROOM_SECONDS},
            )

    async def take_turn(self, connection: Connection, wanted: Placement) -> bool:
        """Have others of the same customer, or guests at the same address, wait with their new orders until the
        transaction ends; nobody else does. Whoever locks an order, credit or a coupon beside does this first, as
        placements do: so nobody waits in a circle. False where nothing is bounded, and nobody waits."""
        limits, customer, address = self.openings, wanted.customer_subject, self._address(wanted)
        if not (limits.per_customer if customer is not None else address is not None and limits != Openings()):
            return False
        await store.lock_openings(connection, f"address {address}" if customer is None else f"customer {customer}")
        return True

    async def _has_room(self, connection: Connection, wanted: Placement) -> bool:
        """Whether one more order may be open."""
        if not await self.take_turn(connection, wanted):
            return True
        if (customer := wanted.customer_subject) is not None:
            return velocity.has_room(self.openings, of_buyer=await store.open_of_customer(connection, customer))
        address = self._address(wanted)
        assert address is not None  # noqa: S101 - without one no turn is taken
        of_buyer, of_address = await store.open_at_address(connection, address, wanted.email)
        return velocity.has_room(self.openings, of_buyer=of_buyer, of_address=of_address)

    async def _check_blocks(self, connection: Connection, wanted: Placement) -> None:
        address = self._address(wanted)
        buyer = velocity.buyer_of(*self._buyer(wanted.email, wanted.customer_subject), address)
        marks = [mark for mark in (buyer, address) if mark is not None]
        blocks = await store.find_blocks(connection, marks) if marks else []
        crowded, customer = any(block.mark == address for block in blocks), wanted.customer_subject
        if crowded and customer is not None and await store.has_paid(connection, customer):
            # Others at his address are no reason to turn away who has paid before.
            blocks = [block for block in blocks if block.mark != address]
        if (block := velocity.longest(blocks)) is not None:
            log.warning("order.velocity_exceeded", rule=block.rule, seconds_left=block.seconds_left)
            raise _held_back(block, "Too many payments failed; no orders are taken for a while.")

    async def admit_saving(self, connection: Connection, subject: str) -> None:
        """Let a signed-in customer begin to save a method.

        Raises:
            Refused: 429 `velocity_exceeded`: he tried too many cards lately, here or with orders.
        """
        block = velocity.longest(await store.find_blocks(connection, [self._subject(subject)]))
        if block is not None:
            log.warning("method.velocity_exceeded", rule=block.rule, seconds_left=block.seconds_left)
            raise _held_back(block, "Too many cards were declined; none is saved for a while.")

    async def secured(
        self, connection: Connection, wanted: Placement, quote: Quote, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Risk | None]:  # Any: Stripe's parameters, nested
        """A session's parameters with 3-D Secure where the rules demand it, and what to keep of that."""
        demand = None
        if self.rules:
            declines, has_ordered = await self._standing(connection, wanted)
            buying = Buying(
                quote.currency, quote.largest_minor, wanted.delivery.destination.country, not has_ordered, declines
            )
            demand = securing.demand(self.rules, buying)
        made = securing.secured(params, demand)
        return made, securing.risk_of(made, demand)

    async def _standing(self, connection: Connection, wanted: Placement) -> tuple[int, bool]:
        """How many of the buyer's cards were declined lately, and whether he has ordered before. A stranger who types
        his e-mail address neither has his good name nor can spoil it."""
        email, subject = self._buyer(wanted.email, wanted.customer_subject)
        if subject is not None and wanted.customer_subject is not None:
            return await store.standing_of_customer(connection, subject, wanted.customer_subject, HOUR_SECONDS)
        return await store.standing_of_guest(connection, email, self._address(wanted), wanted.email, HOUR_SECONDS)

    async def remember(self, connection: Connection, order_id: UUID, wanted: Placement, risk: Risk | None) -> None:
        """Keep what was decided for an order, and from where it was placed: its attempts count there, too."""
        if risk is not None:
            for gate, outcome in await keep_risks(connection, [(order_id, risk)]):
                metrics.RISK_DECISIONS.labels(gate, outcome).inc()
        if (address := self._address(wanted)) is not None:
            await store.insert_origin(connection, order_id, address)

    async def watch(
        self, connection: Connection, tried: Sequence[tuple[Order, Attempt]]
    ) -> Mapping[str, Sequence[Exceeded]]:
        """Count attempts, and hold back who exceeds limits; what was exceeded, by the charges that did."""
        if not tried:
            return {}
        owners = {attempt.charge: order.id for order, attempt in tried}
        fresh = await store.insert_attempts(
            connection, [(self._marked(order, attempt), attempt.at) for order, attempt in tried]
        )
        _count({attempt.charge: (order, attempt) for order, attempt in tried if attempt.charge in fresh}.values())
        if not any(attempt.declined for _, attempt in tried if attempt.charge in fresh):
            return {}
        in_order = list(dict.fromkeys(attempt.charge for _, attempt in tried if attempt.charge in fresh))
        tallies = await store.tally_attempts(connection, in_order, self.limits)
        found = {tally.charge: reached for tally in tallies if (reached := velocity.exceeded(self.limits, tally))}
        blocked = [(owners[charge], one) for charge, all_ in found.items() for one in all_ if one.marks]
        if blocked:
            await store.block(connection, blocked)
        return found

    async def watch_saving(self, connection: Connection, subject: str, attempt: Attempt) -> tuple[Exceeded, ...]:
        """Count an attempt to save a method, in the windows in which those with orders count, and hold its customer
        back where he exceeds limits; what he exceeded. An attempt that is known already exceeds nothing."""
        marked = Marked(attempt.charge, None, attempt.declined, self._card(attempt), None, self._subject(subject))
        fresh = await store.insert_attempts(connection, [(marked, attempt.at)])
        if not fresh or not attempt.declined:
            return ()
        log.info("method.declined", attempt=attempt.charge, code=declines.known_code(attempt.reason, attempt.failure))
        tallies = await store.tally_attempts(connection, [attempt.charge], self.limits)
        found = tuple(one for tally in tallies for one in velocity.exceeded(self.limits, tally))
        if found:
            await store.block(connection, [(None, one) for one in found])
            metrics.RISK_DECISIONS.labels("card_testing", "held_back").inc()
            log.warning("method.cards_tried", attempt=attempt.charge, rules=[one.limit.name for one in found])
        return found

    def _marked(self, order: Order, attempt: Attempt) -> Marked:
        email, subject = self._buyer(order.email, order.customer_subject)
        return Marked(attempt.charge, order.id, attempt.declined, self._card(attempt), email, subject)

    def _card(self, attempt: Attempt) -> str | None:
        return velocity.mark(self.secret, "card", attempt.fingerprint) if attempt.fingerprint else None

    def _buyer(self, email: str, subject: str | None) -> tuple[str, str | None]:
        named = self._subject(subject) if subject is not None else None
        return velocity.mark(self.secret, "email", email.lower()), named

    def _subject(self, subject: str) -> str:
        return velocity.mark(self.secret, "subject", subject)

    def _address(self, wanted: Placement) -> str | None:
        if wanted.address is None or not velocity.is_buyers(wanted.address):
            return None
        return velocity.mark(self.secret, "address", wanted.address)


def _held_back(block: Block, detail: str) -> Refused:
    metrics.RISK_DECISIONS.labels("velocity", "refused").inc()
    extra = {"retry_after_seconds": velocity.wait_seconds(block)}
    return Refused("velocity_exceeded", detail, status=429, extra=extra)


def _count(tried: Iterable[tuple[Order, Attempt]]) -> None:
    for order, attempt in tried:
        method, currency = metrics.METHOD.of(attempt.method), metrics.currency(order.currency)
        metrics.PAYMENTS.labels(method, currency, "declined" if attempt.declined else "succeeded").inc()
        if attempt.declined:
            metrics.PAYMENT_DECLINES.labels(method, declines.known_code(attempt.reason, attempt.failure)).inc()


@dataclass(frozen=True, slots=True)
class ForgettingAttempts:
    """One sweep."""

    pool: Pool

    async def forget(self) -> Round:
        """Sweep: delete what no window reaches."""
        async with acquire(self.pool) as connection:
            await store.forget(connection, KEPT_SECONDS)
        return Round()
