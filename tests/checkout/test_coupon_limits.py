"""Who may use a coupon, and how often, when everybody wants it at once."""

import asyncio
import secrets
from collections import Counter
from typing import Any

import pytest

from tests.support.shopping import Answer, Shopper, eventually

CUSTOMERS = 200
AT_ONCE = 5
USES = 100
IN_FLIGHT = 40


async def test_a_hundred_uses_one_for_each_customer_are_taken_by_a_hundred_of_two_hundred(shopper: Shopper) -> None:
    sku = await shopper.offer(stock=5000)
    code = await shopper.coupon(percent_off=10, max_redemptions=USES, per_customer=1)
    wants = [f"Buyer-{code}-{number}@example.com" for number in range(CUSTOMERS) for _ in range(AT_ONCE)]
    turns = asyncio.Semaphore(IN_FLIGHT)

    async def want(email: str) -> Answer:
        async with turns:
            return await shopper.checkout(sku, coupon=code, email=email)

    answers = await asyncio.gather(*(want(email) for email in wants))

    placed = [(email, answer.body) for email, answer in zip(wants, answers, strict=True) if answer.status == 201]
    assert len({email for email, _ in placed}) == len(placed) == USES
    codes = Counter((answer.status, answer.body["code"]) for answer in answers if answer.status != 201)
    assert codes.keys() <= {(409, "coupon_used"), (409, "coupon_exhausted")}
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (USES, 0)

    email, order = placed[0]
    session = await shopper.session_of(order)
    await shopper.stripe("POST", f"/v1/checkout/sessions/{session}/expire")
    await shopper.until(order, "expired")
    again = await shopper.checkout(sku, coupon=code, email=email.upper())
    last = await shopper.checkout(sku, coupon=code, email=f"late-{email}")
    assert (again.status, last.status, last.body["code"]) == (201, 409, "coupon_exhausted")
    await shopper.audited()


async def test_a_customer_is_the_same_by_address_and_by_subject(shopper: Shopper) -> None:
    sku, me = await shopper.offer(), "sub-" + secrets.token_hex(4)
    code = await shopper.coupon(percent_off=10, per_customer=1)

    first = await signed_in(shopper, me, sku, code, f"{me}@example.com")
    other_address = await signed_in(shopper, me, sku, code, f"other-{me}@example.com")
    as_guest = await shopper.checkout(sku, coupon=code, email=f"{me.upper()}@Example.COM")
    somebody = await shopper.checkout(sku, coupon=code, email=f"{secrets.token_hex(4)}@example.com")

    assert (first.status, somebody.status) == (201, 201)
    assert {(answer.status, answer.body["code"]) for answer in (other_address, as_guest)} == {(409, "coupon_used")}


@pytest.mark.parametrize("limit", [{"first_order_only": True}, {"per_customer": 1}], ids=["first order", "uses"])
async def test_a_quote_tells_nobody_what_somebody_else_has_bought(shopper: Shopper, limit: dict[str, int]) -> None:
    sku, me = await shopper.offer(), "sub-" + secrets.token_hex(4)
    code, victim = await shopper.coupon(percent_off=10, **limit), f"{me}@example.com"
    bought = await shopper.bought(sku, email=victim, coupon=code)
    await shopper.until(bought, "paid")

    guest = await quoted(shopper, sku, code, email=victim)
    signed_in_guesser = await quoted(shopper, sku, code, token=("sub-" + me, f"other-{victim}"), email=victim)
    himself = await quoted(shopper, sku, code, token=(me, victim.upper()), email=f"other-{victim}")
    placed = await shopper.checkout(sku, coupon=code, email=victim)

    assert (guest["applies"], signed_in_guesser["applies"], himself["applies"]) == (True, True, False)
    assert placed.body["code"] == himself["reason"]["code"]


async def test_two_coupons_for_a_first_order_are_one_first_order(shopper: Shopper) -> None:
    """Each coupon is a row of its own: what serialises them is the customer."""
    sku, email = await shopper.offer(), f"{secrets.token_hex(6)}@example.com"
    codes = [await shopper.coupon(amounts_off={"usd": 300}, first_order_only=True) for _ in range(6)]

    answers = await asyncio.gather(*(shopper.checkout(sku, coupon=code, email=email) for code in codes))

    (order,) = [answer.body for answer in answers if answer.status == 201]
    assert {(a.status, a.body["code"]) for a in answers if a.status != 201} == {(409, "coupon_used")}
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    later = await shopper.checkout(sku, coupon=codes[0], email=email)
    assert (later.status, later.body["code"]) == (422, "coupon_invalid")


async def test_late_money_for_a_use_that_the_customer_took_again_is_honoured(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), f"{secrets.token_hex(6)}@example.com"
    code = await shopper.coupon(percent_off=50, per_customer=1, max_redemptions=5)
    first = await shopper.placed(sku, coupon=code, email=email)
    assert await shopper.pay(first, card="DE89370400440532013000", method="sepa_debit") == 303
    await shopper.until(first, "processing")
    session = await shopper.session_of(first)
    await shopper.owner.execute("UPDATE checkout.coupon_redemptions SET state = 'released' WHERE code = $1", code)
    await shopper.owner.execute("UPDATE checkout.coupons SET held = 0 WHERE code = $1", code)
    second = await shopper.placed(sku, coupon=code, email=email)

    await shopper.stripe("POST", f"/_sim/sessions/{session}/settle", {"succeed": True})
    await shopper.until(first, "paid")

    async def uses() -> bool:
        rows = await shopper.owner.fetch("SELECT state FROM checkout.coupon_redemptions WHERE code = $1", code)
        return sorted(row["state"] for row in rows) == ["held", "honoured"]

    await eventually(uses, what="the first is honoured")
    coupon = (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body
    assert (coupon["held"], coupon["redeemed"]) == (1, 0)
    assert await shopper.pay(second) == 303
    await shopper.until(second, "paid")
    await shopper.audited()


async def test_a_coupon_is_not_limited_to_fewer_uses_than_it_has(shopper: Shopper) -> None:
    sku, code = await shopper.offer(), await shopper.coupon(percent_off=10, max_redemptions=5)
    await shopper.until(await shopper.bought(sku, coupon=code), "paid")
    await shopper.placed(sku, coupon=code)

    async def limited(uses: int, **given: Any) -> Answer:
        url = f"{shopper.deployment.internal_url('checkout')}/admin/coupons/{code}"
        token = shopper.deployment.keys.token("admin-1", "admin")
        body = {"percent_off": 10, "max_redemptions": uses, **given}
        return await shopper.call("PUT", url, body, Authorization=f"Bearer {token}")

    below, switched_off, just = await limited(1), await limited(1, active=False), await limited(2)

    for refused in (below, switched_off):
        assert (refused.status, refused.body["code"]) == (409, "below_used")
        assert (refused.body["held"], refused.body["redeemed"]) == (1, 1)
    assert (just.status, just.body["max_redemptions"]) == (200, 2)
    assert (await shopper.checkout(sku, coupon=code)).body["code"] == "coupon_exhausted"


async def test_who_has_used_a_coupon_more_often_than_one_may_now_keeps_his_uses_and_takes_no_more(
    shopper: Shopper,
) -> None:
    sku, email = await shopper.offer(), f"{secrets.token_hex(6)}@example.com"
    code = await shopper.coupon(percent_off=10, per_customer=2)
    orders = [await shopper.placed(sku, coupon=code, email=email) for _ in range(2)]

    await shopper.admin("PUT", "checkout", f"/admin/coupons/{code}", {"percent_off": 10, "per_customer": 1})

    again = await shopper.checkout(sku, coupon=code, email=email)
    somebody = await shopper.checkout(sku, coupon=code, email=f"late-{email}")
    assert (again.status, again.body["code"], somebody.status) == (409, "coupon_used", 201)
    for order in orders:
        assert await shopper.pay(order) == 303
        await shopper.until(order, "paid")
    report = await shopper.audited()
    assert {f.predicate.number: f.examined for f in report.findings}["I51"] >= 3


async def test_a_coupon_for_some_products_takes_nothing_off_the_others(shopper: Shopper) -> None:
    mug, pen = await shopper.offer(), await shopper.offer(prices={"usd": 1000})
    code = await shopper.coupon(percent_off=20, skus=[pen])
    lines = [{"sku": mug, "quantity": 1}, {"sku": pen, "quantity": 2}]

    order = await shopper.placed(mug, coupon=code, lines=lines)
    wrong = await shopper.checkout(mug, coupon=code)

    assert (order["subtotal_minor"], order["discount_minor"], order["total_minor"]) == (3800, 400, 3400)
    assert (wrong.status, wrong.body["code"]) == (422, "coupon_invalid")
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.audited()


async def signed_in(shopper: Shopper, subject: str, sku: str, code: str, email: str) -> Answer:
    token = shopper.deployment.keys.token(subject, "customer")
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": email, "currency": "usd", "coupon": code}
    headers = {"Idempotency-Key": secrets.token_hex(12), "Authorization": f"Bearer {token}"}
    return await shopper.call(
        "POST", shopper.deployment.front_door_url + "/api/payments/checkout-session", body, **headers
    )


async def quoted(
    shopper: Shopper, sku: str, coupon: str, *, email: str, token: tuple[str, str] | None = None
) -> dict[str, Any]:  # Any: JSON
    """The verdict on a coupon, for a guest or for the subject and the address of a token."""
    headers = {}
    if token is not None:
        subject, address = token
        headers["Authorization"] = f"Bearer {shopper.deployment.keys.token(subject, 'customer', email=address)}"
    body = {"lines": [{"sku": sku, "quantity": 1}], "currency": "usd", "coupon": coupon, "email": email}
    url = f"{shopper.deployment.front_door_url}/api/payments/quote"
    return dict((await shopper.call("POST", url, body, **headers)).body["coupon"])
