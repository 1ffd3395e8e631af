"""Messages and requests of inventory's neighbours, valid by default."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from payments_shared.clock import utc_now
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import derived_id, external_id, new_id

ADA = checkout.Customer(email="ada@example.com")


def order_lines(quantities: Mapping[str, int]) -> tuple[checkout.Line, ...]:
    """Lines by SKU, at 100 each."""
    return tuple(
        checkout.Line(sku=sku, name=sku, quantity=n, unit_amount_minor=100, amount_minor=100 * n)
        for sku, n in quantities.items()
    )


def order_paid(order_id: UUID, quantities: Mapping[str, int]) -> checkout.OrderPaid:
    """A paid order of these lines."""
    total = 100 * sum(quantities.values())
    return checkout.OrderPaid(
        order_id=order_id,
        currency="usd",
        subtotal_minor=total,
        discount_minor=0,
        tax_minor=0,
        shipping_minor=0,
        total_minor=total,
        lines=order_lines(quantities),
        customer=ADA,
        payments=(checkout.Payment(payment_intent=f"pi_{order_id.hex}", amount_minor=total, currency="usd"),),
        paid_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def shipment_canceled(
    order_id: UUID, quantities: Mapping[str, int], shipment: str = "1"
) -> fulfillment.ShipmentCanceled:
    """The `shipment`-th shipment of an order never left."""
    return fulfillment.ShipmentCanceled(
        order_id=order_id,
        shipment_id=derived_id("shipment", str(order_id), shipment),
        lines=tuple(StockLine(sku=sku, quantity=n) for sku, n in quantities.items()),
        reason="refunded",
    )


def hold_request(
    order_id: UUID, quantities: Mapping[str, int], expires_in: timedelta = timedelta(minutes=45), **given: object
) -> dict[str, object]:
    """The body with which checkout asks for a hold."""
    return {
        "order_id": about(order_id),
        "expires_at": (utc_now() + expires_in).isoformat(),
        "lines": [{"sku": sku, "quantity": n} for sku, n in quantities.items()],
        **given,
    }


def about(order_id: UUID) -> str:
    """The order as it is named outside, and the partition key of its messages."""
    return external_id("ord", order_id)


def a_sku() -> str:
    """A SKU that no other test uses."""
    return f"sku-{new_id().hex[-12:]}"
