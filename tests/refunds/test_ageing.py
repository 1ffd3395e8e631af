"""Payments are refunded as long as Stripe refunds them."""

from datetime import UTC, datetime, timedelta

import pytest

from payments_shared.errors import Refused
from payments_shared.ids import new_id
from refunds.decide import asking
from refunds.decide.ageing import REFUNDABLE_DAYS, refundable_until
from refunds.decide.asking import Asked, Known
from refunds.decide.ruling import DEFAULT_RULES
from refunds.model.bills import Amount, Given
from refunds.model.patterns import Charge
from refunds.model.refunds import Order, Payment
from refunds.model.requests import Destination, Person
from refunds.model.rules import Standing
from tests.refunds.test_shares import a_bill

AT = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order(new_id(), {"email": "ada@example.com"}, paid=True, shortfall=False, bill=a_bill((1, 1000)), account="ada")


def ask(charge: Charge | None, now: datetime, destination: Destination = Destination.ORIGINAL) -> int:
    """Ask for 400 of an order; what is given back."""
    payment = Payment("pi_1", ORDER.order_id, "usd", 1000, settles=True)
    known = Known(ORDER, [payment], {}, {}, Given(), DEFAULT_RULES, now, charges=[charge] if charge else [])
    asked = Asked(ORDER.order_id, Amount(400), destination, "goodwill", "", Person("sam"))
    request, _ = asking.requested(new_id(), asked, known, Standing())
    return request.amount_minor


@pytest.mark.parametrize(("method", "days"), REFUNDABLE_DAYS.items())
def test_a_payment_is_refunded_until_its_last_day_and_then_no_more(method: str, days: int) -> None:
    charge, last = Charge("pi_1", method, AT), AT + timedelta(days=days)

    assert ask(charge, last) == 400
    with pytest.raises(Refused) as refused:
        ask(charge, last + timedelta(seconds=1))

    assert (refused.value.code, refused.value.status) == ("too_old_for_method", 422)
    assert refused.value.extra == {
        "refundable_until": last.isoformat().replace("+00:00", "Z"),
        "method_type": method,
        "payment_intent": "pi_1",
    }
    assert ask(charge, last + timedelta(days=900), Destination.STORE_CREDIT) == 400


@pytest.mark.parametrize(
    "charge", [None, Charge("pi_1", "card", AT), Charge("pi_1", "teleport", AT), Charge("pi_1", None, AT)]
)
def test_where_stripe_names_no_limit_none_is_made_up(charge: Charge | None) -> None:
    assert ask(charge, AT + timedelta(days=5000)) == 400
    assert charge is None or refundable_until(charge) is None


def test_only_payments_that_give_something_back_are_asked_how_old_they_are() -> None:
    assert ask(Charge("pi_2", "alipay", AT), AT + timedelta(days=5000)) == 400
