"""How suspicious a request is. Pure.

Each signal has points, and least counts below which it says nothing: few numbers accuse nobody. Rates are compared as
whole numbers. The score is the sum of the points, from 0 to 100. What explains a request takes off the points of the
signals that it explains, and of no others.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from refunds.decide.identity import is_buyer
from refunds.model.bills import Bill, Pieces, Wish
from refunds.model.patterns import Buyer, Operator, Patterns, Rate, Reason, Suspicion
from refunds.model.refunds import Order
from refunds.model.requests import Person
from refunds.model.requests import Reason as Why

SCORE_MAX: Final = 100
BASELINE_ORDERS: Final = 100
"""A shop, or a product, that sold less has no rate to compare with."""

UNLIKE: Final = 3
"""So many times what is usual is unusual."""

PEERS: Final = 3
"""With fewer colleagues nobody says what is usual."""

GOODS_BACK: Final = frozenset({Why.RETURNED, Why.DAMAGED, Why.WRONG_ITEM})
"""Reasons for which goods that were delivered are refunded every day."""


class Signal(StrEnum):
    """The stable names of what can be suspicious."""

    CUSTOMER_REFUND_RATE = "customer_refund_rate"
    CUSTOMER_VELOCITY = "customer_velocity"
    OPERATOR_VELOCITY = "operator_velocity"
    OPERATOR_REPEATS_CUSTOMER = "operator_repeats_customer"
    OWN_ORDER = "own_order"
    REFUND_AFTER_DELIVERY = "refund_after_delivery"
    NOT_RECEIVED_AFTER_DELIVERY = "not_received_after_delivery"
    SHARED_CARD = "shared_card"
    PRODUCT_REFUND_RATE = "product_refund_rate"
    PRODUCT_SELDOM_REFUNDED = "product_seldom_refunded"
    EARLY_FRAUD_WARNING = "early_fraud_warning"


PRODUCT_EXPLAINS: Final = 20
"""The most points that a product takes off which everybody gives back."""

EXPLAINED: Final = frozenset(
    {
        Signal.CUSTOMER_REFUND_RATE,
        Signal.CUSTOMER_VELOCITY,
        Signal.OPERATOR_VELOCITY,
        Signal.REFUND_AFTER_DELIVERY,
    }
)
"""Whose points it takes off: they say that much is refunded, and not who gains by it, or pays with whose card."""


def suspect(wish: Wish, reason: str, requester: Person, order: Order, patterns: Patterns) -> Suspicion:
    """What is suspicious about a request of `requester`, and how much."""
    against = [
        *_of_buyer(patterns.buyer, patterns.shop),
        *_of_operator(patterns.operator),
        *_of_both(patterns.buyer, requester, order),
        *_of_delivery(patterns, reason),
        *_of_payment(patterns),
    ]
    explained = sum(one.points for one in against if one.signal in EXPLAINED)
    found = (*against, *_of_products(wish, order.bill, patterns, explained))
    return Suspicion(min(sum(one.points for one in found), SCORE_MAX), found)


def is_unlike(rate: Rate, usual: Rate, *, times: int = UNLIKE) -> bool:
    """Whether more is refunded than `times` what is usual, where anything is."""
    return usual.orders >= BASELINE_ORDERS and rate.refunded * usual.orders > times * usual.refunded * rate.orders


def _of_buyer(buyer: Buyer, shop: Rate) -> Sequence[Reason]:
    found = []
    rate = buyer.rate
    often = rate.orders >= 4 and rate.refunded >= 3 and 2 * rate.refunded >= rate.orders
    if often and is_unlike(rate, shop):
        mostly = rate.refunded >= 5 and 5 * rate.refunded >= 4 * rate.orders
        detail = {
            "refunded": rate.refunded,
            "orders": rate.orders,
            "shop_refunded": shop.refunded,
            "shop_orders": shop.orders,
        }
        found.append(Reason(Signal.CUSTOMER_REFUND_RATE, 40 if mostly else 30, detail))
    if buyer.day >= 3 or buyer.month >= 6:
        found.append(Reason(Signal.CUSTOMER_VELOCITY, 15, {"day": buyer.day, "month": buyer.month}))
    return found


def _of_operator(operator: Operator) -> Sequence[Reason]:
    if operator.peers < PEERS:
        return ()
    a_month = operator.month >= 30 and operator.month * operator.peers > UNLIKE * operator.peers_month
    a_day = operator.day >= 15 and 30 * operator.day * operator.peers > UNLIKE * operator.peers_month
    detail = {
        "day": operator.day,
        "month": operator.month,
        "peers": operator.peers,
        "peers_month": operator.peers_month,
    }
    return (Reason(Signal.OPERATOR_VELOCITY, 20, detail),) if a_month or a_day else ()


def _of_both(buyer: Buyer, requester: Person, order: Order) -> Sequence[Reason]:
    found = []
    if is_buyer(order, requester):
        found.append(Reason(Signal.OWN_ORDER, 60))
    if buyer.by_operator >= 3:
        detail = {"by_operator": buyer.by_operator, "all": buyer.quarter}
        found.append(Reason(Signal.OPERATOR_REPEATS_CUSTOMER, 25 if buyer.by_operator >= 5 else 15, detail))
    return found


def _of_delivery(patterns: Patterns, reason: str) -> Sequence[Reason]:
    if patterns.delivered_at is None or reason in GOODS_BACK:
        return ()
    if reason == Why.NOT_RECEIVED:
        return (Reason(Signal.NOT_RECEIVED_AFTER_DELIVERY, 30),)
    return (Reason(Signal.REFUND_AFTER_DELIVERY, 10),)


def _of_payment(patterns: Patterns) -> Sequence[Reason]:
    found = []
    if patterns.card_buyers >= 3:
        many = patterns.card_buyers >= 6
        found.append(Reason(Signal.SHARED_CARD, 40 if many else 25, {"buyers": patterns.card_buyers}))
    if patterns.early_fraud_warning:
        found.append(Reason(Signal.EARLY_FRAUD_WARNING, 60))
    return found


def _of_products(wish: Wish, bill: Bill | None, patterns: Patterns, explained: int) -> Sequence[Reason]:
    """A product that everybody gives back explains `explained` points, up to `PRODUCT_EXPLAINS`; one that nobody does
    makes a refund odd."""
    rates = [patterns.products.get(sku, Rate()) for sku in _skus(wish, bill)]
    shop = patterns.shop
    bad = [rate for rate in rates if rate.orders >= 20 and rate.refunded >= 5 and is_unlike(rate, shop, times=2)]
    if bad:
        worst = max(bad, key=lambda rate: rate.refunded * 1000 // rate.orders)
        points = -min(explained, PRODUCT_EXPLAINS)
        return (Reason(Signal.PRODUCT_REFUND_RATE, points, {"refunded": worst.refunded, "orders": worst.orders}),)
    seldom = rates and all(rate.orders >= BASELINE_ORDERS and is_unlike(shop, rate, times=4) for rate in rates)
    if seldom and shop.orders >= BASELINE_ORDERS:
        least = min(rates, key=lambda rate: rate.orders)
        return (Reason(Signal.PRODUCT_SELDOM_REFUNDED, 10, {"refunded": least.refunded, "orders": least.orders}),)
    return ()


def _skus(wish: Wish, bill: Bill | None) -> set[str]:
    """The products that go back: those of the wish, or all of the order."""
    lines = bill.lines if bill else ()
    if isinstance(wish, Pieces):
        return {lines[one.line].sku for one in wish.lines if 0 <= one.line < len(lines)}
    return {line.sku for line in lines}
