"""The life of a reservation, without any door."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory import decide
from inventory.decide import ARROWS, Again, Arrow, CameBack, Declined, Heard, Move
from inventory.model import Line, OutOfStock, Reservation, ReservationClosed, ReservationDiffers, Standing, State
from payments_shared.contracts.inventory import StockCommitted, StockLow, StockReleased, StockShortfall
from payments_shared.contracts.message import Message
from payments_shared.errors import Poison
from payments_shared.ids import new_id

ORDER = UUID(int=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LINES = (Line("CAP", 1), Line("MUG", 2))
PLENTY = {"CAP": 100, "MUG": 100}

PAID = Heard(Standing.PAID, "paid", LINES)
PROCESSING = Heard(Standing.PROCESSING, "processing", LINES)
FAILED = Heard(Standing.FAILED, "payment_failed")
EXPIRED = Heard(Standing.ENDED, "expired")
CANCELED = Heard(Standing.FAILED, "canceled")
ABANDONED = Heard(Standing.ENDED, "abandoned")
DECLINED = Declined(NOON + timedelta(minutes=10))


def a_hold(expires_at: datetime = NOON + timedelta(minutes=45)) -> Reservation:
    return Reservation(ORDER, State.HELD, Standing.OPEN, expires_at, 1, LINES)


def a_reservation(state: State, standing: Standing) -> Reservation:
    return Reservation(ORDER, state, standing, None, 2, LINES)


@dataclass
class Shelf:
    """A warehouse that applies decisions and checks at each that nothing is lost and nothing below zero."""

    free: dict[str, int]
    held: Counter[str] = field(default_factory=Counter)
    committed: Counter[str] = field(default_factory=Counter)
    orders: dict[UUID, Reservation] = field(default_factory=dict)
    said: list[Message] = field(default_factory=list)

    def hold(self, order_id: UUID, lines: Sequence[Line]) -> bool:
        if order_id in self.orders:
            return False
        if decide.missing_of(lines, self.free):
            return False
        self.orders[order_id] = Reservation(order_id, State.HELD, Standing.OPEN, NOON, 1, tuple(lines))
        self._move(lines, Move.HOLD)
        return True

    def hear(self, order_id: UUID, word: Heard | Declined) -> None:
        current = self.orders.get(order_id)
        decision = decide.step(order_id, current, word, free=self.free, low_threshold=-1)
        if decision is not None:
            self.orders[order_id] = decision.reservation
            self._move(decision.reservation.lines, decision.move)
            self.said += decision.announce

    def _move(self, lines: Sequence[Line], move: Move) -> None:
        before = self.total()
        for line in lines:
            free, held, committed = (line.quantity * per_unit for per_unit in move.value)
            self.free[line.sku] = self.free.get(line.sku, 0) + free
            self.held[line.sku] += held
            self.committed[line.sku] += committed
        assert self.total() == before
        assert min([*self.free.values(), *self.held.values(), *self.committed.values()]) >= 0

    def total(self) -> int:
        return sum(self.free.values()) + sum(self.held.values()) + sum(self.committed.values())


def test_every_square_is_answered_as_written_here() -> None:
    closed, held, released = State.CLOSED, State.HELD, State.RELEASED
    sold = Arrow(State.COMMITTED, State.SHORTFALL)
    none: dict[Standing, Arrow] = {}

    written = {
        None: (Arrow(closed), Arrow(held, closed), Arrow(closed), sold),
        State.HELD: (Arrow(released), Arrow(held), Arrow(released), Arrow(State.COMMITTED)),
        State.RELEASED: (None, Arrow(held, released), Arrow(released), sold),
        State.CLOSED: (None, Arrow(held, closed), Arrow(closed), sold),
        State.COMMITTED: none,
        State.SHORTFALL: none,
    }

    words = (Standing.ENDED, Standing.PROCESSING, Standing.FAILED, Standing.PAID)
    for state, arrows in written.items():
        wanted = {word: arrow for word, arrow in zip(words, arrows, strict=False) if arrow}
        assert dict(ARROWS[state]) == wanted, state
    assert set(ARROWS) == {None, *State}


@pytest.mark.parametrize("word", [PAID, PROCESSING, FAILED, EXPIRED, DECLINED])
@pytest.mark.parametrize("start", [None, a_hold()])
def test_a_repeated_word_changes_and_announces_nothing(start: Reservation | None, word: Heard | Declined) -> None:
    first = decide.step(ORDER, start, word, free=PLENTY, low_threshold=5)
    after = first.reservation if first else start

    again = decide.step(ORDER, after, word, free=PLENTY, low_threshold=5)

    assert again is None


def _end(words: Sequence[Heard | Declined | str]) -> tuple[Shelf, Reservation | None]:
    shelf = Shelf(dict(PLENTY))
    for word in words:
        if isinstance(word, str):
            shelf.hold(ORDER, LINES)
        else:
            shelf.hear(ORDER, word)
    return shelf, shelf.orders.get(ORDER)


@pytest.mark.parametrize(
    "history",
    [
        ("hold", PAID),
        ("hold", PROCESSING, PAID),
        ("hold", DECLINED, PAID),
        ("hold", DECLINED, ABANDONED, PAID),
        ("hold", EXPIRED),
        ("hold", DECLINED, ABANDONED, EXPIRED),
        ("hold", PROCESSING, FAILED),
        ("hold", PROCESSING, FAILED, PAID),
        ("hold", EXPIRED, PROCESSING, PAID),
        ("hold", CANCELED, PAID),
        ("hold", CANCELED, PROCESSING, FAILED),
        ("hold", CANCELED, PROCESSING),
        ("hold", DECLINED, PROCESSING, CANCELED),
        (PROCESSING, CANCELED),
        ("hold", EXPIRED, PROCESSING, CANCELED, FAILED),
        ("hold", DECLINED, PROCESSING, PAID, EXPIRED),
        (CANCELED, PAID),
    ],
    ids=lambda history: "-".join(w if isinstance(w, str) else getattr(w, "reason", "declined") for w in history),
)
def test_every_order_and_repetition_of_a_history_ends_alike(
    history: tuple[Heard | Declined | str, ...],
) -> None:
    paid = PAID in history
    money_under_way = PROCESSING in history and FAILED not in history and CANCELED not in history

    for words in permutations((*history, history[-1])):
        shelf, reservation = _end(words)

        assert reservation is not None
        assert reservation.standing is max(
            (word.standing for word in history if isinstance(word, Heard)), key=lambda s: s.rank
        )
        sold, held = sum(shelf.committed.values()), sum(shelf.held.values())
        assert (sold, held) == ((3, 0) if paid else (0, 3) if money_under_way else (0, 0)), words
        assert [type(m) for m in shelf.said].count(StockCommitted) == int(paid)
        assert not any(isinstance(message, StockShortfall) for message in shelf.said)


def test_what_was_paid_and_cannot_be_had_is_said_once_and_never_taken_later() -> None:
    released = a_reservation(State.RELEASED, Standing.ENDED)

    short = decide.step(ORDER, released, PAID, free={"CAP": 9, "MUG": 1}, low_threshold=5)

    assert short is not None
    assert (short.reservation.state, short.move) == (State.SHORTFALL, Move.NONE)
    (said,) = short.announce
    assert isinstance(said, StockShortfall)
    assert [(m.sku, m.quantity, m.available) for m in said.missing] == [("MUG", 2, 1)]
    assert decide.step(ORDER, short.reservation, PAID, free=PLENTY, low_threshold=5) is None


def test_money_on_its_way_without_stock_stays_released_until_it_is_paid() -> None:
    released = a_reservation(State.RELEASED, Standing.ENDED)

    waiting = decide.step(ORDER, released, PROCESSING, free={}, low_threshold=5)

    assert waiting is not None
    assert (waiting.reservation.state, waiting.announce) == (State.RELEASED, ())
    sold = decide.step(ORDER, waiting.reservation, PAID, free=PLENTY, low_threshold=5)
    assert sold is not None
    assert sold.move is Move.COMMIT_FREE


def test_money_on_its_way_for_unknown_lines_takes_nothing() -> None:
    word = Heard(Standing.PROCESSING, "processing")

    decision = decide.step(ORDER, None, word, free={}, low_threshold=5)

    assert decision is not None
    assert (decision.reservation.state, decision.move) == (State.CLOSED, Move.NONE)


def test_a_release_is_said_with_its_reason_only_when_something_was_held() -> None:
    held = decide.step(ORDER, a_hold(), EXPIRED, free=PLENTY, low_threshold=5)
    never = decide.step(ORDER, None, EXPIRED, free=PLENTY, low_threshold=5)

    assert held is not None
    assert never is not None
    (said,) = held.announce
    assert isinstance(said, StockReleased)
    assert said.reason == "expired"
    assert never.announce == ()


def test_a_decline_shortens_the_hold_and_never_lengthens_it() -> None:
    long, short = a_hold(NOON + timedelta(hours=1)), a_hold(NOON + timedelta(minutes=5))

    shortened = decide.step(ORDER, long, DECLINED, free={}, low_threshold=5)

    assert shortened is not None
    assert shortened.reservation.expires_at == DECLINED.hold_until
    assert decide.step(ORDER, short, DECLINED, free={}, low_threshold=5) is None
    assert decide.step(ORDER, None, DECLINED, free={}, low_threshold=5) is None


def test_a_decline_does_not_give_a_deadline_back_to_money_on_its_way() -> None:
    processing = a_reservation(State.HELD, Standing.PROCESSING)

    assert decide.step(ORDER, processing, DECLINED, free={}, low_threshold=5) is None


def test_a_payment_of_other_lines_than_those_held_goes_to_a_person() -> None:
    other = Heard(Standing.PAID, "paid", (Line("CAP", 2),))

    with pytest.raises(Poison, match="lines_differ"):
        decide.step(ORDER, a_hold(), other, free=PLENTY, low_threshold=5)


@pytest.mark.parametrize("state", [State.RELEASED, State.CLOSED, State.SHORTFALL])
def test_a_hold_that_comes_after_the_end_is_refused(state: State) -> None:
    standing = Standing.PAID if state is State.SHORTFALL else Standing.ENDED

    with pytest.raises(ReservationClosed):
        decide.answer_hold(a_reservation(state, standing), LINES)


def test_a_repeated_hold_is_answered_with_what_became_of_it() -> None:
    assert decide.answer_hold(a_hold(), LINES) is State.HELD
    assert decide.answer_hold(a_reservation(State.COMMITTED, Standing.PAID), LINES) is State.COMMITTED
    with pytest.raises(ReservationDiffers):
        decide.answer_hold(a_hold(), (Line("CAP", 5),))


def test_a_low_sku_warns_once_per_crossing() -> None:
    lines = (Line("MUG", 1),)

    warned = [
        (free, [m.available for m in decide.low_stock(lines, {"MUG": free}, Move.HOLD, 5)]) for free in (7, 6, 5, 4)
    ]

    assert warned == [(7, []), (6, [5]), (5, []), (4, [])]
    assert decide.low_stock(lines, {"MUG": 4}, Move.RELEASE, 5) == ()


def test_selling_from_the_shelf_warns_and_selling_what_was_held_does_not() -> None:
    late = decide.step(ORDER, None, PAID, free={"CAP": 6, "MUG": 100}, low_threshold=5)
    held = decide.step(ORDER, a_hold(), PAID, free={"CAP": 6, "MUG": 6}, low_threshold=5)

    assert late is not None
    assert held is not None
    assert [m.sku for m in late.announce if isinstance(m, StockLow)] == ["CAP"]
    assert not any(isinstance(message, StockLow) for message in held.announce)


def test_goods_that_come_back_without_what_is_unsellable_leave_that_sold() -> None:
    sold = a_reservation(State.COMMITTED, Standing.PAID)
    first, *_ = sold.lines

    after = decide.put_back(sold, CameBack(new_id(), "shipment.returned.v1", (Line(first.sku, 1),)))
    nothing = decide.put_back(after, CameBack(new_id(), "shipment.returned.v1", ()))

    assert after.restocked == nothing.restocked == {first.sku: 1}
    assert nothing.state is State.COMMITTED


def test_lines_of_one_sku_are_one_line() -> None:
    assert decide.merged([Line("B", 1), Line("A", 2), Line("B", 3)]) == (Line("A", 2), Line("B", 4))


WORDS = st.sampled_from(["hold", PAID, PROCESSING, FAILED, EXPIRED, CANCELED, ABANDONED, DECLINED])


@given(
    happenings=st.lists(st.tuples(st.integers(1, 4), WORDS), max_size=40),
    free=st.fixed_dictionaries({"CAP": st.integers(0, 3), "MUG": st.integers(0, 6)}),
)
def test_whatever_happens_nothing_is_lost_and_each_paid_order_is_sold_or_said_short_once(
    happenings: list[tuple[int, Heard | Declined | str]], free: dict[str, int]
) -> None:
    shelf = Shelf(dict(free))

    for number, word in happenings:
        if isinstance(word, str):
            shelf.hold(UUID(int=number), LINES)
        else:
            shelf.hear(UUID(int=number), word)

    assert shelf.total() == sum(free.values())
    outcomes = Counter(m.order_id for m in shelf.said if isinstance(m, StockCommitted | StockShortfall))
    assert outcomes == Counter({UUID(int=number) for number, word in happenings if word == PAID})
    for sku, per_order in (("CAP", 1), ("MUG", 2)):
        states = Counter(reservation.state for reservation in shelf.orders.values())
        assert shelf.held[sku] == per_order * states[State.HELD]
        assert shelf.committed[sku] == per_order * states[State.COMMITTED]


# -- held anew for another attempt -------------------------------------------------------------------------------------


def again(attempt: int, lines: Sequence[Line] = LINES) -> Again:
    return Again(attempt, tuple(lines), NOON + timedelta(hours=2))


def retrying(attempt: int) -> Heard:
    return Heard(Standing.ENDED, "payment_retrying", attempt=attempt)


def test_what_was_given_back_between_two_attempts_is_held_anew() -> None:
    released = decide.step(ORDER, a_hold(), retrying(0), free=PLENTY, low_threshold=5)
    assert released is not None

    held = decide.hold_again(released.reservation, again(1), free=PLENTY, low_threshold=5)

    assert (released.move, released.reservation.state) == (Move.RELEASE, State.RELEASED)
    assert held is not None
    assert (held.move, held.reservation.state, held.reservation.standing) == (Move.HOLD, State.HELD, Standing.OPEN)
    assert (held.reservation.attempt, held.reservation.expires_at) == (1, again(1).expires_at)


def test_a_late_word_about_an_attempt_that_is_over_releases_nothing() -> None:
    first = decide.hold_again(a_hold(), again(1), free={}, low_threshold=5)
    assert first is not None

    late = decide.step(ORDER, first.reservation, retrying(0), free={}, low_threshold=5)
    own = decide.step(ORDER, first.reservation, retrying(1), free={}, low_threshold=5)
    ended = decide.step(ORDER, first.reservation, EXPIRED, free={}, low_threshold=5)

    assert first.move is Move.NONE, "the word about the first attempt is still under way"
    assert late is None
    assert own is not None
    assert ended is not None
    assert (own.move, ended.move) == (Move.RELEASE, Move.RELEASE)


def test_holding_anew_is_repeated_without_harm_and_never_goes_back_to_an_earlier_attempt() -> None:
    released = replace(a_reservation(State.RELEASED, Standing.ENDED), attempt=1)
    second = decide.hold_again(released, again(2), free=PLENTY, low_threshold=5)
    assert second is not None

    repeated = decide.hold_again(second.reservation, again(2), free={}, low_threshold=5)

    assert repeated is not None
    assert repeated.move is Move.NONE
    assert decide.hold_again(second.reservation, again(1), free=PLENTY, low_threshold=5) is None


def test_what_was_sold_to_others_meanwhile_is_not_there() -> None:
    with pytest.raises(OutOfStock):
        decide.hold_again(a_reservation(State.RELEASED, Standing.ENDED), again(1), free={"CAP": 1}, low_threshold=5)


@pytest.mark.parametrize(
    "current",
    [
        None,
        a_reservation(State.CLOSED, Standing.ENDED),
        a_reservation(State.RELEASED, Standing.FAILED),
        a_reservation(State.HELD, Standing.PROCESSING),
        a_reservation(State.COMMITTED, Standing.PAID),
        a_reservation(State.SHORTFALL, Standing.PAID),
    ],
)
def test_nothing_is_held_anew_for_an_order_that_has_ended(current: Reservation | None) -> None:
    with pytest.raises(ReservationClosed):
        decide.hold_again(current, again(1), free=PLENTY, low_threshold=5)


def test_other_lines_are_not_held_anew() -> None:
    with pytest.raises(ReservationDiffers):
        decide.hold_again(a_hold(), again(1, (Line("CAP", 5),)), free=PLENTY, low_threshold=5)
