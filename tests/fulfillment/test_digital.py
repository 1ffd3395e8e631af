"""What is not sent is its buyer's once it is paid, in stock and not held; and only what is sent makes a parcel."""

from collections import Counter
from itertools import permutations

import aiohttp
import pytest

from fulfillment.decide import Fact
from fulfillment.model import Line, ShipmentHeld, ShipmentState
from payments_shared.contracts.checkout import OrderHeld, OrderPaid, OrderUnheld
from payments_shared.contracts.fulfillment import DigitalDelivered, ShipmentCreated
from payments_shared.ids import new_id
from tests.fulfillment.builders import (
    DIGITAL,
    EBOOK,
    HELD,
    LINES,
    MIXED,
    UNHELD,
    a_line,
    a_refund,
    about,
    order_paid,
    order_paid_with,
    stock_committed,
)
from tests.fulfillment.test_decide import ALL, CAP, COMMITTED, SHIP, House, a_house
from tests.support.one_service import OneService

MINE, ONE = list(EBOOK), Counter({"EBOOK": 1})


def delivered(house: House) -> list[Line]:
    """What was said to be the buyer's, which is said once."""
    said = [message for message in house.said if isinstance(message, DigitalDelivered)]
    assert len(said) <= 1
    return [Line(line.sku, line.quantity) for message in said for line in message.lines]


Outcome = tuple[list[Line], ShipmentState | None, Counter[str]]
HISTORIES: dict[str, tuple[tuple[Fact, ...], Outcome]] = {
    "nothing is sent": ((DIGITAL, COMMITTED), (MINE, None, Counter())),
    "stock not yet": ((DIGITAL,), ([], None, Counter())),
    "refunded for no stock": ((DIGITAL, a_refund("succeeded", reason="shortfall")), ([], None, Counter())),
    "some is sent": ((MIXED, COMMITTED), (MINE, ShipmentState.CREATED, Counter())),
    "some for goodwill": (
        (MIXED, COMMITTED, a_refund("approved", amount_minor=100), a_refund("succeeded", amount_minor=100)),
        (MINE, ShipmentState.CREATED, Counter()),
    ),
}
HELD_FIRST: dict[str, tuple[tuple[Fact, ...], Outcome]] = {
    "held": ((DIGITAL, COMMITTED), ([], None, Counter())),
    "let go": ((MIXED, COMMITTED, UNHELD), (MINE, ShipmentState.CREATED, Counter())),
    "paid back": ((DIGITAL, COMMITTED, a_refund("succeeded")), ([], ShipmentState.CANCELED, ONE)),
    "paid back, some is sent": ((MIXED, COMMITTED, a_refund("succeeded")), ([], ShipmentState.CANCELED, ALL + ONE)),
    "the line that is not sent paid back": (
        (MIXED, COMMITTED, a_refund("succeeded", amount_minor=500, lines=EBOOK)), ([], None, ONE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
def test_every_order_and_repetition_of_a_history_ends_alike(name: str) -> None:
    facts, outcome = HISTORIES[name]

    for sequence in permutations((*facts, facts[-1])):
        house = a_house(*sequence)
        assert (delivered(house), house.state(), house.restocked()) == outcome, sequence


@pytest.mark.parametrize("name", HELD_FIRST)
def test_what_is_held_is_delivered_when_it_is_let_go_and_returns_to_the_shelf_when_it_is_paid_back(name: str) -> None:
    facts, outcome = HELD_FIRST[name]

    for sequence in permutations((*facts, facts[-1])):
        house = a_house(HELD, *sequence)
        assert (delivered(house), house.state(), house.restocked()) == outcome, sequence


def test_what_was_delivered_is_not_taken_back_by_a_refund_and_the_parcel_is() -> None:
    house = a_house(MIXED, COMMITTED, a_refund("approved"), a_refund("succeeded"))

    assert (delivered(house), house.state(), house.restocked()) == (MINE, ShipmentState.CANCELED, ALL)
    assert a_house(DIGITAL, COMMITTED, a_refund("succeeded")).restocked() == Counter()


def test_all_that_is_sent_is_paid_back_and_the_rest_is_still_delivered() -> None:
    house = a_house(HELD, MIXED, COMMITTED, a_refund("succeeded", amount_minor=5300, lines=LINES), UNHELD)

    assert (delivered(house), house.state(), house.restocked()) == (MINE, None, ALL)


def test_a_refund_of_what_was_delivered_holds_no_parcel() -> None:
    house = a_house(MIXED, COMMITTED, a_refund("approved", amount_minor=500, lines=EBOOK))
    house.move(SHIP)
    with pytest.raises(ShipmentHeld):
        a_house(MIXED, COMMITTED, a_refund("approved", amount_minor=500, lines=EBOOK + CAP)).move(SHIP)

    assert house.state() is ShipmentState.SHIPPED


def test_a_bundle_is_split_by_its_parts() -> None:
    bundle = a_line("SET", digital=False, parts={"MUG": False, "EBOOK": True})
    downloads = a_line("SHELF", digital=True, parts={"EBOOK": True, "AUDIO": True})

    assert (bundle.sent(), bundle.unsent()) == ([("MUG", 2)], [("EBOOK", 2)])
    assert (downloads.sent(), downloads.unsent()) == ([], [("EBOOK", 2), ("AUDIO", 2)])
    assert sorted(bundle.goods()) == [("EBOOK", 2), ("MUG", 2)]


def test_a_message_of_the_release_before_says_that_all_is_sent() -> None:
    said = order_paid_with(new_id(), a_line("EBOOK", digital=True)).model_dump(mode="json")
    for line in said["lines"]:
        del line["digital"]

    assert [line.unsent() for line in OrderPaid.model_validate(said).lines] == [[], [], []]


@pytest.mark.servers
async def test_what_is_sent_makes_a_parcel_and_the_rest_is_delivered_once_nothing_holds_it(
    fulfillment: OneService, http: aiohttp.ClientSession
) -> None:
    order_id = new_id()
    lines = a_line("EBOOK", digital=True), a_line("SET", digital=False, parts={"MUG": False, "EBOOK": True})
    held = OrderHeld(order_id=order_id, reason="identity_conflict", cause="review:1")
    await fulfillment.tell(held, order_paid_with(order_id, *lines), stock_committed(order_id))
    assert await fulfillment.said(about(order_id)) == []

    await fulfillment.tell(OrderUnheld(order_id=order_id, cause="review:1"), order_paid(order_id))

    created, digital = await fulfillment.said(about(order_id))
    assert (created.type, digital.type) == (ShipmentCreated.TYPE, DigitalDelivered.TYPE)
    assert created.data["lines"] == [{"sku": "CAP", "quantity": 1}, {"sku": "MUG", "quantity": 4}]
    assert digital.data["lines"] == [{"sku": "EBOOK", "quantity": 3}]
    who = fulfillment.person("support")
    async with http.get("/admin/shipments", params={"order_id": about(order_id)}, headers=who) as answer:
        shown = await answer.json()
    assert shown["digital"] == {"lines": [{"sku": "EBOOK", "quantity": 3}], "delivered": True}
