"""An order that ended is taken up again as a new one: whether it may be, what is different, and who may ask. Pure.

The order that ended first and all that take it up again are one family, of which one is open at a time. Whatever ended
is superseded by what takes it up: money that still comes for it goes back, and nothing is sent twice.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from checkout.decide import order as rules
from checkout.decide.learning import Account
from checkout.model.carts import PricedLine
from checkout.model.facts import Abandoned, IntentDeclined
from checkout.model.orders import Order, State
from payments_shared.contracts.checkout import RecoveryLink
from payments_shared.errors import Refused
from payments_shared.ids import external_id

SUPERSEDED: Final = "superseded"
_OPEN: Final = frozenset({State.PENDING, State.DECLINED})
_TOKEN: Final = re.compile(r"(?P<until>[0-9]{10})\.(?P<mark>[0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Course:
    """What is to be done to take an order up again: pages that are closed first, orders that are superseded, and the
    one that takes it up already."""

    closing: tuple[Order, ...] = ()
    superseded: tuple[Order, ...] = ()
    open: Order | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the cart of the order that ended: `price_changed` and `not_sold` of a product,
    `coupon_dropped` and `discount_changed` of the whole. Amounts in minor units of the order's currency."""

    code: str
    sku: str | None = None
    name: str | None = None
    coupon: str | None = None
    before_minor: int | None = None
    after_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Links:
    """What is made for whoever was written to, with `secret`. A link opens an order for `seconds`."""

    secret: bytes
    seconds: int

    def link_to(self, order_id: UUID, now: datetime) -> RecoveryLink:
        """A link to an order, from `now` on."""
        expires_at = (now + timedelta(seconds=self.seconds)).astimezone(UTC).replace(microsecond=0)
        until = str(int(expires_at.timestamp()))
        return RecoveryLink(token=f"{until}.{self._made('recovery', order_id, until)}", expires_at=expires_at)

    def check(self, token: str, order_id: UUID, now: datetime) -> None:
        """Whether `token` opens the order.

        Raises:
            Refused: 404 `not_found`: it was not made by us for this order. 401 `recovery_expired`.
        """
        match = _TOKEN.fullmatch(token)
        if match is None or not hmac.compare_digest(match["mark"], self._made("recovery", order_id, match["until"])):
            raise Refused("not_found", "There is no such order.", status=404)
        if int(match["until"]) <= now.timestamp():
            raise Refused("recovery_expired", "The link is too old.", status=401)

    def order_token(self, order_id: UUID) -> str:
        """The token of an order that takes up another one: told again to whoever asks to take that one up."""
        return self._made("order", order_id, "")[:32]

    def _made(self, what: str, order_id: UUID, until: str) -> str:
        text = "\x1f".join(("recovering", what, str(order_id), until))
        return hmac.new(self.secret, text.encode(), hashlib.sha256).hexdigest()


def course(family: Sequence[Account]) -> Course:
    """How a family goes on; the order that ended first comes first.

    Raises:
        Refused: 409 `order_paid`: one of them is, or its money is on its way. 409 `order_not_recoverable`: it is still
            open, or was canceled.
    """
    orders = [account.order for account in family]
    taken = next((o for o in orders if o.state in (State.PROCESSING, State.PAID) and not o.dishonoured), None)
    if taken is not None:
        raise paid(taken.state)
    first, *later = family
    if first.order.state is State.CANCELED and not _superseded(first):
        raise _not_recoverable(first.order, "The order was canceled.")
    if first.order.state in _OPEN and not is_abandoned(first):
        raise _not_recoverable(first.order, "The order can still be paid.")
    for account in later:
        if account.order.state in _OPEN and not is_abandoned(account):
            return Course(open=account.order)
    closing = tuple(account.order for account in family if is_abandoned(account))
    ended = (o for o in orders if o.state in (State.EXPIRED, State.SETTLEMENT_FAILED))
    return Course(closing=closing, superseded=tuple(ended))


def paid(state: str) -> Refused:
    """409: there is nothing to take up."""
    return Refused("order_paid", "The order is paid, or its payment is on its way.", extra={"order_status": state})


def _not_recoverable(order: Order, detail: str) -> Refused:
    return Refused("order_not_recoverable", detail, extra={"order_status": order.state})


def is_abandoned(account: Account) -> bool:
    """Whether the buyer has gone after a decline, and the page is open still."""
    declines = [key for key, fact in account.facts.items() if isinstance(fact, IntentDeclined)]
    left = {fact.decline for fact in account.facts.values() if isinstance(fact, Abandoned)}
    return account.order.state is State.DECLINED and bool(declines) and declines[-1] in left


def _superseded(account: Account) -> bool:
    said = rules.settled_intent_of(account.said)
    ended = rules.view(account.order, account.facts.values(), settled_intent=said).canceled
    return ended is not None and ended.reason == SUPERSEDED


def changes(
    before: Order, lines: Sequence[PricedLine], *, coupon: str | None, discount_minor: int
) -> tuple[Change, ...]:
    """What is different from the order that ended."""
    now = {line.sku: line for line in lines}
    found = []
    for line in before.lines:
        if line.sku not in now:
            found.append(Change("not_sold", sku=line.sku, name=line.name))
        elif (today := now[line.sku].unit_amount_minor) != line.unit_amount_minor:
            found.append(Change("price_changed", line.sku, line.name, None, line.unit_amount_minor, today))
    if before.coupon is not None and coupon is None:
        found.append(Change("coupon_dropped", coupon=before.coupon))
    elif before.discount_minor != discount_minor:
        found.append(Change("discount_changed", None, None, coupon, before.discount_minor, discount_minor))
    return tuple(found)


def path_of(url: str | None, origin: str, order_id: UUID) -> str | None:
    """The path on the shop's own site that an order's page leads to, without the order's name; None for another."""
    name = external_id("ord", order_id)
    if not isinstance(url, str) or not url.startswith(f"{origin}/"):
        return None
    path = url.removeprefix(origin)
    return next(
        (path.removesuffix(end) for end in (f"?order_id={name}", f"&order_id={name}") if path.endswith(end)), None
    )
