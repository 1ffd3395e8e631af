"""Checkout's hold, asked of the real process over HTTP, many times at once."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from payments_shared.contracts import checkout
from payments_shared.ids import new_id
from tests.inventory.builders import a_sku, about, hold_request
from tests.inventory.stock import assert_counters_agree, hold, piles, put_stock
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers


async def test_of_200_buyers_of_the_last_10_units_exactly_10_get_one(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku = a_sku()
    await put_stock(inventory, http, sku, 10)

    answers = await asyncio.gather(*(hold(inventory, http, new_id(), {sku: 1}) for _ in range(200)))

    assert Counter(status for status, _ in answers) == {201: 10, 409: 190}
    refusals = [body for status, body in answers if status == 409]
    assert {body["code"] for body in refusals} == {"out_of_stock"}
    assert all(body["available"] == [{"sku": sku, "requested": 1, "available": 0}] for body in refusals)
    assert await piles(inventory, http, sku) == (0, 10, 0)
    await assert_counters_agree(inventory)
    assert inventory.deadlocks() == 0


async def test_a_sku_on_two_lines_is_counted_once_for_both(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku = a_sku()
    await put_stock(inventory, http, sku, 10)
    twice = [hold_request(new_id(), {sku: 1}) for _ in range(30)]
    for body in twice:
        body["lines"] = [{"sku": sku, "quantity": 1}, {"sku": sku, "quantity": 1}]

    async def ask(body: dict[str, object]) -> int:
        async with http.post("/internal/reservations", json=body, headers=inventory.checkout()) as answer:
            return answer.status

    statuses = Counter(await asyncio.gather(*(ask(body) for body in twice)))

    assert statuses == {201: 5, 409: 25}
    assert await piles(inventory, http, sku) == (0, 10, 0)


async def test_carts_with_the_same_articles_in_any_order_never_wait_for_each_other(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    skus = [a_sku() for _ in range(4)]
    for sku in skus:
        await put_stock(inventory, http, sku, 1000)
    carts = [dict.fromkeys(skus[i % 4 :] + skus[: i % 4], 1) for i in range(160)]

    answers = await asyncio.gather(*(hold(inventory, http, new_id(), cart) for cart in carts))

    assert {status for status, _ in answers} == {201}
    assert await piles(inventory, http, skus[0]) == (840, 160, 0)
    assert inventory.deadlocks() == 0


async def test_holds_and_messages_about_the_same_articles_never_wait_for_each_other(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    skus = [a_sku() for _ in range(3)]
    for sku in skus:
        await put_stock(inventory, http, sku, 2000)
    carts = [dict.fromkeys(skus[i % 3 :] + skus[: 1 + i % 2], 1) for i in range(120)]
    orders = [new_id() for _ in carts]
    await asyncio.gather(*(hold(inventory, http, o, c) for o, c in zip(orders, carts, strict=True)))

    canceled = [await inventory.say(checkout.OrderCanceled(order_id=o, reason="buyer")) for o in orders[:80]]
    late = [hold(inventory, http, new_id(), cart) for cart in carts]
    answers = await asyncio.gather(*late, inventory.heard(*canceled))

    assert {answer[0] for answer in answers if answer} == {201}
    await assert_counters_agree(inventory)
    assert inventory.deadlocks() == 0


async def test_one_hold_sent_many_times_at_once_holds_once(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 3)

    answers = await asyncio.gather(*(hold(inventory, http, order_id, {sku: 2}) for _ in range(20)))

    assert Counter(status for status, _ in answers) == {201: 1, 200: 19}
    assert {body["state"] for _, body in answers} == {"held"}
    assert await piles(inventory, http, sku) == (1, 2, 0)


async def test_a_hold_of_several_lines_takes_all_or_nothing(inventory: OneService, http: aiohttp.ClientSession) -> None:
    plenty, scarce, unknown = a_sku(), a_sku(), a_sku()
    await put_stock(inventory, http, plenty, 9)
    await put_stock(inventory, http, scarce, 1)

    status, body = await hold(inventory, http, new_id(), {plenty: 1, scarce: 2, unknown: 1})

    assert (status, body["code"]) == (409, "out_of_stock")
    assert body["available"] == sorted(
        [
            {"sku": scarce, "requested": 2, "available": 1},
            {"sku": unknown, "requested": 1, "available": 0},
        ],
        key=lambda row: str(row["sku"]),
    )
    assert await piles(inventory, http, plenty) == (9, 0, 0)


async def test_a_hold_repeated_when_the_rest_is_sold_out_is_still_held(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 1)
    await hold(inventory, http, order_id, {sku: 1})

    status, body = await hold(inventory, http, order_id, {sku: 1})

    assert (status, body) == (200, {"order_id": about(order_id), "state": "held"})


async def test_a_hold_of_other_lines_for_the_same_order_is_refused(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 5)
    await hold(inventory, http, order_id, {sku: 1})

    status, body = await hold(inventory, http, order_id, {sku: 2})

    assert (status, body["code"]) == (409, "reservation_differs")
    assert await piles(inventory, http, sku) == (4, 1, 0)


async def test_a_hold_that_arrives_after_its_order_was_canceled_is_refused(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 5)
    await inventory.tell(checkout.OrderCanceled(order_id=order_id, reason="hold_failed"))

    status, body = await hold(inventory, http, order_id, {sku: 1})

    assert (status, body["code"]) == (409, "reservation_closed")
    assert await piles(inventory, http, sku) == (5, 0, 0)


async def test_only_checkout_may_hold(inventory: OneService, http: aiohttp.ClientSession) -> None:
    body = hold_request(new_id(), {a_sku(): 1})

    statuses = []
    for headers in (
        {},
        inventory.person("service"),
        inventory.person("admin"),
        {"Authorization": "Bearer a.b.c"},
    ):
        async with http.post("/internal/reservations", json=body, headers=headers) as answer:
            statuses.append(answer.status)

    assert statuses == [401, 401, 401, 401]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"lines": []}, "/lines"),
        ({"lines": [{"sku": "A", "quantity": 0}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "A", "quantity": True}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "A", "quantity": 1.5}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "A", "quantity": 10**9}]}, "/lines/0/quantity"),
        ({"lines": [{"sku": "a b", "quantity": 1}]}, "/lines/0/sku"),
        ({"order_id": "ord_1"}, "/order_id"),
        ({"expires_at": "2026-01-01T00:00:00"}, "/expires_at"),
        ({"price": 1}, "/price"),
    ],
)
async def test_a_malformed_hold_is_refused_by_the_name_of_its_field(
    inventory: OneService, http: aiohttp.ClientSession, change: dict[str, object], pointer: str
) -> None:
    body = hold_request(new_id(), {"A": 1}) | change

    async with http.post("/internal/reservations", json=body, headers=inventory.checkout()) as answer:
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (422, "validation_failed")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_total_below_what_is_promised_is_refused(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku = a_sku()
    await put_stock(inventory, http, sku, 5)
    await hold(inventory, http, new_id(), {sku: 3})

    admin = inventory.person("admin")
    async with http.put(f"/admin/stock/{sku}", json={"total": 2}, headers=admin) as answer:
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (409, "below_promised")
    assert (problem["held"], problem["committed"]) == (3, 0)
    await put_stock(inventory, http, sku, 3)
    assert await piles(inventory, http, sku) == (0, 3, 0)


async def test_only_an_administrator_may_set_stock(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku = a_sku()

    async with http.put(f"/admin/stock/{sku}", json={"total": 1}, headers=inventory.person("operator")) as answer:
        assert answer.status == 403
    async with http.get("/admin/stock", headers=inventory.person("customer")) as answer:
        assert answer.status == 403
