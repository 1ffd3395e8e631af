"""What a request may say of the page: which methods, how long, from where, how safe, and the shop's own metadata."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from checkout.decide.paging import PAYMENT_METHODS, end_of, is_secured, page_params, wish_again
from checkout.model.carts import Quote
from checkout.model.delivery import Destination
from checkout.model.options import Device, PageRules, PageWish
from payments_shared.errors import Refused
from tests.support.instances import another_checkout
from tests.support.shopping import Json, Shopper

NOW = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
RULES = PageRules(3600.0, {"usd": 10_000}, ("IN",))


def minutes(wish: PageWish) -> float:
    return round((end_of(wish, RULES, NOW) - NOW).total_seconds() / 60, 1)


def test_a_page_lives_as_long_as_it_is_asked_to() -> None:
    assert minutes(PageWish()) == 60
    assert minutes(PageWish(device=Device.WEB)) == 60
    assert minutes(PageWish(device=Device.MOBILE)) == 45
    assert minutes(PageWish(device=Device.MOBILE, expires_in_minutes=90)) == 90
    assert minutes(PageWish(expires_at=NOW + timedelta(hours=20))) == 1200
    assert end_of(PageWish(), RULES, NOW).microsecond == 0


@pytest.mark.parametrize("seconds", [-60, 0, 2699, 86_001, 10**9])
def test_a_page_lives_neither_too_briefly_nor_too_long(seconds: int) -> None:
    with pytest.raises(Refused) as refusal:
        end_of(PageWish(expires_at=NOW + timedelta(seconds=seconds)), RULES, NOW)

    assert (refusal.value.code, refusal.value.errors[0].pointer) == ("expiry_out_of_range", "/expires_at")


@pytest.mark.parametrize(
    ("currency", "total", "country", "secured"),
    [
        ("usd", 9_999, None, False),
        ("usd", 10_000, "US", True),
        ("eur", 99_999, "DE", False),
        ("eur", 100, "IN", True),
    ],
)
def test_large_amounts_and_some_countries_are_confirmed(
    currency: str, total: int, country: str | None, secured: bool
) -> None:
    assert is_secured(Quote(currency, (), total, 0), RULES, Destination(country)) is secured


def test_what_is_not_wanted_is_left_out_and_nothing_is_named_without_a_wish() -> None:
    quote = Quote("usd", (), 100, 0)

    params = page_params(PageWish(payment_methods=["card", "klarna"]), quote, RULES, Destination())

    assert set(params["excluded_payment_method_types"]) == PAYMENT_METHODS - {"card", "klarna"}
    assert page_params(PageWish(), quote, RULES, Destination()) == {}


@pytest.mark.parametrize(
    "wish",
    [
        PageWish(),
        PageWish(device=Device.MOBILE, payment_methods=["card"], metadata={"till": "7"}),
        PageWish(device=Device.WEB),
    ],
)
def test_what_was_said_of_the_page_is_said_again_of_the_one_that_takes_its_order_up(wish: PageWish) -> None:
    params = page_params(wish, Quote("usd", (), 100, 0), RULES, Destination())

    assert wish_again({**params, "metadata": {**wish.metadata, "order_id": "ord_1"}}) == wish


async def placed(shopper: Shopper, url: str, **given: object) -> Json:
    sku = await shopper.offer()
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd", **given}
    key = {"Idempotency-Key": secrets.token_hex(12)}
    answer = await shopper.call("POST", f"{url}/api/payments/checkout-session", body, **key)
    return {"status": answer.status, **answer.body}


async def session_of(shopper: Shopper, order: Json) -> Json:
    return dict(await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}"))


async def test_the_page_is_as_it_was_asked_for(shopper: Shopper) -> None:
    url = shopper.deployment.front_door_url
    metadata = {"campaign": "spring", "till:7": "Ünïcode is text too"}

    order = await placed(
        shopper, url, payment_methods=["card"], origin="mobile", expires_in_minutes=50, metadata=metadata
    )

    session = await session_of(shopper, order)
    assert session["payment_method_types"] == ["card"]
    assert session["origin_context"] == "mobile_app"
    assert 49 * 60 <= session["expires_at"] - session["created"] <= 50 * 60
    assert session["metadata"] == {**metadata, "order_id": order["order_id"]}
    assert (await shopper.order(order))["metadata"] == metadata
    assert await shopper.pay(order, card="DE89370400440532013000", method="sepa_debit") == 409
    assert await shopper.pay(order) == 303
    seen = await shopper.until(order, "paid")
    assert seen["metadata"] == metadata
    [event] = await shopper.events_of(order, "payment_intent.succeeded")
    assert event["data"]["object"]["metadata"] == {**metadata, "order_id": order["order_id"]}


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"payment_methods": []}, "/payment_methods"),
        ({"payment_methods": ["card", "gold"]}, "/payment_methods/1"),
        ({"expires_in_minutes": 44}, "/expires_in_minutes"),
        ({"expires_in_minutes": 1440}, "/expires_in_minutes"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "/expires_at"),
        ({"origin": "fridge"}, "/origin"),
        ({"metadata": {"order_id": "ord_mine"}}, "/metadata"),
        ({"metadata": {"a[b]": "c"}}, "/metadata"),
        ({"metadata": {"a": ""}}, "/metadata"),
        ({"metadata": {"a": "b" * 501}}, "/metadata"),
        ({"metadata": {"a": "b\u0007"}}, "/metadata"),
        ({"metadata": {f"k{n}": "v" for n in range(41)}}, "/metadata"),
        ({"metadata": {"a": 1}}, "/metadata"),
    ],
)
async def test_an_odd_wish_is_refused_where_it_stands(shopper: Shopper, given: Json, pointer: str) -> None:
    refused = await placed(shopper, shopper.deployment.front_door_url, **given)

    assert refused["status"] == 422, refused
    assert refused["errors"][0]["pointer"].startswith(pointer)


async def test_a_rule_asks_for_3_d_secure(shopper: Shopper) -> None:
    rule = {"PAYMENTS_THREE_D_SECURE_ABOVE": '{"usd": 1800}', "PAYMENTS_THREE_D_SECURE_COUNTRIES": "IN,BR"}
    async with another_checkout(shopper.deployment, "secured", **rule) as instance:
        large = await placed(shopper, instance.public_url)
        small = await placed(shopper, instance.public_url, currency="eur")
        abroad = await placed(shopper, instance.public_url, currency="eur", country="IN")

        asked = [(await session_of(shopper, order))["payment_method_options"] for order in (large, small, abroad)]

    secured = {"card": {"request_three_d_secure": "any"}}
    assert asked == [secured, {}, secured]
    form = {"number": "4242424242424242", "email": "ada@example.com", "name": "Ada", "method": "card"}
    async with shopper.http.post(large["checkout_url"], data=form, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"].startswith("/c/challenge/")) == (303, True)
        challenge = shopper.deployment.stripe_url + answer.headers["Location"]
    async with shopper.http.post(challenge, data={"answer": "complete"}, allow_redirects=False) as answer:
        assert answer.status == 303
    await shopper.until(large, "paid")


async def test_another_wish_under_the_same_key_is_another_request(shopper: Shopper) -> None:
    sku, key = await shopper.offer(), secrets.token_hex(12)

    first = await shopper.checkout(sku, key=key)
    same = await shopper.checkout(sku, key=key, metadata=None, shipping=None)
    wishes: list[Json] = [{"metadata": {"a": "b"}}, {"shipping": {}}, {"origin": "web"}, {"payment_methods": ["card"]}]
    others = [await shopper.checkout(sku, key=key, **wish) for wish in wishes]

    assert (first.status, same.status, same.body) == (201, 201, first.body)
    assert {(answer.status, answer.body["code"]) for answer in others} == {(422, "idempotency_mismatch")}
