"""What a client may not decide is refused by name, makes no order and calls nobody."""

import asyncio
import json
import secrets
from typing import Any, Final

import pytest
from multidict import CIMultiDict

from tests.support.shopping import Answer, Shopper

CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a price": ({"lines": [{"sku": "S", "quantity": 1, "unit_amount": 1}]}, "/lines/0/unit_amount"),
    "a total": ({"total_minor": 1}, "/total_minor"),
    "a discount": ({"discount_minor": 100}, "/discount_minor"),
    "an unknown SKU": ({"lines": [{"sku": "NOPE", "quantity": 1}]}, "/lines/0/sku"),
    "quantity 0": ({"lines": [{"sku": "S", "quantity": 0}]}, "/lines/0/quantity"),
    "quantity -1": ({"lines": [{"sku": "S", "quantity": -1}]}, "/lines/0/quantity"),
    "quantity 10^9": ({"lines": [{"sku": "S", "quantity": 10**9}]}, "/lines/0/quantity"),
    "quantity as text": ({"lines": [{"sku": "S", "quantity": "1"}]}, "/lines/0/quantity"),
    "quantity true": ({"lines": [{"sku": "S", "quantity": True}]}, "/lines/0/quantity"),
    "quantity 1.5": ({"lines": [{"sku": "S", "quantity": 1.5}]}, "/lines/0/quantity"),
    "no lines": ({"lines": []}, "/lines"),
    "51 lines": ({"lines": [{"sku": f"S{i}", "quantity": 1} for i in range(51)]}, "/lines"),
    "a currency nobody has": ({"currency": "xxx"}, "/currency"),
    "a currency in capitals": ({"currency": "USD"}, "/currency"),
    "a currency not offered": ({"currency": "kes"}, "/currency"),
    "an unknown coupon": ({"coupon": "NOPE"}, "/coupon"),
    "an e-mail with a line break": ({"email": "a@example.com\r\nBcc: b@example.com"}, "/email"),
    "no e-mail": ({"email": None}, "/email"),
}  # fmt: skip

FOREIGN = [
    "https://evil.example/", "//evil.example", "/\\evil.example", "/a//b", "javascript:alert(1)", "/%0d%0aSet-Cookie:x",
    "/a\r\nb", "/ä", "http:evil", "/a#b", "/a b", "\\\\evil", "https://shop@evil", "/?u=http://evil", "", "a", "/\t",
    "//", "/@evil", "/a;b", "/../<script>", "data:text/html,x", "ftp://x", "/a?b=//evil", "/a|b", "/a\"b",
    "/a'b", "/a{b}", "/" + "a" * 600,
]  # fmt: skip


async def _made(shopper: Shopper) -> int:
    """How often Stripe was asked to make something. What sweeps ask it, or end, has nothing to do with a request."""
    requests = (await shopper.stripe("GET", "/_sim/requests"))["requests"]
    return sum(one["method"] == "POST" and not one["path"].endswith(("/expire", "/cancel")) for one in requests)


async def _refused(shopper: Shopper, sku: str, given: dict[str, Any]) -> dict[str, Any]:
    orders = await shopper.count("SELECT count(*) FROM checkout.orders")
    made = await _made(shopper)

    answer = await shopper.checkout(sku, **given)

    assert answer.status == 422, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert await shopper.count("SELECT count(*) FROM checkout.orders") == orders
    assert await _made(shopper) == made
    return answer.body


@pytest.mark.parametrize("name", CASES)
async def test_a_bad_request_names_its_field_and_does_nothing(shopper: Shopper, name: str) -> None:
    given, pointer = CASES[name]
    sku = await shopper.offer()
    lines = [{**line, "sku": sku if line["sku"] == "S" else line["sku"]} for line in given.get("lines", [])]
    body = await _refused(shopper, sku, {**given, "lines": lines} if "lines" in given else given)

    assert [error["pointer"] for error in body["errors"]] == [pointer]


@pytest.mark.parametrize("path", FOREIGN)
async def test_a_success_path_that_could_leave_the_shop_is_refused(shopper: Shopper, path: str) -> None:
    sku = await shopper.offer()

    body = await _refused(shopper, sku, {"success_path": path})

    assert body["errors"][0]["pointer"] == "/success_path"


async def test_an_expired_coupon_is_refused_by_name(shopper: Shopper) -> None:
    sku = await shopper.offer()
    code = await shopper.coupon(percent_off=10, valid_until="2020-01-01T00:00:00Z")

    body = await _refused(shopper, sku, {"coupon": code})

    assert (body["code"], body["errors"][0]["pointer"]) == ("coupon_invalid", "/coupon")


KEYS: Final = [
    "", " ", '""', "short", '"short"', "x" * 256, '"' + "x" * 256 + '"', "with space in it", "with-a\ttab-inside",
    "ümlaut-key-1234", "\u0455potless-key-1", "🔑" * 16,
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_is_none_is_refused(shopper: Shopper, key: str) -> None:
    sku = await shopper.offer()
    url = shopper.deployment.public_url("checkout") + "/api/payments/checkout-session"
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "a@example.com"}

    answer = await shopper.call("POST", url, body, **({"Idempotency-Key": key} if key else {}))

    assert (answer.status, answer.body["code"]) == (400, "idempotency_key_invalid")
    assert answer.body["errors"][0]["pointer"] == "/headers/Idempotency-Key"


async def test_two_keys_are_none(shopper: Shopper) -> None:
    url = shopper.deployment.public_url("checkout") + "/api/payments/checkout-session"
    body = {"lines": [{"sku": await shopper.offer(), "quantity": 1}], "email": "a@example.com"}
    both = CIMultiDict([("Idempotency-Key", secrets.token_hex(12)), ("Idempotency-Key", secrets.token_hex(12))])

    async with shopper.http.post(url, json=body, headers=both) as answer:
        refused = await answer.json()

    assert (answer.status, refused["code"]) == (400, "idempotency_key_invalid")


async def test_a_repeated_key_gets_the_same_answer_and_another_payload_none(shopper: Shopper) -> None:
    sku = await shopper.offer()

    first = await shopper.checkout(sku, key="the-same-key-1234")
    again = await shopper.checkout(sku, key='"the-same-key-1234"')
    other = await shopper.checkout(sku, key="the-same-key-1234", quantity=2)
    stranger = await shopper.checkout(sku, key="the-same-key-1234", email="bob@example.com")

    assert first.status == again.status == 201
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (other.status, other.body["code"]) == (422, "idempotency_mismatch")
    assert stranger.body["order_id"] != first.body["order_id"]


async def test_fifty_requests_with_one_key_at_once_make_one_order_and_one_session(shopper: Shopper) -> None:
    """Whoever came while the first was at work is told to ask again, and then gets the same answer, byte for byte."""
    sku, key = await shopper.offer(), secrets.token_hex(12)

    async def ask() -> Answer:
        while (answer := await shopper.checkout(sku, key=key)).status in (409, 503):
            assert answer.body["code"] in {"idempotency_in_flight", "order_in_progress", "busy"}
            assert int(answer.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.2)
        return answer

    answers = await asyncio.gather(*(ask() for _ in range(50)))

    assert {answer.status for answer in answers} == {201}
    assert len({json.dumps(answer.body) for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    truth = await shopper.stripe("GET", "/_sim/truth")
    assert [s["order_ref"] for s in truth["sessions"]].count(answers[0].body["order_id"]) == 1
    assert (await shopper.stock_of(sku))["held"] == 1


async def test_an_order_is_shown_to_whoever_holds_its_token_and_to_nobody_else(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    other = await shopper.placed(await shopper.offer())
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}"

    good = await shopper.call("GET", url, **{"Order-Token": order["order_token"]})
    strangers = [
        await shopper.call("GET", url),
        await shopper.call("GET", url, **{"Order-Token": other["order_token"]}),
        await shopper.call("GET", url, **{"Order-Token": "x"}),
        await shopper.call("GET", url.replace("ord_", "ord_f"), **{"Order-Token": order["order_token"]}),
    ]
    unchanged = await shopper.call(
        "GET", url, **{"Order-Token": order["order_token"], "If-None-Match": good.headers["ETag"]}
    )

    assert good.status == 200
    assert [answer.status for answer in strangers] == [404] * 4
    assert unchanged.status == 304
