"""The outward doors of checkout: the stock hold at inventory, Stripe, and exchange rates."""

from checkout.gateway.charges import Charges, attempt_in, declined_in, leg_in
from checkout.gateway.inventory import HoldUnknown, Inventory
from checkout.gateway.payments import Payments, method_in, seen_in, session_seen
from checkout.gateway.rates import RateFeed
from checkout.gateway.takings import Takings

__all__ = [
    "Charges",
    "HoldUnknown",
    "Inventory",
    "Payments",
    "RateFeed",
    "Takings",
    "attempt_in",
    "declined_in",
    "leg_in",
    "method_in",
    "seen_in",
    "session_seen",
]
