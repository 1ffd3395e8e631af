"""What the rules of refunds let pass, and what they keep for a second person."""

import pytest
from pydantic import ValidationError

from payments_shared.ids import new_id
from refunds.decide import asking
from refunds.decide.asking import Asked, Known
from refunds.model.bills import Amount, Given, Shares
from refunds.model.refunds import Order, Payment, State
from refunds.model.requests import Destination, Person
from refunds.model.rules import Rules, Standing
from refunds.routes.ruling import PUT, RulesRequest
from tests.refunds.test_shares import AT, a_bill

LIMITS = {"usd": 10_000}
BILL = a_bill((1, 1000), (1, 500), tax=300, shipping=500)
"""The second line costs 500 and 75 of tax; the other and shipping cost 1725."""

ORDER = Order(new_id(), {"email": "ada@example.com"}, paid=True, shortfall=False, bill=BILL)


@pytest.mark.parametrize(
    ("final_sale", "before", "amount", "waits"),
    [
        (("SKU-1",), 0, 1725, False),
        (("SKU-1",), 0, 1726, True),
        (("SKU-1",), 1000, 725, False),
        (("SKU-1",), 1000, 726, True),
        (("SKU-0", "SKU-1"), 0, 575, False),
        (("SKU-0", "SKU-1"), 0, 576, True),
        (("SKU-9",), 0, 2300, False),
        ((), 0, 2300, False),
    ],
)
def test_an_amount_that_pays_for_what_is_never_taken_back_waits_for_a_second_person(
    final_sale: tuple[str, ...], before: int, amount: int, waits: bool
) -> None:
    rules = Rules(per_refund=LIMITS, per_operator_day=LIMITS, per_customer_month=LIMITS, final_sale=final_sale)
    payment = Payment("pi_1", ORDER.order_id, "usd", BILL.total_minor, settles=True)
    known = Known(ORDER, [payment], {"pi_1": before}, {}, Given(Shares(before, 0, 0)), rules, AT)
    asked = Asked(ORDER.order_id, Amount(amount), Destination.ORIGINAL, "goodwill", "", Person("sam"))

    request, (refund,) = asking.requested(new_id(), asked, known, Standing())

    assert request.needs == (("final_sale",) if waits else ())
    assert refund.state is (State.AWAITING_APPROVAL if waits else State.APPROVED)


@pytest.mark.parametrize(
    ("own", "others", "needs"),
    [
        (1000, 100, ("per_refund",)),
        (100, 1000, ("per_refund",)),
        (100, 100, ("per_refund",)),
        (1000, 1000, ()),
        (1000, None, ()),
    ],
)
def test_nobody_sets_the_limits_that_spare_himself_the_second_person(
    own: int, others: int | None, needs: tuple[str, ...]
) -> None:
    def limited(most: int) -> Rules:
        return Rules(per_refund={"usd": most}, per_operator_day=LIMITS, per_customer_month=LIMITS)

    payment = Payment("pi_1", ORDER.order_id, "usd", BILL.total_minor, settles=True)
    foreign = None if others is None else limited(others)
    known = Known(ORDER, [payment], {}, {}, Given(), limited(own), AT, others_rules=foreign)
    asked = Asked(ORDER.order_id, Amount(500), Destination.ORIGINAL, "goodwill", "", Person("sam"))

    request, _ = asking.requested(new_id(), asked, known, Standing())

    assert request.needs == needs


@pytest.mark.parametrize("missing", ["second_person_score", "refund_warned_up_to"])
def test_rules_that_were_kept_from_before_a_release_reset_nothing_unseen(missing: str) -> None:
    assert PUT.body is not None
    assert PUT.body.example is not None
    whole = dict(PUT.body.example)
    assert RulesRequest.model_validate(whole).second_person_score == 60

    with pytest.raises(ValidationError, match=missing):
        RulesRequest.model_validate({name: value for name, value in whole.items() if name != missing})
