"""Which orders can be taken up again, what is different then, and whom a link lets in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checkout.decide import recovering as rules
from checkout.decide.learning import Account
from checkout.decide.recovering import Change, Links
from checkout.model.carts import PricedLine
from checkout.model.facts import Abandoned, Fact, OrderEnded
from checkout.model.orders import State
from payments_shared.errors import Refused
from payments_shared.ids import derived_id
from tests.checkout.test_order_fold import DECLINE_1, DECLINE_2, EXPIRED, an_order

NOW = datetime(2026, 5, 1, 12, 0, 0, 500, tzinfo=UTC)
LINKS = Links(b"s" * 32, 600)
FIRST = derived_id("order", "1")
ABANDONED = Abandoned(DECLINE_1.key)
SUPERSEDED = OrderEnded("superseded")


def account(number: int, state: State, *facts: Fact, dishonoured: bool = False) -> Account:
    order = an_order(
        id=derived_id("order", str(number)),
        state=state,
        recovered_from=None if number == 1 else FIRST,
        dishonoured=dishonoured,
    )
    return Account(order, {fact.key: fact for fact in facts}, frozenset())


def ids(orders: object) -> list[object]:
    return [order.id for order in orders]  # type: ignore[attr-defined]  # orders of a course


@pytest.mark.parametrize(
    "first",
    [
        account(1, State.EXPIRED, EXPIRED),
        account(1, State.SETTLEMENT_FAILED),
    ],
)
def test_what_ended_is_superseded_by_what_takes_it_up(first: Account) -> None:
    course = rules.course([first])

    assert (ids(course.superseded), course.closing, course.open) == ([FIRST], (), None)


def test_the_page_of_an_order_that_was_given_up_is_closed_first() -> None:
    course = rules.course([account(1, State.DECLINED, DECLINE_1, ABANDONED)])

    assert (ids(course.closing), course.superseded, course.open) == ([FIRST], (), None)


@pytest.mark.parametrize("state", [State.PENDING, State.DECLINED])
def test_one_that_takes_it_up_and_is_open_is_the_answer(state: State) -> None:
    family = [account(1, State.CANCELED, EXPIRED, SUPERSEDED), account(2, State.EXPIRED), account(3, state, DECLINE_1)]

    course = rules.course(family)

    assert course.open is not None
    assert (course.open.id, course.superseded) == (derived_id("order", "3"), ())


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELED])
def test_one_that_took_it_up_and_ended_makes_room_for_another(state: State) -> None:
    family = [account(1, State.CANCELED, EXPIRED, SUPERSEDED), account(2, state, OrderEnded("out_of_stock"))]

    course = rules.course(family)

    assert course.open is None
    assert ids(course.superseded) == ([derived_id("order", "2")] if state is State.EXPIRED else [])


@pytest.mark.parametrize(
    ("family", "code"),
    [
        ([account(1, State.PENDING)], "order_not_recoverable"),
        ([account(1, State.DECLINED, DECLINE_1)], "order_not_recoverable"),
        ([account(1, State.DECLINED, DECLINE_1, ABANDONED, DECLINE_2)], "order_not_recoverable"),
        ([account(1, State.CANCELED, OrderEnded("buyer"))], "order_not_recoverable"),
        ([account(1, State.PAID)], "order_paid"),
        ([account(1, State.PROCESSING)], "order_paid"),
        ([account(1, State.CANCELED, EXPIRED, SUPERSEDED), account(2, State.PAID)], "order_paid"),
        ([account(1, State.CANCELED, EXPIRED, SUPERSEDED), account(2, State.PROCESSING)], "order_paid"),
    ],
)
def test_what_is_open_canceled_or_paid_is_not_taken_up_again(family: list[Account], code: str) -> None:
    with pytest.raises(Refused, match=code):
        rules.course(family)


def test_money_that_went_back_stands_in_nobodys_way() -> None:
    family = [account(1, State.PAID, EXPIRED, SUPERSEDED, dishonoured=True), account(2, State.EXPIRED)]

    assert ids(rules.course(family).superseded) == [derived_id("order", "2")]


def test_every_difference_from_the_cart_that_was_left_is_named() -> None:
    mug, pen, tee = (
        PricedLine("MUG", "Mug", 2, 1800),
        PricedLine("PEN", "Pen", 1, 300),
        PricedLine("TEE", "Tee", 1, 900),
    )
    before = an_order(lines=(mug, pen, tee), coupon="TEN", discount_minor=480)
    dearer = replace(mug, unit_amount_minor=2000)

    assert rules.changes(before, (mug, pen, tee), coupon="TEN", discount_minor=480) == ()
    assert rules.changes(before, (dearer, tee), coupon=None, discount_minor=0) == (
        Change("price_changed", "MUG", "Mug", None, 1800, 2000),
        Change("not_sold", "PEN", "Pen"),
        Change("coupon_dropped", coupon="TEN"),
    )
    assert rules.changes(before, (dearer, pen, tee), coupon="TEN", discount_minor=520)[1:] == (
        Change("discount_changed", None, None, "TEN", 480, 520),
    )


def test_a_link_opens_its_own_order_until_its_time_is_over() -> None:
    link = LINKS.link_to(FIRST, NOW)

    assert link.expires_at == NOW.replace(microsecond=0) + timedelta(seconds=600)
    LINKS.check(link.token, FIRST, NOW + timedelta(seconds=599))
    with pytest.raises(Refused, match="recovery_expired"):
        LINKS.check(link.token, FIRST, NOW + timedelta(seconds=600))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda token: "9" + token[1:],
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token.partition(".")[2],
        lambda _: "",
        lambda _: Links(b"t" * 32, 600).link_to(FIRST, NOW).token,
        lambda _: LINKS.link_to(derived_id("order", "2"), NOW).token,
    ],
)
def test_a_link_that_we_did_not_make_for_the_order_opens_nothing(spoilt: object) -> None:
    assert callable(spoilt)

    with pytest.raises(Refused, match="not_found"):
        LINKS.check(spoilt(LINKS.link_to(FIRST, NOW).token), FIRST, NOW)


def test_the_token_of_the_new_order_is_none_of_its_link() -> None:
    token = LINKS.order_token(FIRST)

    assert token == LINKS.order_token(FIRST)
    assert len(token) == 32
    assert token not in LINKS.link_to(FIRST, NOW).token


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://shop.example/success?order_id={}", "/success"),
        ("https://shop.example/done?from=app&order_id={}", "/done?from=app"),
        ("https://shop.example/success", None),
        ("https://evil.example/success?order_id={}", None),
        (None, None),
    ],
)
def test_a_buyer_comes_back_to_where_he_would_have_come_back_before(url: str | None, path: str | None) -> None:
    name = f"ord_{FIRST.hex}"

    assert rules.path_of(url and url.format(name), "https://shop.example", FIRST) == path
