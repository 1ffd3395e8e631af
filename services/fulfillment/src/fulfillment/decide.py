"""When goods leave the house. Pure: the facts of an order and its shipment in, what must happen out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import Enum, auto
from typing import Final

from fulfillment.model import Line, Order, RefundFact, RefundRank, Shipment, ShipmentState
from payments_shared.errors import Refused

GOODS_NEVER_CONCERNED: Final = frozenset({"surplus_payment"})
WHOLE_ORDER_REASONS: Final = frozenset({"shortfall", "canceled_order", "amount_mismatch"})


class Step(Enum):
    """What must happen to the shipment of an order."""

    NOTHING = auto()
    CREATE = auto()
    CANCEL = auto()


ARROWS: Final[Mapping[ShipmentState, frozenset[ShipmentState]]] = {
    ShipmentState.CREATED: frozenset({ShipmentState.SHIPPED, ShipmentState.CANCELED}),
    ShipmentState.SHIPPED: frozenset({ShipmentState.DELIVERED, ShipmentState.RETURNED}),
    ShipmentState.DELIVERED: frozenset({ShipmentState.RETURNED}),
    ShipmentState.CANCELED: frozenset(),
    ShipmentState.RETURNED: frozenset(),
}


def next_step(order: Order, shipment: Shipment | None) -> Step:
    """What the facts ask for, whatever their order of arrival.

    A parcel is made once the order is paid, its stock is sold to it, nothing holds it, and no refund of the whole
    order is under way. A refund of the whole order that succeeded cancels what has not left.
    """
    ranks = [fact.rank for fact in order.refunds.values() if fact.whole]
    refunded = RefundRank.SUCCEEDED in ranks
    if shipment is not None:
        return Step.CANCEL if refunded and shipment.state is ShipmentState.CREATED else Step.NOTHING
    blocked = order.held or refunded or RefundRank.APPROVED in ranks
    return Step.CREATE if order.lines and order.stock_committed and not blocked else Step.NOTHING


def paid(
    order: Order,
    *,
    lines: tuple[Line, ...],
    total_minor: int,
    address: Mapping[str, str | None] | None,
    customer: Mapping[str, str | None] | None,
) -> Order:
    """The order with its payment known. Its lines may now tell which refunds concern all of it."""
    return replace(order, lines=lines, total_minor=total_minor, address=address, customer=customer)


def refund_fact(order: Order, refund_id: str, rank: RefundRank, *, reason: str, amount_minor: int) -> Order:
    """The order with what was heard of one refund."""
    if reason in GOODS_NEVER_CONCERNED:
        return order
    whole = reason in WHOLE_ORDER_REASONS or amount_minor == order.total_minor
    known = order.refunds.get(refund_id)
    if known is not None and known.rank >= rank:
        return order
    fact = RefundFact(rank, whole or (known is not None and known.whole))
    return replace(order, refunds={**order.refunds, refund_id: fact})


def held(order: Order, at: datetime) -> Order:
    """The order with a hold of time `at` known."""
    return replace(order, held_at=max(at, order.held_at or at))


def unheld(order: Order, at: datetime) -> Order:
    """The order with the end of a hold of time `at` known."""
    return replace(order, unheld_at=max(at, order.unheld_at or at))


def check_arrow(current: ShipmentState, wanted: ShipmentState) -> bool:
    """Whether the parcel may go from `current` to `wanted`; False when it is there already.

    Raises:
        Refused: there is no such way.
    """
    if current is wanted:
        return False
    if wanted not in ARROWS[current]:
        raise Refused("illegal_step", f"A shipment that is {current} cannot become {wanted}.")
    return True
