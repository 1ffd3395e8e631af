"""What is known of a payment method is the same in whatever order, and however often, events and answers arrive."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checkout.decide import methods as rules
from checkout.decide.recommending import recommended
from checkout.model.customers import LastCharge, Method, Saved

AT = datetime(2026, 1, 1, tzinfo=UTC)
CARD = Method("pm_1", "cus_1", "card", "visa", "4242", 12, 2030, None, None, AT)
RENEWED = replace(CARD, exp_year=2034)
REPLACED = replace(RENEWED, last4="1881")
GONE = None


def fold(history: tuple[Method | None, ...], truth: Method | None) -> Saved | None:
    """Hear `history`, None being a detachment; every question is answered at once with the `truth`."""
    known: Saved | None = None
    for shown in history:
        if shown is None:
            known = rules.gone(known, "pm_1")
            continue
        heard = rules.heard(known, shown)
        if heard is not None:
            asks = known is not None
            known = heard
            if asks:
                known = rules.answered(known, "pm_1", truth, known.asked) or known
    return known


HISTORIES = {
    "added": (CARD,),
    "renewed": (CARD, RENEWED),
    "renewed, then replaced": (CARD, RENEWED, REPLACED),
    "renewed and back": (CARD, RENEWED, CARD),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_every_order_of_changes_with_repeats_ends_with_what_is_true(name: str) -> None:
    history = HISTORIES[name]
    truth = history[-1]

    ends = {fold(order, truth) for order in itertools.permutations(history + history[:2])}

    assert {end.method for end in ends if end is not None} == {truth}


@pytest.mark.parametrize("name", HISTORIES)
def test_every_order_that_holds_a_detachment_ends_with_nothing_to_show(name: str) -> None:
    nobody = replace(HISTORIES[name][-1], customer=None)

    ends = [fold(order, nobody) for order in itertools.permutations((*HISTORIES[name], GONE))]

    assert all(end is not None and end.detached for end in ends)
    assert {end.method for end in ends if end is not None} <= {Method("pm_1", None), Method("pm_1", "cus_1")}


def test_the_answer_to_an_earlier_question_never_replaces_that_to_a_later_one() -> None:
    asked = rules.heard(Saved(CARD), RENEWED)
    assert asked is not None
    again = rules.heard(asked, REPLACED)
    assert again is not None

    later = rules.answered(again, "pm_1", REPLACED, again.asked)
    assert later is not None

    assert (asked.asked, again.asked) == (1, 2)
    assert rules.answered(later, "pm_1", RENEWED, asked.asked) is None
    assert later.method == REPLACED


def test_an_event_that_agrees_asks_again_while_an_answer_is_outstanding() -> None:
    """Known is the first state, asked because of the second, and back in the first: the answer may show the second."""
    outstanding = rules.heard(Saved(CARD), RENEWED)
    assert outstanding is not None

    again = rules.heard(outstanding, CARD)
    assert again is not None
    stale = rules.answered(again, "pm_1", RENEWED, 1)
    assert stale is not None
    end = rules.answered(stale, "pm_1", CARD, 2)

    assert end is not None
    assert end.method == CARD


def test_a_repeated_event_says_nothing_new() -> None:
    assert rules.heard(Saved(CARD), CARD) is None
    assert rules.heard(Saved(CARD, detached=True), RENEWED) is None


def test_an_answer_without_a_customer_ends_a_known_method_and_makes_none_known() -> None:
    asked = rules.heard(Saved(CARD, label="Mine"), RENEWED)

    ended = rules.answered(asked, "pm_1", replace(CARD, customer=None), 1)

    assert ended is not None
    assert (ended.detached, ended.method, ended.label) == (True, Method("pm_1", "cus_1"), None)
    assert rules.answered(None, "pm_1", replace(CARD, customer=None), 0) is None
    assert rules.answered(None, "pm_1", None, 0) is None
    assert rules.answered(None, "pm_1", CARD, 0) == Saved(CARD)


@pytest.mark.parametrize(
    ("now", "expired", "soon"),
    [
        (datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), False, True),
        (datetime(2026, 4, 1, tzinfo=UTC), True, False),
        (datetime(2026, 4, 1, tzinfo=UTC) - timedelta(days=60), False, True),
        (datetime(2026, 4, 1, tzinfo=UTC) - timedelta(days=60, seconds=1), False, False),
    ],
)
def test_a_card_is_good_until_its_month_is_over(now: datetime, expired: bool, soon: bool) -> None:
    [shown] = rules.listed([Saved(replace(CARD, exp_month=3, exp_year=2026))], None, now)

    assert (shown.expired, shown.expires_soon) == (expired, soon)


def test_december_is_over_with_the_year() -> None:
    card = Saved(replace(CARD, exp_month=12, exp_year=2026))

    flags = [
        rules.listed([card], None, now)[0].expired
        for now in (datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    ]

    assert flags == [False, True]


def test_an_account_never_expires() -> None:
    account = Saved(Method("pm_2", "cus_1", "sepa_debit", last4="3000", added_at=AT))

    [shown] = rules.listed([account], None, datetime(2126, 1, 1, tzinfo=UTC))

    assert (shown.expired, shown.expires_soon) == (False, False)


def test_the_default_is_what_was_chosen_while_it_is_there_and_else_the_oldest() -> None:
    old, new = Saved(CARD), Saved(replace(CARD, id="pm_2", added_at=AT + timedelta(days=1)))

    def default(*methods: Saved, chosen: str | None) -> list[str]:
        return [shown.saved.method.id for shown in rules.listed(methods, chosen, AT) if shown.default]

    assert default(old, new, chosen=None) == ["pm_1"]
    assert default(new, old, chosen="pm_2") == ["pm_2"]
    assert default(new, chosen="pm_1") == ["pm_2"]
    assert default(chosen="pm_1") == []
    assert [shown.saved.method.id for shown in rules.listed([old, new], None, AT)] == ["pm_2", "pm_1"]


@pytest.mark.parametrize(
    ("now", "months"),
    [
        (datetime(2026, 3, 1, tzinfo=UTC), []),
        (datetime(2026, 3, 2, tzinfo=UTC), [(2026, 3)]),
        (datetime(2026, 3, 31, 23, 59, tzinfo=UTC), [(2026, 3)]),
        (datetime(2027, 1, 31, tzinfo=UTC), [(2027, 1), (2027, 2)]),
        (datetime(2026, 12, 31, tzinfo=UTC), [(2026, 12)]),
        (datetime(2026, 4, 1, tzinfo=UTC), [(2026, 4)]),
    ],
)
def test_owners_are_told_in_the_last_thirty_days(now: datetime, months: list[tuple[int, int]]) -> None:
    assert rules.ending_months(now) == [rules.month_number(*month) for month in months]


def test_only_of_the_default_an_owner_is_told() -> None:
    old, new = Saved(CARD), Saved(replace(CARD, id="pm_2", added_at=AT + timedelta(days=1)))

    assert rules.expiring([old, new], None, "pm_1", AT) == old
    assert rules.expiring([old, new], None, "pm_2", AT) is None
    assert rules.expiring([old, new], "pm_2", "pm_2", AT) == new
    assert rules.expiring([], None, "pm_1", AT) is None


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("charges", "currency", "best"),
    [
        ({}, None, "card"),
        ({"card": (True, 1), "other": (True, 2)}, None, "other"),
        ({"card": (False, 3), "other": (True, 2)}, None, "other"),
        ({"card": (False, 3)}, "usd", "other"),
        ({"sepa": (True, 9), "other": (True, 2)}, "eur", "sepa"),
        ({"sepa": (True, 9), "other": (True, 2)}, "usd", "other"),
        ({"over": (True, 9)}, None, "card"),
        ({"card": (False, 1), "other": (False, 2)}, "usd", None),
    ],
)
def test_what_was_charged_last_with_success_is_recommended_else_the_default(
    charges: dict[str, tuple[bool, int]], currency: str | None, best: str | None
) -> None:
    kinds = {"card": "card", "other": "card", "sepa": "sepa_debit", "over": "card"}
    methods = [
        rules.Shown(Saved(Method(name, "cus", kind)), name == "card", name == "over", False)
        for name, kind in kinds.items()
    ]
    known = {name: LastCharge(name, succeeded, day(number)) for name, (succeeded, number) in charges.items()}

    for order in itertools.permutations(methods):
        found = recommended(order, known, currency)

        named = [one.saved.method.id for one in found if one.recommended]
        assert named == ([] if best is None else [best])
        assert [replace(one, recommended=False) for one in found] == list(order)
