"""Codes that stand for coupons: for whom, how often, and what becomes of their uses."""

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checkout.decide import coupons, promotions
from checkout.model.carts import Coupon, PricedLine, Promotion, Standing
from payments_shared.errors import Refused
from tests.support.shopping import Answer, Json, Shopper, eventually

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LINES = (PricedLine("MUG", "Mug", 2, 1800),)
COUPON = Coupon("SPRING", 1000, None, valid_until=NOW + timedelta(days=9))
CODE = Promotion("SPRING-ADA", "SPRING", valid_until=NOW + timedelta(days=2))


def off(coupon: Coupon, promotion: Promotion, *, now: datetime = NOW) -> int:
    under = promotions.narrowed(coupon, promotion)
    return coupons.discount_of(under, Standing(has_ordered=True), LINES, currency="usd", now=now)


def test_a_code_takes_off_what_its_coupon_does() -> None:
    assert off(COUPON, CODE) == 360


@pytest.mark.parametrize(
    ("coupon", "promotion", "days"),
    [
        (COUPON, replace(CODE, active=False), 0),
        (replace(COUPON, active=False), CODE, 0),
        (COUPON, CODE, 2),
        (COUPON, replace(CODE, valid_until=None), 9),
        (COUPON, replace(CODE, first_order_only=True), 0),
        (replace(COUPON, first_order_only=True), CODE, 0),
    ],
)
def test_a_code_applies_where_its_coupon_does_and_it_does_itself(
    coupon: Coupon, promotion: Promotion, days: int
) -> None:
    with pytest.raises(Refused) as refusal:
        off(coupon, promotion, now=NOW + timedelta(days=days))

    assert refusal.value.code == "coupon_invalid"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"email": "ada@example.com"}, None),
        ({"customer_subject": "sub-ada"}, None),
        ({"email": "eve@example.com", "customer_subject": "sub-ada"}, None),
        ({"email": "eve@example.com"}, "coupon_invalid"),
        ({"customer_subject": "sub-eve"}, "coupon_invalid"),
        ({"max_redemptions": 3, "uses": 2}, None),
        ({"max_redemptions": 3, "uses": 3}, "coupon_exhausted"),
        ({"max_redemptions": 0}, "coupon_exhausted"),
    ],
)
def test_a_code_is_for_its_customer_and_for_so_many_uses(limits: dict[str, Any], code: str | None) -> None:
    promotion = replace(CODE, **limits)
    if code is None:
        promotions.check(promotion, email="Ada@Example.com", customer_subject="sub-ada")
        return
    with pytest.raises(Refused) as refusal:
        promotions.check(promotion, email="Ada@Example.com", customer_subject="sub-ada")
    assert refusal.value.code == code


def test_a_code_is_for_the_address_of_the_account_and_a_guest_types_his() -> None:
    assert promotions.address_of(account_email="eve@example.com", email="ada@example.com") == "eve@example.com"
    assert promotions.address_of(account_email=None, email="ada@example.com") == "ada@example.com"


def test_late_money_of_a_code_without_a_use_left_is_honoured() -> None:
    assert coupons.next_use("released", "redeemed", COUPON, 0, code_left=False) == "honoured"
    assert coupons.next_use("released", "redeemed", COUPON, 0, code_left=True) == "redeemed"


async def promotion(shopper: Shopper, coupon: str, **given: Any) -> str:
    code = "P" + secrets.token_hex(4).upper()
    await shopper.admin("PUT", "checkout", f"/admin/promotion-codes/{code}", {"coupon": coupon, **given})
    return code


async def uses(shopper: Shopper, code: str) -> int:
    return int((await shopper.admin("GET", "checkout", f"/admin/promotion-codes/{code}")).body["uses"])


async def test_a_code_is_used_by_so_many_at_once_and_its_coupon_counts_along(shopper: Shopper) -> None:
    sku, coupon = await shopper.offer(stock=200), await shopper.coupon(percent_off=10, max_redemptions=12)
    few, many = await promotion(shopper, coupon, max_redemptions=5), await promotion(shopper, coupon)

    async def want(code: str) -> Answer:
        return await shopper.checkout(sku, coupon=code, email=f"{secrets.token_hex(4)}@example.com")

    answers = await asyncio.gather(*(want(code) for code in [few] * 20 + [many] * 20))

    placed = [answer.body for answer in answers if answer.status == 201]
    assert {answer.body["code"] for answer in answers if answer.status != 201} == {"coupon_exhausted"}
    assert {order["discount_minor"] for order in placed} == {180}
    assert await uses(shopper, few) <= 5
    assert await uses(shopper, few) + await uses(shopper, many) == len(placed) == 12
    counted = (await shopper.admin("GET", "checkout", f"/admin/coupons/{coupon}")).body
    assert (counted["held"], counted["redeemed"]) == (12, 0)
    listed = (await shopper.admin("GET", "checkout", f"/admin/coupons/{coupon}/promotion-codes")).body
    assert {one["code"] for one in listed["promotion_codes"]} == {few, many}
    await shopper.audited()


async def test_a_use_goes_back_with_its_order_and_stays_with_a_paid_one(shopper: Shopper) -> None:
    sku, coupon = await shopper.offer(), await shopper.coupon(percent_off=10)
    code = await promotion(shopper, coupon, max_redemptions=1)
    left = await shopper.placed(sku, coupon=code)
    refused = await shopper.checkout(sku, coupon=code)

    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(left)}/expire")
    await shopper.until(left, "expired")
    order = await shopper.bought(sku, coupon=code)
    await shopper.until(order, "paid")

    assert (refused.status, refused.body["code"]) == (409, "coupon_exhausted")
    assert await uses(shopper, code) == 1
    assert (await shopper.checkout(sku, coupon=code)).body["code"] == "coupon_exhausted"
    await shopper.audited()


async def test_a_code_that_is_limited_to_less_than_it_has_been_used_keeps_its_uses_and_is_used_no_more(
    shopper: Shopper,
) -> None:
    sku, coupon = await shopper.offer(), await shopper.coupon(percent_off=10)
    code = await promotion(shopper, coupon, max_redemptions=5)
    orders = [await shopper.placed(sku, coupon=code) for _ in range(2)]

    await shopper.admin("PUT", "checkout", f"/admin/promotion-codes/{code}", {"coupon": coupon, "max_redemptions": 1})

    assert (await shopper.checkout(sku, coupon=code)).body["code"] == "coupon_exhausted"
    assert await shopper.pay(orders[0]) == 303
    await shopper.until(orders[0], "paid")
    assert await uses(shopper, code) == 2
    report = await shopper.audited()
    assert {f.predicate.number: f.examined for f in report.findings}["I50"] >= 2


async def test_late_money_takes_the_codes_use_only_if_it_is_free(shopper: Shopper) -> None:
    sku, coupon = await shopper.offer(), await shopper.coupon(percent_off=50)
    code = await promotion(shopper, coupon, max_redemptions=1)
    first = await shopper.placed(sku, coupon=code)
    assert await shopper.pay(first, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(first, "processing")
    session = await shopper.session_of(first)
    await shopper.owner.execute("UPDATE checkout.coupon_redemptions SET state = 'released' WHERE promotion = $1", code)
    await shopper.owner.execute("UPDATE checkout.coupons SET held = 0 WHERE code = $1", coupon)
    await shopper.placed(sku, coupon=code)

    await shopper.stripe("POST", f"/_sim/sessions/{session}/settle", {"succeed": True})
    await shopper.until(first, "paid")

    async def honoured() -> bool:
        sql = "SELECT state FROM checkout.coupon_redemptions WHERE promotion = $1"
        return sorted(row["state"] for row in await shopper.owner.fetch(sql, code)) == ["held", "honoured"]

    await eventually(honoured, what="the first is honoured")
    assert await uses(shopper, code) == 1


async def test_a_first_order_is_one_whatever_code_it_is_for(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), f"{secrets.token_hex(6)}@example.com"
    coupon = await shopper.coupon(percent_off=10)
    codes = [await promotion(shopper, coupon, first_order_only=True) for _ in range(4)]

    answers = await asyncio.gather(*(shopper.checkout(sku, coupon=code, email=email) for code in codes))

    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    assert {answer.body["code"] for answer in answers if answer.status == 409} == {"coupon_used"}


async def test_a_code_for_an_address_is_not_of_an_account_that_has_another(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), f"ada-{secrets.token_hex(6)}@example.com"
    code = await promotion(shopper, await shopper.coupon(percent_off=10), email=email)

    async def wanted(account: str | None, typed: str | None) -> list[tuple[int, object]]:
        """What a quote and a placement say to who has an account with this address, or "": with none; None: a guest."""
        body = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd", "coupon": code, "email": typed}
        answers = []
        for path in ("quote", "checkout-session"):
            headers = {"Idempotency-Key": secrets.token_hex(12)} if path == "checkout-session" else {}
            if account is not None:
                token = shopper.deployment.keys.token(secrets.token_hex(6), "customer", email=account or None)
                headers["Authorization"] = f"Bearer {token}"
            url = f"{shopper.deployment.front_door_url}/api/payments/{path}"
            answers.append(await shopper.call("POST", url, body, **headers))
        quoted, placed = answers
        objection = quoted.body["coupon"]["reason"]
        said = objection["code"] if objection else quoted.body["discount_minor"]
        return [(quoted.status, said), (placed.status, placed.body.get("code", placed.body.get("discount_minor")))]

    refused, taken = [(200, "coupon_invalid"), (422, "coupon_invalid")], [(200, 180), (201, 180)]
    assert await wanted("eve@example.com", email) == refused
    assert await wanted("eve@example.com", None) == refused
    assert await wanted(email.upper(), None) == taken
    assert await wanted(email, "somewhere-else@example.com") == taken
    assert await wanted(None, email) == taken
    assert await wanted(None, "eve@example.com") == refused
    assert await wanted("", email) == taken, "a token without an address says as little as none"


async def test_a_minimum_of_the_code_holds_beside_the_coupons(shopper: Shopper) -> None:
    sku = await shopper.offer()
    coupon = await shopper.coupon(percent_off=10, minimum_minor={"usd": 1000, "eur": 1000})
    code = await promotion(shopper, coupon, minimum_minor={"usd": 3600})

    answers = [
        await shopper.checkout(sku, coupon=code, quantity=2),
        await shopper.checkout(sku, coupon=code),
        await shopper.checkout(sku, coupon=code, quantity=9, currency="eur"),
    ]

    assert [(answer.status, answer.body.get("code")) for answer in answers] == [
        (201, None),
        (422, "coupon_invalid"),
        (422, "coupon_not_in_currency"),
    ]


async def test_whoever_types_a_code_gets_one_thing(shopper: Shopper) -> None:
    coupon, other = await shopper.coupon(percent_off=10), await shopper.coupon(percent_off=20)
    code = await promotion(shopper, coupon)

    answers = [
        await put(shopper, f"/admin/promotion-codes/{other}", {"coupon": coupon}),
        await put(shopper, f"/admin/coupons/{code}", {"percent_off": 99}),
        await put(shopper, f"/admin/promotion-codes/{code}", {"coupon": other}),
        await put(shopper, f"/admin/promotion-codes/{code}X", {"coupon": "NOPE"}),
        await put(shopper, f"/admin/promotion-codes/{code}X", {"coupon": coupon, "valid_until": "2026-05-01T00:00:00"}),
    ]

    assert [(answer.status, answer.body["code"]) for answer in answers] == [
        (409, "code_in_use"),
        (409, "code_in_use"),
        (409, "code_in_use"),
        (422, "coupon_not_found"),
        (422, "validation_failed"),
    ]


async def put(shopper: Shopper, path: str, body: Json) -> Answer:
    token = shopper.deployment.keys.token("admin-1", "admin")
    url = shopper.deployment.internal_url("checkout") + path
    return await shopper.call("PUT", url, body, Authorization=f"Bearer {token}")
