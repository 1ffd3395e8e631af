"""3-D Secure is demanded by rules that are data, each demand with its reasons."""

from dataclasses import replace

import pytest

from checkout.decide import securing
from checkout.model.securing import Buying, Demand, SecureRule

PLAIN = Buying("usd", 5000, "GB", first_order=False, declines=0)


@pytest.mark.parametrize(
    ("rule", "buying", "reasons"),
    [
        (SecureRule("any"), PLAIN, ("always",)),
        (SecureRule("any", amounts={"usd": 5000}), PLAIN, ("from 5000 usd",)),
        (SecureRule("any", amounts={"usd": 5001}), PLAIN, None),
        (SecureRule("any", amounts={"eur": 1}), PLAIN, None),
        (SecureRule("any", first_order=True), replace(PLAIN, first_order=True), ("first order",)),
        (SecureRule("any", first_order=True), PLAIN, None),
        (SecureRule("any", declines=2), replace(PLAIN, declines=3), ("3 declines within the hour",)),
        (SecureRule("any", declines=2), replace(PLAIN, declines=1), None),
        (SecureRule("any", countries=frozenset({"BR", "GB"})), PLAIN, ("country GB",)),
        (SecureRule("any", countries=frozenset({"GB"})), replace(PLAIN, country=None), None),
        (SecureRule("any", amounts={"usd": 1}, first_order=True), PLAIN, None),
        (
            SecureRule("any", amounts={"usd": 1}, first_order=True),
            replace(PLAIN, first_order=True),
            ("from 1 usd", "first order"),
        ),
    ],
)
def test_a_rule_holds_when_all_of_its_conditions_do(
    rule: SecureRule, buying: Buying, reasons: tuple[str, ...] | None
) -> None:
    found = securing.demand([rule], buying)

    assert (found and found.reasons) == reasons


def test_the_strongest_of_several_rules_is_demanded_and_all_reasons_are_told_once() -> None:
    rules = [SecureRule("challenge", amounts={"usd": 1}), SecureRule("any"), SecureRule("any", amounts={"usd": 1})]

    assert securing.demand(rules, PLAIN) == Demand("challenge", ("from 1 usd", "always"))
    assert securing.demand(rules[::-1], PLAIN) == Demand("challenge", ("from 1 usd", "always"))
    assert securing.demand([], PLAIN) is None


@pytest.mark.parametrize(
    ("asked", "wanted", "sent"),
    [
        (None, None, None),
        (None, "any", "any"),
        ("any", None, "any"),
        ("any", "challenge", "challenge"),
        ("challenge", "any", "challenge"),
    ],
)
def test_what_is_asked_for_already_is_only_ever_made_stronger(
    asked: str | None, wanted: str | None, sent: str | None
) -> None:
    options = {"card": {"request_three_d_secure": asked}} if asked else {}
    params = {"mode": "payment", **({"payment_method_options": options} if options else {})}
    demand = Demand(wanted, ("first order",)) if wanted else None

    made = securing.secured(params, demand)
    risk = securing.risk_of(made, demand)

    assert made.get("payment_method_options", {}).get("card", {}).get("request_three_d_secure") == sent
    assert made["mode"] == "payment"
    assert (risk and risk.outcome) == sent
