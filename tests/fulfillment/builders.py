"""Facts and messages about one order, valid by default: two mugs and a cap for 5,400."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from fulfillment.decide import Held, Paid, Unheld
from fulfillment.model import Dispute, Goods, Line, Outcome, Refund, Verdict
from payments_shared.contracts import checkout, inventory, refunds
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import derived_id, external_id

ORDER = UUID(int=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOTAL = 5400
INTENT = "pi_settled"
LINES = (Line("CAP", 1), Line("MUG", 2))
ADDRESS = {"name": "Ada", "line1": "1 Main St", "city": "Paris", "country": "FR"}
EXPRESS = {"code": "express", "name": "Express"}
ADA = checkout.Customer(email="ada@example.com", name="Ada")

PAID = Paid(Goods(LINES, TOTAL, frozenset({INTENT}), ADDRESS, ADA.model_dump()))
EBOOK = (Line("EBOOK", 1),)
MIXED = Paid(Goods(LINES, TOTAL, frozenset({INTENT}), ADDRESS, ADA.model_dump(), digital=EBOOK))
DIGITAL = Paid(Goods((), TOTAL, frozenset({INTENT}), None, ADA.model_dump(), digital=EBOOK))
HELD = Held(NOON)
UNHELD = Unheld(NOON + timedelta(hours=1))


def a_refund(
    verdict: str,
    name: str = "1",
    *,
    amount_minor: int = TOTAL,
    reason: str = "requested_by_customer",
    payment_intent: str = INTENT,
    lines: tuple[Line, ...] = (),
    unsellable: tuple[Line, ...] = (),
) -> Refund:
    """What was said of the refund `name`."""
    verdicts = frozenset({Verdict(verdict)})
    return Refund(derived_id("refund", name), payment_intent, amount_minor, reason, lines, verdicts, unsellable)


def a_dispute(outcome: str, version: int = 1, name: str = "1", *, payment_intent: str = INTENT) -> Dispute:
    """What was said of the dispute `name`."""
    return Dispute(f"du_{name}", payment_intent, version, Outcome(outcome))


def about(order_id: UUID) -> str:
    """The order as it is named outside, and the partition key of its messages."""
    return external_id("ord", order_id)


def order_paid(order_id: UUID) -> checkout.OrderPaid:
    """The order's money is captured by the intent named after it."""
    lines = tuple(
        checkout.Line(sku=line.sku, name=line.sku, quantity=line.quantity, unit_amount_minor=1800, amount_minor=1800)
        for line in LINES
    )
    return checkout.OrderPaid(
        order_id=order_id,
        currency="usd",
        subtotal_minor=TOTAL,
        discount_minor=0,
        tax_minor=0,
        shipping_minor=0,
        total_minor=TOTAL,
        lines=lines,
        customer=ADA,
        shipping_address=checkout.Address(**ADDRESS),
        shipping_option=checkout.ShippingOption(**EXPRESS),
        payments=(checkout.Payment(payment_intent=intent_of(order_id), amount_minor=TOTAL, currency="usd"),),
        paid_at=NOON,
    )


def order_paid_with(order_id: UUID, *more: checkout.Line) -> checkout.OrderPaid:
    """The same, with more lines, which cost nothing."""
    paid = order_paid(order_id)
    return paid.model_copy(update={"lines": (*paid.lines, *more)})


def a_line(sku: str, *, digital: bool, parts: Mapping[str, bool] | None = None) -> checkout.Line:
    """One of something; of a bundle, two of each of its `parts`, of which those that are true are not sent."""
    inside = tuple(checkout.BundlePart(sku=part, quantity=2, digital=unsent) for part, unsent in (parts or {}).items())
    return checkout.Line(
        sku=sku, name=sku, quantity=1, unit_amount_minor=0, amount_minor=0, parts=inside, digital=digital
    )


def intent_of(order_id: UUID) -> str:
    """The payment intent that settled an order."""
    return f"pi_{order_id.hex}"


def stock_committed(order_id: UUID) -> inventory.StockCommitted:
    """The goods are the order's."""
    return inventory.StockCommitted(order_id=order_id, lines=stock_lines({"CAP": 1, "MUG": 2}))


def stock_lines(quantities: Mapping[str, int]) -> tuple[StockLine, ...]:
    """Lines as messages carry them."""
    return tuple(StockLine(sku=sku, quantity=quantity) for sku, quantity in quantities.items())


R = TypeVar("R", bound=refunds.AboutRefund)


def refund_message(model: type[R], order_id: UUID, quantities: Mapping[str, int] | None = None, **changes: object) -> R:
    """Something said of the only refund of an order."""
    facts: dict[str, object] = {
        "order_id": order_id,
        "refund_id": derived_id("refund", str(order_id)),
        "payment_intent": intent_of(order_id),
        "amount_minor": 1800 if quantities else TOTAL,
        "currency": "usd",
        "reason": "requested_by_customer",
        "requester": "person:carol",
        "lines": stock_lines(quantities or {}),
        "approver": "person:dave",
        "stripe_refund_id": "re_1",
    }
    return model.model_validate(facts | changes)


D = TypeVar("D", bound=refunds.AboutDispute)


def dispute_message(model: type[D], order_id: UUID, version: int = 1, **changes: object) -> D:
    """Something said of the only dispute of an order."""
    facts: dict[str, object] = {
        "order_id": order_id,
        "dispute_id": f"du_{order_id.hex}",
        "payment_intent": intent_of(order_id),
        "charge": f"ch_{order_id.hex}",
        "amount_minor": TOTAL,
        "currency": "usd",
        "reason": "product_not_received",
        "kind": "dispute",
        "version": version,
    }
    return model.model_validate(facts | changes)
