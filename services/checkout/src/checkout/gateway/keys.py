"""The keys under which Stripe is asked."""

from checkout.model.customers import Addition, Customer
from checkout.model.orders import Order
from payments_shared.ids import external_id


def key_of(kind: str, prefix: str, wanted: Order | Customer | Addition) -> str:
    """The same for every repetition, and another once Stripe has kept a failure under it."""
    suffix = f"_{wanted.stripe_attempt}" if wanted.stripe_attempt else ""
    return f"{kind}_{external_id(prefix, wanted.id)}{suffix}"
