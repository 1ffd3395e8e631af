"""Whether 3-D Secure is demanded of whoever pays an order by card. Pure.

Source: Stripe API, "Create a Checkout Session", `payment_method_options.card.request_three_d_secure`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from checkout.model.risks import Risk
from checkout.model.securing import Buying, Demand, SecureRule

STRENGTH: Final = ("automatic", "any", "challenge")
"""From weakest to strongest."""


def demand(rules: Sequence[SecureRule], buying: Buying) -> Demand | None:
    """The strongest demand of the rules that hold, with the reasons of all of them; None when there is none."""
    found = [(rule, reasons) for rule in rules if (reasons := _reasons(rule, buying)) is not None]
    if not found:
        return None
    request = max((rule.request for rule, _ in found), key=STRENGTH.index)
    return Demand(request, tuple(dict.fromkeys(reason for _, reasons in found for reason in reasons)))


def _reasons(rule: SecureRule, buying: Buying) -> tuple[str, ...] | None:
    """Why a rule holds; None when it does not."""
    amount = rule.amounts.get(buying.currency)
    conditions = (
        (bool(rule.amounts), amount is not None and buying.total_minor >= amount, f"from {amount} {buying.currency}"),
        (rule.first_order, buying.first_order, "first order"),
        (rule.declines > 0, buying.declines >= rule.declines, f"{buying.declines} declines within the hour"),
        (bool(rule.countries), buying.country in rule.countries, f"country {buying.country}"),
    )
    given = [(holds, reason) for is_given, holds, reason in conditions if is_given]
    if not all(holds for holds, _ in given):
        return None
    return tuple(reason for _, reason in given) or ("always",)


def secured(params: Mapping[str, Any], wanted: Demand | None) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """A session's parameters with what is demanded, unless they demand as much already."""
    options = dict(params.get("payment_method_options", {}))
    card = dict(options.get("card", {}))
    asked = card.get("request_three_d_secure", STRENGTH[0])
    if wanted is None or STRENGTH.index(asked) >= STRENGTH.index(wanted.request):
        return dict(params)
    return {**params, "payment_method_options": {**options, "card": {**card, "request_three_d_secure": wanted.request}}}


def risk_of(params: Mapping[str, Any], wanted: Demand | None) -> Risk | None:  # Any: as above
    """What was decided, for the list of an order; None when nothing is demanded."""
    asked = params.get("payment_method_options", {}).get("card", {}).get("request_three_d_secure")
    if asked is None:
        return None
    return Risk("three_d_secure", "three_d_secure", str(asked), wanted.reasons if wanted else ("amount or country",))
