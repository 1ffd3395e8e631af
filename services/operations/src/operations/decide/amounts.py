"""Amounts as operators read them, on pages and at the shell."""

from payments_shared.money import Money, exponent, to_decimal


def money(amount_minor: int, currency: str) -> str:
    """An amount with its currency: `1,250.00 USD`. One in a currency that nobody knows is told in its minor units."""
    try:
        decimals = exponent(currency)
    except ValueError:
        return f"{amount_minor:,} minor units of {currency}"
    return f"{to_decimal(Money(amount_minor, currency)):,.{decimals}f} {currency.upper()}"
