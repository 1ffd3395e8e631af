"""What is heard of an order, and how it adds up."""

from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from fulfillment.model import Dispute, Goods, Order, Refund


@dataclass(frozen=True, slots=True)
class Paid:
    """The order's money is captured."""

    goods: Goods


@dataclass(frozen=True, slots=True)
class StockCommitted:
    """The goods are the order's."""


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing may leave, since `at`."""

    at: datetime
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Unheld:
    """It may go on, since `at`, as far as `cause` is concerned."""

    at: datetime
    cause: str | None = None


Fact = Paid | StockCommitted | Held | Unheld | Refund | Dispute


def fold(order: Order, fact: Fact) -> Order:
    """The order with `fact` among its facts: the same for every order of arrival and any repetition."""
    match fact:
        case Paid(goods=goods):
            return order if order.goods else replace(order, goods=goods)
        case StockCommitted():
            return replace(order, stock_committed=True)
        case Held() | Unheld():
            return _hold(order, fact)
        case Refund():
            known = order.refunds.get(fact.refund_id, fact)
            merged = replace(known, verdicts=known.verdicts | fact.verdicts)
            return replace(order, refunds=MappingProxyType({**order.refunds, fact.refund_id: merged}))
        case Dispute():
            last = order.disputes.get(fact.dispute_id)
            if last is not None and last.version >= fact.version:
                return order
            return replace(order, disputes=MappingProxyType({**order.disputes, fact.dispute_id: fact}))


def _hold(order: Order, word: Held | Unheld) -> Order:
    match word:
        case Held(cause=str() as cause):
            return replace(order, held_for=order.held_for | {cause})
        case Unheld(cause=str() as cause):
            return replace(order, over=order.over | {cause})
        case Held(at=at):
            return replace(order, held_at=max(at, order.held_at or at))
        case Unheld(at=at):
            return replace(order, unheld_at=max(at, order.unheld_at or at))
