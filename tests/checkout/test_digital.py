"""What is not sent: no address, no parcel, and its buyer's once it is paid."""

import json
import secrets

import pytest

from checkout.decide import pricing, saying
from checkout.decide.order import is_final
from checkout.model.carts import Cart, Price, PricedLine, Standing, Wanted
from checkout.model.orders import Placement, State
from payments_shared.clock import utc_now
from payments_shared.ids import new_id
from tests.checkout.test_order_fold import AT, an_order
from tests.checkout.test_recovering import closed, recover
from tests.support.people import Person
from tests.support.shopping import Json, Shopper, eventually

MUG = Price("MUG", "Mug", True, None, 1800, {})
GUIDE = Price("GUIDE", "Guide", True, None, 900, {}, digital=True)
COURSE = Price("COURSE", "Course", True, None, 5000, {"MUG": 1, "GUIDE": 2}, digital_parts=("GUIDE",))
LIBRARY = Price("LIBRARY", "Library", True, None, 3000, {"GUIDE": 2, "AUDIO": 1}, digital_parts=("AUDIO", "GUIDE"))
PRICES = {price.sku: price for price in (MUG, GUIDE, COURSE, LIBRARY)}


def a_cart(*skus: str) -> Cart:
    return Cart(tuple(Wanted(sku, 1) for sku in skus), None, Standing(), utc_now())


@pytest.mark.parametrize(
    ("skus", "sent"),
    [
        (("MUG",), True), (("GUIDE",), False), (("GUIDE", "MUG"), True),
        (("COURSE",), True), (("LIBRARY",), False), (("LIBRARY", "GUIDE"), False),
    ],
)  # fmt: skip
def test_a_cart_is_sent_as_far_as_its_goods_and_the_parts_of_its_bundles_are(skus: tuple[str, ...], sent: bool) -> None:
    assert pricing.has_goods(a_cart(*skus), PRICES) is sent


def test_a_bundle_that_is_marked_itself_is_sent_as_far_as_its_parts_are() -> None:
    assert Price("SET", "Set", True, None, 100, {"MUG": 1}, digital=True).is_sent


def test_an_order_tells_which_of_its_lines_and_parts_are_sent() -> None:
    cart = a_cart("MUG", "GUIDE", "COURSE", "LIBRARY")
    quote = pricing.quote(cart, PRICES, currency="usd", exchange=None, maximum_minor=99_999_999)
    wanted = Placement(cart.lines, ("usd",), None, "ada@example.com", None, None, "en-US", "/s", "/c")

    told = saying.placed(new_id(), quote, wanted, cart.now).lines

    assert [line.digital for line in told] == [False, True, False, True]
    assert [line.unsent() for line in told] == [[], [("GUIDE", 1)], [("GUIDE", 2)], [("AUDIO", 1), ("GUIDE", 2)]]
    assert [line.sent() for line in told] == [[("MUG", 1)], [], [("MUG", 1)], []]


GUIDES = (PricedLine("GUIDE", "Guide", 1, 900, digital=True),)
COURSES = (PricedLine("COURSE", "Course", 1, 900, parts={"MUG": 1, "GUIDE": 1}, digital_parts=("GUIDE",)),)


@pytest.mark.parametrize(
    ("given", "final"),
    [
        ({"state": State.PENDING, "lines": GUIDES}, False),
        ({"state": State.EXPIRED, "lines": GUIDES}, True),
        ({"state": State.PAID}, True),
        ({"state": State.PAID, "lines": GUIDES}, False),
        ({"state": State.PAID, "lines": COURSES}, False),
        ({"state": State.PAID, "lines": GUIDES, "digital_delivered_at": AT}, True),
        ({"state": State.PAID, "lines": GUIDES, "held_reason": "review"}, True),
        ({"state": State.PAID, "lines": GUIDES, "dishonoured": True}, True),
        ({"state": State.PAID, "lines": GUIDES, "refunds": {"1": {"status": "approved", "amount_minor": 900}}}, True),
    ],
)
def test_who_follows_an_order_sees_that_what_is_not_sent_is_his(given: Json, final: bool) -> None:
    assert is_final(an_order(**given)) is final


async def offered(shopper: Shopper, **given: object) -> str:
    """Something on sale, fifty pieces; by default nothing of it is sent."""
    sku = "UNSENT-" + secrets.token_hex(5)
    product = {"name": f"Product {sku}", "prices": {"usd": 1800}, "digital": True, **given}
    await shopper.admin("PUT", "checkout", f"/admin/products/{sku}", product)
    await shopper.admin("PUT", "inventory", f"/admin/stock/{sku}", {"total": 50})
    return sku


async def delivered(shopper: Shopper, order: Json) -> Json:
    """The order once what is not sent is its buyer's, and everything has come to rest."""

    async def probe() -> Json | None:
        seen = await shopper.order(order)
        return seen if seen["digital_delivered_at"] else None

    seen: Json = await eventually(probe, what="what is not sent to be its buyer's")
    await shopper.quiet()
    return seen


async def said(shopper: Shopper, order: Json) -> list[tuple[str, list[tuple[str, int]]]]:
    """What fulfillment said of the order: types, and lines."""
    sql = (
        "SELECT type, convert_from(body, 'UTF8') AS body FROM fulfillment.outbox WHERE correlation_id = $1 ORDER BY seq"
    )
    rows = await shopper.owner.fetch(sql, order["order_id"])
    bodies = [(row["type"], json.loads(row["body"])["data"]["lines"]) for row in rows]
    return [(type_, [(line["sku"], line["quantity"]) for line in lines]) for type_, lines in bodies]


@pytest.mark.servers
async def test_an_order_of_which_nothing_is_sent_is_delivered_by_being_paid_also_when_it_is_taken_up_again(
    shopper: Shopper,
) -> None:
    guide = await offered(shopper)
    left = await shopper.placed(guide, quantity=2, shipping={"country": "DE"}, country="DE")
    await closed(shopper, left)
    order = (await recover(shopper, left)).body
    assert await shopper.pay(order) == 303

    seen = await delivered(shopper, order)

    assert (seen["status"], seen["shipment"], seen["shipping"]) == ("paid", None, None)
    assert [line["digital"] for line in seen["lines"]] == [True]
    assert await said(shopper, order) == [("digital.delivered.v1", [(guide, 2)])]
    assert await shopper.effects(order) == (1, 1, 0, 1)
    (mail,) = await shopper.mails(order, "order_confirmation")
    for text in await shopper.mail_parts(mail):
        assert "Nothing of it has to be sent" in text
        assert "packed" not in text
    report = await shopper.audited()
    assert {f.predicate.number: f.examined for f in report.findings}["I40"] >= 1


@pytest.mark.servers
async def test_one_click_on_a_bundle_sends_what_of_it_is_sent_and_delivers_the_rest(shopper: Shopper) -> None:
    guide, mug = await offered(shopper), await offered(shopper, digital=False)
    course = await offered(shopper, parts={guide: 2, mug: 1}, digital=False)
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    await ada.saves()
    lines = [{"sku": course, "quantity": 2}, {"sku": guide, "quantity": 1}, {"sku": mug, "quantity": 3}]

    order = (await ada.buys(course, lines=lines)).body
    seen = await delivered(shopper, order)

    assert (seen["shipment"]["status"], [line["digital"] for line in seen["lines"]]) == (
        "created",
        [False, True, False],
    )
    assert sorted(await said(shopper, order)) == [
        ("digital.delivered.v1", [(guide, 5)]), ("shipment.created.v1", [(mug, 5)]),
    ]  # fmt: skip
    (mail,) = await shopper.mails(order, "order_confirmation")
    _, text = await shopper.mail_parts(mail)
    marks = [f"{sku} {mark}" in text for sku, mark in ((course, "(in part online)"), (guide, "(online)"))]
    assert (marks, f"{mug}: " in text) == ([True, True], True)
    await shopper.audited()
