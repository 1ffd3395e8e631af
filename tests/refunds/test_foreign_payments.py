"""Whoever names the payment of another order moves nobody's money."""

from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from payments_shared.contracts import checkout
from payments_shared.errors import Poison
from payments_shared.messaging import Transaction
from refunds.decide.owing import Cause
from refunds.handlers.owing import Owing
from refunds.handlers.paying_back import owe
from refunds.model.refunds import Order, Payment
from refunds.store import refunds as store

KNOWN = Payment("pi_1", UUID(int=1), "usd", 1000, settles=True)
STRANGER = Order(UUID(int=2), None, paid=True, shortfall=False)


def transaction() -> Transaction:
    """One in which nothing can be read, written or said."""
    return cast("Transaction", SimpleNamespace(connection=None))


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The payment is recorded already, for the first order."""

    async def payment(*_: Any) -> Payment:
        return KNOWN

    async def order(*_: Any) -> Order:
        return STRANGER

    async def done(*_: Any) -> None:
        return None

    monkeypatch.setattr(store, "claim_payment", done)
    monkeypatch.setattr(store, "lock_payment", payment)
    monkeypatch.setattr(store, "load_payment", payment)
    monkeypatch.setattr(store, "lock_order", order)
    monkeypatch.setattr(store, "save_order", done)
    monkeypatch.setattr(store, "record_payment", done)


async def test_nothing_is_owed_to_another_order() -> None:
    with pytest.raises(Poison, match="payment_of_another_order"):
        await owe(transaction(), STRANGER, KNOWN.payment_intent, Cause("shortfall"))


async def test_what_is_said_to_be_due_to_another_order_is_refused_before_anything_is_folded() -> None:
    due = checkout.OrderRefundDue(
        order_id=STRANGER.order_id,
        payment_intent=KNOWN.payment_intent,
        amount_minor=1000,
        currency="usd",
        reason="surplus_payment",
    )

    with pytest.raises(Poison, match="payment_of_another_order"):
        await Owing().refund_due(transaction(), due)
