"""Messages of the neighbours of notifications."""

from datetime import UTC, datetime
from uuid import UUID

from payments_shared.contracts import checkout

ADA = checkout.Customer(email="ada@example.com", name="Ada Lovelace")


def order_paid(
    order_id: UUID,
    total: int = 1800,
    *,
    currency: str = "usd",
    locale: str = "en-US",
    name: str = "Ada Lovelace",
    article: str = "Clay mug",
    email: str = "ada@example.com",
) -> checkout.OrderPaid:
    """One article, paid."""
    line = checkout.Line(sku="MUG", name=article, quantity=1, unit_amount_minor=total, amount_minor=total)
    return checkout.OrderPaid(
        order_id=order_id,
        currency=currency,
        subtotal_minor=total,
        discount_minor=0,
        tax_minor=0,
        shipping_minor=0,
        total_minor=total,
        lines=(line,),
        customer=checkout.Customer(email=email, name=name, locale=locale),
        payments=(checkout.Payment(payment_intent=f"pi_{order_id.hex}", amount_minor=total, currency=currency),),
        paid_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
