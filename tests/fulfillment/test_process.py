"""Fulfillment as a real process: what its neighbours say, what people report, and what it says back."""

import asyncio
from functools import partial
from itertools import permutations
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from fulfillment import decide
from payments_shared.contracts import checkout, refunds
from payments_shared.ids import external_id, new_id
from sandbox.services.resolver import Servers
from tests.fulfillment.builders import ADDRESS, EXPRESS, about, order_paid, refund_message, stock_committed
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers

SHIPMENT = {"carrier": "DHL", "tracking_number": "JD01"}


async def report(
    service: OneService, order_id: UUID, verb: str, body: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """Report where the parcel of an order is; status and body."""
    path = f"/admin/shipments/{external_id('shp', decide.shipment_id(order_id))}/{verb}"
    headers = service.person("operator", subject="carol")
    async with (
        aiohttp.ClientSession(service.url) as http,
        http.post(path, json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def said(service: OneService, order_id: UUID) -> list[str]:
    """The types of what was said of an order, without owner and version."""
    return [message.type.split(".")[1] for message in await service.said(about(order_id))]


async def test_a_parcel_is_made_once_in_whichever_order_the_news_arrive(fulfillment: OneService) -> None:
    orders = [new_id(), new_id()]

    for order_id, news in zip(orders, permutations((order_paid, stock_committed)), strict=True):
        envelopes = [await fulfillment.say(make(order_id), times=3) for make in news]
        envelopes += [await fulfillment.say(make(order_id)) for make in news]
        await fulfillment.heard(*envelopes)

    for order_id in orders:
        (created,) = await fulfillment.said(about(order_id))
        assert created.type == "shipment.created.v1"
        assert created.data["lines"] == [{"sku": "CAP", "quantity": 1}, {"sku": "MUG", "quantity": 2}]
        assert created.data["customer"]["email"] == "ada@example.com"


async def test_a_parcel_goes_its_way_and_people_see_where_it_is(
    fulfillment: OneService, http: aiohttp.ClientSession
) -> None:
    order_id = new_id()
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id))

    answers = [
        await report(fulfillment, order_id, "ship", SHIPMENT),
        await report(fulfillment, order_id, "ship", SHIPMENT),
        await report(fulfillment, order_id, "deliver"),
        await report(fulfillment, order_id, "ship", SHIPMENT),
        await report(fulfillment, order_id, "return"),
    ]
    async with http.get(
        "/admin/shipments", params={"order_id": about(order_id)}, headers=fulfillment.person("support")
    ) as answer:
        shown = await answer.json()

    assert [(status, body.get("status")) for status, body in answers] == [
        (200, "shipped"),
        (200, "shipped"),
        (200, "delivered"),
        (409, 409),
        (200, "returned"),
    ]
    assert await said(fulfillment, order_id) == ["created", "shipped", "delivered", "returned"]
    (shipment,) = shown["shipments"]
    assert (shipment["order_id"], shipment["status"], shipment["carrier"]) == (about(order_id), "returned", "DHL")
    assert shown["address"].items() >= ADDRESS.items()
    assert shown["shipping_option"] == EXPRESS
    history = await fulfillment.owner.fetch(
        "SELECT to_state, reason FROM fulfillment.shipment_transitions WHERE shipment_id = $1 ORDER BY id",
        decide.shipment_id(order_id),
    )
    assert [tuple(row) for row in history] == [
        ("created", "stock.committed.v1"),
        ("shipped", "person:carol"),
        ("delivered", "person:carol"),
        ("returned", "person:carol"),
    ]


async def test_a_held_order_does_not_leave_until_it_is_let_go(fulfillment: OneService) -> None:
    order_id = new_id()
    hold = checkout.OrderHeld(order_id=order_id, reason="amount_mismatch")
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id), hold)

    refused = await report(fulfillment, order_id, "ship", SHIPMENT)
    await fulfillment.tell(checkout.OrderUnheld(order_id=order_id))
    shipped = await report(fulfillment, order_id, "ship", SHIPMENT)

    assert (refused[0], refused[1]["code"]) == (409, "shipment_held")
    assert shipped[0] == 200


async def test_an_order_held_from_the_start_gets_its_parcel_when_it_is_let_go(fulfillment: OneService) -> None:
    order_id = new_id()
    hold = checkout.OrderHeld(order_id=order_id, reason="amount_mismatch")
    await fulfillment.tell(hold, order_paid(order_id), stock_committed(order_id))
    before = await said(fulfillment, order_id)

    await fulfillment.tell(checkout.OrderUnheld(order_id=order_id))

    assert (before, await said(fulfillment, order_id)) == ([], ["created"])


async def test_a_refund_of_the_order_takes_the_parcel_back_once(fulfillment: OneService) -> None:
    order_id = new_id()
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id))
    await fulfillment.tell(refund_message(refunds.RefundApproved, order_id))

    refused = await report(fulfillment, order_id, "ship", SHIPMENT)
    succeeded = refund_message(refunds.RefundSucceeded, order_id)
    await fulfillment.tell(succeeded, succeeded)

    assert (refused[0], refused[1]["code"]) == (409, "shipment_held")
    created, canceled = await fulfillment.said(about(order_id))
    assert (created.type, canceled.type) == ("shipment.created.v1", "shipment.canceled.v1")
    assert canceled.data["shipment_id"] == created.data["shipment_id"]
    assert canceled.data["lines"] == created.data["lines"]


async def test_a_refund_known_before_the_stock_returns_it_without_a_parcel(fulfillment: OneService) -> None:
    order_id = new_id()

    await fulfillment.tell(
        refund_message(refunds.RefundSucceeded, order_id), order_paid(order_id), stock_committed(order_id)
    )

    (canceled,) = await fulfillment.said(about(order_id))
    assert canceled.type == "shipment.canceled.v1"
    assert canceled.data["lines"] == [{"sku": "CAP", "quantity": 1}, {"sku": "MUG", "quantity": 2}]


async def test_a_refunded_line_leaves_the_parcel_as_a_canceled_shipment_of_its_own(
    fulfillment: OneService,
) -> None:
    order_id = new_id()
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id))

    await fulfillment.tell(refund_message(refunds.RefundSucceeded, order_id, {"MUG": 1}))
    status, shipped = await report(fulfillment, order_id, "ship", SHIPMENT)

    _, canceled, _ = await fulfillment.said(about(order_id))
    assert canceled.data["lines"] == [{"sku": "MUG", "quantity": 1}]
    assert canceled.data["shipment_id"] != shipped["id"]
    assert (status, shipped["lines"]) == (200, [{"sku": "CAP", "quantity": 1}, {"sku": "MUG", "quantity": 1}])


async def test_what_is_not_sold_again_leaves_the_parcel_and_is_not_put_back(fulfillment: OneService) -> None:
    order_id = new_id()
    broken = [{"sku": "MUG", "quantity": 1}]
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id))

    await fulfillment.tell(refund_message(refunds.RefundSucceeded, order_id, {"MUG": 2}, unsellable=broken))

    _, canceled = await fulfillment.said(about(order_id))
    assert (canceled.data["lines"], canceled.data["unsellable"]) == (broken, broken)


async def test_money_that_came_twice_goes_back_without_the_goods(fulfillment: OneService) -> None:
    order_id = new_id()
    surplus = refund_message(refunds.RefundSucceeded, order_id, reason="surplus_payment", payment_intent="pi_twin")

    await fulfillment.tell(order_paid(order_id), stock_committed(order_id), surplus)

    assert await said(fulfillment, order_id) == ["created"]
    assert (await report(fulfillment, order_id, "ship", SHIPMENT))[0] == 200


async def test_a_clerk_and_a_refund_at_once_end_in_one_of_two_ways(fulfillment: OneService) -> None:
    orders = [new_id() for _ in range(25)]
    for order_id in orders:
        await fulfillment.say(order_paid(order_id))
        await fulfillment.say(stock_committed(order_id))
    for order_id in orders:
        await eventually(partial(said, fulfillment, order_id), what="shipment.created")

    async def race(order_id: UUID) -> int:
        money = fulfillment.tell(refund_message(refunds.RefundSucceeded, order_id))
        (status, _), _ = await asyncio.gather(report(fulfillment, order_id, "ship", SHIPMENT), money)
        return status

    statuses = [await race(order_id) for order_id in orders]

    for order_id, status in zip(orders, statuses, strict=True):
        assert (await said(fulfillment, order_id))[1:] == (["shipped"] if status == 200 else ["canceled"])
    assert set(statuses) <= {200, 409}
    assert fulfillment.deadlocks() == 0


async def test_the_database_refuses_a_second_live_shipment_of_an_order(fulfillment: OneService) -> None:
    order_id = new_id()
    await fulfillment.tell(order_paid(order_id), stock_committed(order_id))

    with pytest.raises(asyncpg.UniqueViolationError, match="shipments_one_live_per_order"):
        await fulfillment.owner.execute(
            "INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) "
            """VALUES ($1, $2, 'created', '[{"sku": "CAP", "quantity": 1}]', 1)""",
            new_id(),
            order_id,
        )


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("shp_1/ship", SHIPMENT, 404, "shipment_not_found"),
        (f"shp_{'0' * 32}/ship", SHIPMENT, 404, "shipment_not_found"),
        (f"shp_{'0' * 32}/ship", {}, 422, "validation_failed"),
        (f"shp_{'0' * 32}/ship", {"carrier": "D\nHL"}, 422, "validation_failed"),
        (f"shp_{'0' * 32}/cancel", None, 404, "not_found"),
    ],
)
async def test_what_cannot_be_reported_is_refused(
    fulfillment: OneService, path: str, body: dict[str, str] | None, status: int, code: str
) -> None:
    headers = fulfillment.person("admin")

    async with (
        aiohttp.ClientSession(fulfillment.url) as http,
        http.post(f"/admin/shipments/{path}", json=body, headers=headers) as answer,
    ):
        problem = await answer.json()

    assert (answer.status, problem["code"]) == (status, code)


async def test_only_people_of_the_house_may_look_or_report(
    fulfillment: OneService, http: aiohttp.ClientSession
) -> None:
    path, query = f"/admin/shipments/shp_{'0' * 32}/ship", {"order_id": about(new_id())}

    statuses = []
    for headers in ({}, fulfillment.person("support"), fulfillment.person("customer"), fulfillment.checkout()):
        async with http.post(path, json=SHIPMENT, headers=headers) as answer:
            statuses.append(answer.status)
    async with http.get("/admin/shipments", params=query, headers=fulfillment.person("customer")) as answer:
        statuses.append(answer.status)

    assert statuses == [401, 403, 403, 401, 403]


async def test_a_crowd_of_orders_in_one_batch_gets_a_parcel_each(fulfillment: OneService) -> None:
    orders = [new_id() for _ in range(60)]

    envelopes = [await fulfillment.say(stock_committed(order_id)) for order_id in orders]
    envelopes += [await fulfillment.say(order_paid(order_id)) for order_id in reversed(orders)]
    await fulfillment.heard(*envelopes)

    assert [await said(fulfillment, order_id) for order_id in orders] == [["created"]] * 60


async def test_a_kill_between_commit_and_acknowledgement_makes_one_parcel(servers: Servers) -> None:
    order_id = new_id()
    crash = "after_commit_before_ack=kill:2"

    async with running("fulfillment", servers, PAYMENTS_FAILPOINT=crash) as fulfillment:
        await fulfillment.tell(order_paid(order_id))
        await fulfillment.say(stock_committed(order_id))
        child = fulfillment.deployment.children["fulfillment"]

        async def dead() -> bool:
            return not child.running

        await eventually(dead, what="the crash")
        fulfillment.deployment.start("fulfillment", PAYMENTS_FAILPOINT="")
        await asyncio.to_thread(fulfillment.deployment.wait_ready, "fulfillment")
        await fulfillment.tell(stock_committed(order_id))

        assert await said(fulfillment, order_id) == ["created"]
