"""When a parcel is made, when it or a part of it is taken back, and when what is not sent becomes the buyer's."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Final
from uuid import UUID

from fulfillment.decide.decision import Decision, said_canceled, said_created, said_digital_delivered
from fulfillment.decide.lines import common, cut_id, left_of, merged, unsellable_in, without
from fulfillment.model import Goods, Line, Order, Outcome, Refund, Shipment, ShipmentState
from payments_shared.contracts.fulfillment import DISPUTE_LOST
from payments_shared.contracts.message import Message
from payments_shared.ids import derived_id

WHOLE_ORDER_REASONS: Final = frozenset({"shortfall", "canceled_order", "amount_mismatch", "early_fraud_warning"})
"""Refunds of the settled payment for these reasons concern all goods, whatever their amount."""

NO_GOODS_REASONS: Final = frozenset({"surplus_payment"})
"""Money that came twice goes back; the goods that it paid for once are still owed."""


def shipment_id(order_id: UUID) -> UUID:
    """The one shipment of an order, whoever decides it and how often."""
    return derived_id("shipment", str(order_id))


def settle(order: Order, shipments: Sequence[Shipment]) -> Decision:
    """What the facts of `order` ask for beyond the `shipments` that it has.

    Once the order is paid and its stock is sold to it, and nothing holds it, a parcel is made of what is sent, and what
    is digital is delivered. A refund under way holds it; one that succeeded takes its lines out before the parcel
    leaves, or before they are delivered, as a canceled shipment of its own, so that they return to the shelf once. A
    dispute holds it until it is won; one that is lost takes out all that has not left. Applied a second time it asks
    for nothing.
    """
    if order.goods is None or not order.stock_committed:
        return Decision()
    main_id = shipment_id(order.order_id)
    main = next((shipment for shipment in shipments if shipment.id == main_id), None)
    to_send = _to_send(order.goods, main, shipments)
    to_deliver = () if order.digital_delivered else left_of(order.goods.digital, shipments)
    before = main or Shipment(main_id, order.order_id, ShipmentState.CREATED, to_send, version=0)
    here = merged(to_send + to_deliver)
    concerning = _concerning(order, order.goods)
    cuts, left = _cuts(order.order_id, here, concerning, shipments)
    if _gives_all_back(order.goods, [r for r in concerning if r.succeeded]) or (cuts and not left):
        return _canceled(order, replace(before, lines=here), shipments, "refunded") if here else Decision()
    if _disputed(order, order.goods, Outcome.LOST):
        return _canceled(order, replace(before, lines=here), shipments, DISPUTE_LOST) if here else Decision()
    said: tuple[Message, ...] = tuple(
        said_canceled(
            cut,
            "lines_refunded",
            common(cut.lines, _unsellable_of(cut, concerning)),
            others_gone=_has_gone(order, shipments),
        )
        for cut in cuts
    )
    to_send, to_deliver = common(left, to_send), common(left, to_deliver)
    kept = (replace(main, lines=to_send, version=main.version + 1),) if main is not None and cuts and to_send else ()
    if blocked(order):
        return Decision((*cuts, *kept), said)
    made = (replace(before, lines=to_send, version=1),) if main is None and to_send else ()
    said += tuple(said_created(order, parcel) for parcel in made)
    said += (said_digital_delivered(order, to_deliver),) if to_deliver else ()
    return Decision((*cuts, *kept, *made), said, digital_delivered=bool(to_deliver))


def _to_send(goods: Goods, main: Shipment | None, shipments: Sequence[Shipment]) -> tuple[Line, ...]:
    """What is in the parcel, or would be in it, as long as it has not left."""
    if main is None:
        return left_of(goods.lines, shipments)
    return main.lines if main.state is ShipmentState.CREATED else ()


def blocked(order: Order) -> bool:
    """Whether the order is held, a bank asks for money for goods of it, or that is on its way back."""
    if order.held or order.goods is None:
        return order.held
    if _disputed(order, order.goods, Outcome.OPENED):
        return True
    concerning = _concerning(order, order.goods)
    under_way = [refund for refund in concerning if refund.under_way]
    gone = {line.sku for line in order.goods.digital} if order.digital_delivered else set()
    if any(line.sku not in gone for refund in under_way for line in refund.lines):
        return True
    moving = under_way + [refund for refund in concerning if refund.succeeded]
    return bool(under_way) and _gives_all_back(order.goods, moving)


def _concerning(order: Order, goods: Goods) -> list[Refund]:
    """The refunds of the payments that settled the order, and of store credit, which has no intent; others paid for no
    goods."""
    settled = {"", *goods.payment_intents}
    found = (refund for refund in order.refunds.values() if refund.payment_intent in settled)
    return sorted((refund for refund in found if refund.reason not in NO_GOODS_REASONS), key=attrgetter("refund_id"))


def _disputed(order: Order, goods: Goods, outcome: Outcome) -> bool:
    """Whether the last word about a dispute of a payment that settled the order is `outcome`."""
    concerning = (one for one in order.disputes.values() if one.payment_intent in goods.payment_intents)
    return any(one.outcome is outcome for one in concerning)


def _gives_all_back(goods: Goods, refunds: Sequence[Refund]) -> bool:
    """Whether `refunds` together return all that was paid for the goods."""
    if any(refund.reason in WHOLE_ORDER_REASONS for refund in refunds):
        return True
    return bool(refunds) and sum(refund.amount_minor for refund in refunds) >= goods.total_minor


def _cuts(
    order_id: UUID, left: tuple[Line, ...], refunds: Sequence[Refund], shipments: Sequence[Shipment]
) -> tuple[tuple[Shipment, ...], tuple[Line, ...]]:
    """The lines that succeeded refunds take out and nobody took out yet, and the lines that are left then."""
    taken = {shipment.id for shipment in shipments}
    cuts: list[Shipment] = []
    for refund in refunds:
        lines = common(left, refund.lines) if refund.succeeded else ()
        own_id = cut_id(order_id, refund.refund_id)
        if lines and own_id not in taken:
            cuts.append(Shipment(own_id, order_id, ShipmentState.CANCELED, lines))
            left = without(left, lines)
    return tuple(cuts), left


def _unsellable_of(cut: Shipment, refunds: Sequence[Refund]) -> tuple[Line, ...]:
    return next(refund.unsellable for refund in refunds if cut_id(cut.order_id, refund.refund_id) == cut.id)


def _canceled(order: Order, parcel: Shipment, shipments: Sequence[Shipment], reason: str) -> Decision:
    canceled = replace(parcel, state=ShipmentState.CANCELED, version=parcel.version + 1)
    unsellable = unsellable_in(order, canceled.lines, shipments)
    others_gone = _has_gone(order, shipments)
    return Decision((canceled,), (said_canceled(canceled, reason, unsellable, others_gone=others_gone),))


def _has_gone(order: Order, shipments: Sequence[Shipment]) -> bool:
    """Whether anything of the order left the house, or was delivered where nothing is sent."""
    here = (ShipmentState.CREATED, ShipmentState.CANCELED)
    return order.digital_delivered or any(shipment.state not in here for shipment in shipments)
