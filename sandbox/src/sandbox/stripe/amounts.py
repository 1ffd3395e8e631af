"""Which amounts can be charged.

Source: Stripe, "Supported currencies": minimum amounts, and the special cases of ISK, UGX and three-decimal currencies.
"""

from typing import Final

from sandbox.stripe.errors import invalid

MINIMUM: Final = {"usd": 50, "eur": 50, "gbp": 30, "jpy": 50, "cad": 50, "chf": 50}
_STEPS: Final = {"isk": 100, "ugx": 100, "bhd": 10, "jod": 10, "kwd": 10, "omr": 10, "tnd": 10}


def step(currency: str) -> int:
    """Amounts are charged in multiples of this many minor units."""
    return _STEPS.get(currency, 1)


def check_payable(amount: int, currency: str, param: str | None = None) -> None:
    """Refuse an amount of which a part cannot be paid."""
    if amount % (whole := step(currency)):
        detail = f"Invalid amount: {currency.upper()} amounts must be evenly divisible by {whole}."
        raise invalid(detail, param=param)
