"""A bundle is sold as one and leaves the shelves in its parts."""

import secrets

import pytest

from checkout.decide import pricing
from checkout.model.carts import Cart, Price, PricedLine, Standing, Wanted
from checkout.model.catalog import Product
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from tests.support.shopping import Answer, Json, Shopper

MUG = Price("MUG", "Mug", True, None, 1800, {})
SET = Price("SET", "Set of six", True, None, 9000, {"MUG": 6, "BOX": 1})


def quoted(prices: dict[str, Price], *wanted: Wanted) -> tuple[PricedLine, ...]:
    cart = Cart(wanted, None, Standing(), utc_now())
    return pricing.quote(cart, prices, currency="usd", exchange=None, maximum_minor=99_999_999).lines


def test_the_pieces_of_a_cart_are_summed_over_all_its_lines() -> None:
    assert pricing.pieces(quoted({"MUG": MUG, "SET": SET}, Wanted("SET", 3), Wanted("MUG", 2))) == {"MUG": 20, "BOX": 3}


def test_a_cart_of_more_pieces_than_one_order_may_hold_is_refused() -> None:
    huge = Price("HUGE", "Pallet", True, None, 100, {"MUG": 99})
    for lines in ((Wanted("HUGE", 99), Wanted("OTHER", 99)), tuple(Wanted(f"S{n}", 1) for n in range(101))):
        prices = {"HUGE": huge, "OTHER": Price("OTHER", "More", True, None, 100, {"MUG": 20})}
        prices |= {f"S{n}": Price(f"S{n}", "Small", True, None, 100, {}) for n in range(101)}
        with pytest.raises(Refused) as refusal:
            quoted(prices, *lines)
        assert (refusal.value.code, refusal.value.status) == ("cart_too_large", 422)


@pytest.mark.parametrize(
    ("parts", "unknown", "nested", "pointer"),
    [
        ({"A": 1, "NONE": 1}, ["NONE"], [], "/parts/NONE"),
        ({"A": 1}, [], ["A"], "/parts/A"),
        ({"SET": 1}, [], [], "/parts/SET"),
        ({"A": 1}, [], ["SET"], "/parts"),
    ],
)
def test_a_bundle_of_bundles_or_of_nothing_is_refused(
    parts: dict[str, int], unknown: list[str], nested: list[str], pointer: str
) -> None:
    with pytest.raises(Refused) as refusal:
        pricing.check_parts(Product("SET", "Set", "", "", True, None, {}, parts), unknown=unknown, nested=nested)

    assert refusal.value.errors[0].pointer == pointer


async def test_a_bundle_takes_the_stock_of_its_parts_and_is_sent_in_them(shopper: Shopper) -> None:
    mug, box = await shopper.offer(stock=20), await shopper.offer(stock=5)
    bundle = await offered(shopper, {mug: 6, box: 1})
    lines = [{"sku": bundle, "quantity": 2}, {"sku": mug, "quantity": 3}]

    order = await shopper.bought(bundle, lines=lines)
    seen = await shopper.until(order, "paid")
    await shopper.quiet()

    assert (seen["subtotal_minor"], [line["sku"] for line in seen["lines"]]) == (2 * 9000 + 3 * 1800, [bundle, mug])
    piles = [await shopper.stock_of(sku) for sku in (mug, box)]
    assert [(pile["available"], pile["committed"]) for pile in piles] == [(5, 15), (3, 2)]
    shipment = (await shopper.admin("GET", "fulfillment", f"/admin/shipments?order_id={order['order_id']}")).body
    assert [(line["sku"], line["quantity"]) for line in shipment["shipments"][0]["lines"]] == sorted(
        [(mug, 15), (box, 2)]
    )
    await shopper.audited()


async def test_a_bundle_whose_parts_are_short_says_which(shopper: Shopper) -> None:
    mug, box = await shopper.offer(stock=11), await shopper.offer(stock=5)
    bundle = await offered(shopper, {mug: 6, box: 1})

    refused = await shopper.checkout(bundle, quantity=2)

    assert (refused.status, refused.body["code"]) == (409, "out_of_stock")
    assert refused.body["available"] == [{"sku": mug, "requested": 12, "available": 11}]
    assert (await shopper.stock_of(box))["available"] == 5
    await shopper.audited()


async def test_what_a_bundle_consists_of_is_changed_for_new_orders_alone(shopper: Shopper) -> None:
    mug, box = await shopper.offer(stock=20), await shopper.offer(stock=5)
    bundle = await offered(shopper, {mug: 6})
    order = await shopper.placed(bundle)

    await put(shopper, bundle, {box: 1})
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.quiet()

    assert [(await shopper.stock_of(sku))["committed"] for sku in (mug, box)] == [6, 0]
    listed = (await shopper.admin("GET", "checkout", "/admin/products")).body["products"]
    assert next(product["parts"] for product in listed if product["sku"] == bundle) == {box: 1}
    await shopper.audited()


async def test_no_bundle_becomes_part_of_another(shopper: Shopper) -> None:
    mug = await shopper.offer()
    bundle, other = await offered(shopper, {mug: 2}), await shopper.offer()

    inside = await put(shopper, other, {bundle: 1})
    outside = await put(shopper, mug, {other: 1})
    missing = await put(shopper, other, {"NO-SUCH": 1})

    assert [(a.status, a.body["code"]) for a in (inside, outside, missing)] == [
        (422, "nested_bundle"), (422, "nested_bundle"), (422, "unknown_sku"),
    ]  # fmt: skip
    assert (await shopper.checkout(other)).status == 201


async def offered(shopper: Shopper, parts: Json) -> str:
    sku = "SET-" + secrets.token_hex(5)
    answer = await put(shopper, sku, parts)
    assert answer.status == 200, answer
    return sku


async def put(shopper: Shopper, sku: str, parts: Json) -> Answer:
    token = shopper.deployment.keys.token("admin-1", "admin")
    url = f"{shopper.deployment.internal_url('checkout')}/admin/products/{sku}"
    body = {"name": f"Bundle {sku}", "prices": {"usd": 9000}, "parts": parts}
    return await shopper.call("PUT", url, body, Authorization=f"Bearer {token}")
