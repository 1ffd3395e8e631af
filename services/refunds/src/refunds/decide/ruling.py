"""Whether a refund may be, and whether a second person must agree. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from payments_shared.errors import Refused
from refunds.decide import shares
from refunds.model.bills import Amount, Bill, Given, Sum, Wish
from refunds.model.rules import Rules, Standing

OPERATOR_WINDOW: Final = timedelta(days=1)
CUSTOMER_WINDOW: Final = timedelta(days=30)
DEFAULT_RULES: Final = Rules(
    per_refund={"usd": 50_000, "eur": 50_000, "gbp": 40_000, "chf": 50_000, "jpy": 75_000},
    per_operator_day={"usd": 500_000, "eur": 500_000, "gbp": 400_000, "chf": 500_000, "jpy": 750_000},
    per_customer_month={"usd": 200_000, "eur": 200_000, "gbp": 160_000, "chf": 200_000, "jpy": 300_000},
)
"""Until somebody makes rules: small sums go back at once, everything else waits for a second person."""


def admit(found: Sum, bill: Bill, rules: Rules, now: datetime) -> None:
    """Let a refund be asked for.

    Raises:
        Refused: 422 `outside_window` or `final_sale`.
    """
    if rules.window_days is not None and now - bill.paid_at > timedelta(days=rules.window_days):
        raise Refused("outside_window", f"Orders are refunded for {rules.window_days} days.", status=422)
    finals = sorted({bill.lines[line.line].sku for line in found.lines} & set(rules.final_sale))
    if finals:
        raise Refused("final_sale", "Some of it is never taken back.", status=422, extra={"skus": finals})


def final_sale(wish: Wish, found: Sum, bill: Bill, given: Given, rules: Rules) -> Sequence[str]:
    """Why a second person must agree to an amount that names no pieces: with what was given before it is more than all
    cost that may be taken back, and so pays for SKUs of `final_sale`. Empty where it is not."""
    if not isinstance(wish, Amount):
        return []
    parts = zip(bill.lines, shares.lines_of(bill), strict=True)
    finals = sum(goods + tax for line, (goods, tax) in parts if line.sku in rules.final_sale)
    more = given.shares.total_minor + found.amount_minor > bill.total_minor - finals
    return ["final_sale"] if finals and more else []


def second_person(
    amount_minor: int, currency: str, rules: Rules, standing: Standing, *, score: int = 0
) -> Sequence[str]:
    """Why a second person must agree; empty when nobody must."""
    checks: tuple[tuple[str, Mapping[str, int], int], ...] = (
        ("per_refund", rules.per_refund, 0),
        ("per_operator_day", rules.per_operator_day, standing.operator_minor),
        ("per_customer_month", rules.per_customer_month, standing.customer_minor),
    )
    found = [name for name, limits, before in checks if before + amount_minor > limits.get(currency, 0)]
    return [*found, "score"] if score >= rules.second_person_score else found
