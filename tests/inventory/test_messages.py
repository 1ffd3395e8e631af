"""What inventory's neighbours say, through the real broker to the real process, and what it says back."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Literal

import aiohttp
import pytest

from payments_shared.clock import utc_now
from payments_shared.contracts import checkout, fulfillment
from payments_shared.contracts.inventory import StockLine
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.inventory.builders import a_sku, about, order_lines, order_paid, shipment_canceled
from tests.inventory.stock import assert_counters_agree, hold, piles, put_stock
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers


async def test_a_paid_order_is_sold_once_however_often_it_is_said(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})
    paid = order_paid(order_id, {sku: 2})

    first = await inventory.say(paid, times=5)
    again = await inventory.say(paid)
    await inventory.heard(first, again)

    said = await inventory.said(about(order_id))
    assert [(message.type, message.data["lines"]) for message in said] == [
        ("stock.committed.v1", [{"sku": sku, "quantity": 2}])
    ]
    assert await piles(inventory, http, sku) == (48, 0, 2)


async def test_a_late_expiry_does_not_release_what_was_paid(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})

    await inventory.tell(
        order_paid(order_id, {sku: 2}),
        checkout.OrderExpired(order_id=order_id),
        checkout.OrderCanceled(order_id=order_id, reason="buyer"),
    )

    assert [message.type for message in await inventory.said(about(order_id))] == ["stock.committed.v1"]
    assert await piles(inventory, http, sku) == (48, 0, 2)


async def test_money_that_comes_late_takes_stock_again(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})

    await inventory.tell(checkout.OrderExpired(order_id=order_id), order_paid(order_id, {sku: 2}))

    said = await inventory.said(about(order_id))
    assert [(message.type, message.sequence) for message in said] == [
        ("stock.released.v1", 2),
        ("stock.committed.v1", 3),
    ]
    assert await piles(inventory, http, sku) == (48, 0, 2)


async def test_money_that_comes_when_the_stock_is_resold_is_said_short_once(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, late, quick = a_sku(), new_id(), new_id()
    await put_stock(inventory, http, sku, 2)
    await hold(inventory, http, late, {sku: 2})
    await inventory.tell(checkout.OrderExpired(order_id=late))
    await hold(inventory, http, quick, {sku: 1})

    await inventory.tell(order_paid(late, {sku: 2}), order_paid(late, {sku: 2}))
    await inventory.tell(checkout.OrderExpired(order_id=quick), order_paid(late, {sku: 2}))

    said = await inventory.said(about(late))
    assert [message.type for message in said] == ["stock.released.v1", "stock.shortfall.v1"]
    assert said[1].data["missing"] == [{"sku": sku, "quantity": 2, "available": 1}]
    assert await piles(inventory, http, sku) == (2, 0, 0)


async def test_money_on_its_way_keeps_its_stock_until_it_fails(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})

    await inventory.tell(
        checkout.OrderProcessing(order_id=order_id, lines=order_lines({sku: 2})),
        checkout.OrderExpired(order_id=order_id),
    )
    kept = await piles(inventory, http, sku)
    await inventory.tell(checkout.OrderPaymentFailed(order_id=order_id, final=True))

    assert kept == (48, 2, 0)
    assert await piles(inventory, http, sku) == (50, 0, 0)
    (said,) = await inventory.said(about(order_id))
    assert (said.type, said.data["reason"]) == ("stock.released.v1", "payment_failed")


@pytest.mark.parametrize("reason", ["amount_mismatch", "buyer"])
@pytest.mark.parametrize("turn", range(2))
async def test_a_canceled_order_keeps_no_goods_for_money_on_its_way(
    inventory: OneService,
    http: aiohttp.ClientSession,
    reason: Literal["amount_mismatch", "buyer"],
    turn: int,
) -> None:
    """A delayed payment that did not match was canceled, and its goods stayed held without a deadline."""
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})
    processing = checkout.OrderProcessing(order_id=order_id, lines=order_lines({sku: 2}))
    canceled = checkout.OrderCanceled(order_id=order_id, reason=reason)

    await inventory.tell(*((processing, canceled), (canceled, processing))[turn])
    await inventory.tell(canceled, checkout.OrderPaymentFailed(order_id=order_id, final=True))

    assert await piles(inventory, http, sku) == (50, 0, 0)
    (said,) = await inventory.said(about(order_id))
    assert (said.type, said.data["reason"]) == ("stock.released.v1", "canceled")


async def test_a_decline_shortens_the_hold_and_abandonment_releases_it(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 2})
    until = utc_now() + timedelta(minutes=10)

    await inventory.tell(checkout.OrderPaymentFailed(order_id=order_id, final=False, hold_until=until))
    sql = "SELECT expires_at FROM inventory.reservations WHERE order_id = $1"
    deadline = await inventory.owner.fetchval(sql, order_id)
    kept = await piles(inventory, http, sku)
    await inventory.tell(checkout.OrderPaymentFailed(order_id=order_id, final=False, abandoned=True))

    assert (deadline, kept) == (until, (48, 2, 0))
    assert await piles(inventory, http, sku) == (50, 0, 0)


async def test_goods_come_back_once_per_shipment(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 3})
    first, second = shipment_canceled(order_id, {sku: 1}), shipment_canceled(order_id, {sku: 2}, "2")
    returned = fulfillment.ShipmentReturned(
        order_id=order_id, shipment_id=second.shipment_id, lines=(StockLine(sku=sku, quantity=2),)
    )

    await inventory.tell(order_paid(order_id, {sku: 3}), first, first, second, returned)

    assert await piles(inventory, http, sku) == (50, 0, 0)
    await assert_counters_agree(inventory)
    assert await inventory.dead_letters() == 0


async def test_what_is_unsellable_of_a_parcel_stays_sold(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 50)
    await hold(inventory, http, order_id, {sku: 3})
    returned = fulfillment.ShipmentReturned(
        order_id=order_id,
        shipment_id=new_id(),
        lines=(StockLine(sku=sku, quantity=1),),
        unsellable=(StockLine(sku=sku, quantity=2),),
    )

    await inventory.tell(order_paid(order_id, {sku: 3}), returned)

    assert await piles(inventory, http, sku) == (48, 0, 2)
    await assert_counters_agree(inventory)


async def test_more_goods_than_were_sold_go_to_a_person(servers: Servers) -> None:
    sku, order_id = a_sku(), new_id()

    async with running("inventory", servers) as inventory, aiohttp.ClientSession(inventory.url) as http:
        await put_stock(inventory, http, sku, 50)
        await hold(inventory, http, order_id, {sku: 1})
        await inventory.tell(order_paid(order_id, {sku: 1}))
        await inventory.say(shipment_canceled(order_id, {sku: 2}))

        await eventually(inventory.dead_letters, what="a dead letter")
        assert await piles(inventory, http, sku) == (49, 0, 1)


async def test_a_low_sku_is_said_once_per_crossing(inventory: OneService, http: aiohttp.ClientSession) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 7)

    await hold(inventory, http, order_id, {sku: 1})
    await hold(inventory, http, new_id(), {sku: 1})
    await hold(inventory, http, new_id(), {sku: 1})
    await inventory.tell(checkout.OrderCanceled(order_id=order_id, reason="buyer"))
    await put_stock(inventory, http, sku, 10)
    await put_stock(inventory, http, sku, 4)

    low = await inventory.said(sku)
    assert [message.data for message in low] == [
        {"sku": sku, "available": 5, "threshold": 5},
        {"sku": sku, "available": 2, "threshold": 5},
    ]


async def test_the_backstop_releases_a_hold_a_quarter_of_an_hour_after_its_deadline(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    due, not_due = a_sku(), a_sku()
    order_id = new_id()
    for sku, order, minutes in ((due, order_id, 44), (not_due, new_id(), 46)):
        await put_stock(inventory, http, sku, 50)
        await hold(inventory, http, order, {sku: 2}, expires_in=timedelta(minutes=minutes))

    async def released() -> bool:
        return await piles(inventory, http, due) == (50, 0, 0)

    clock = "UPDATE payments.business_clock SET ahead = make_interval(mins => $1)"
    try:
        await inventory.owner.execute(clock, 45 + 15)
        await eventually(released, what="the backstop")
        kept = await piles(inventory, http, not_due)
    finally:
        await inventory.owner.execute(clock, 0)

    assert kept == (48, 2, 0)
    (said,) = await inventory.said(about(order_id))
    assert (said.type, said.data["reason"]) == ("stock.released.v1", "deadline")


async def test_a_reservation_that_cannot_be_released_keeps_no_other_from_it(servers: Servers) -> None:
    """The backstop ended with the first error, and the process with it."""
    odd, due, order_id = a_sku(), a_sku(), new_id()
    lose_count = "UPDATE inventory.stock SET available = available + held, held = 0 WHERE sku = $1"
    end_now = "UPDATE inventory.reservations SET expires_at = now() - interval '2 hours' WHERE order_id = $1"

    async with running("inventory", servers, PAYMENTS_SWEEP_SECONDS="0.2") as inventory:
        async with aiohttp.ClientSession(inventory.url) as http:
            await put_stock(inventory, http, odd, 50)
            await put_stock(inventory, http, due, 50)
            await hold(inventory, http, order_id, {odd: 2})
            await inventory.owner.execute(lose_count, odd)
            await inventory.owner.execute(end_now, order_id)
            await hold(inventory, http, new_id(), {due: 2}, expires_in=timedelta(hours=-1))

            async def released() -> bool:
                return await piles(inventory, http, due) == (50, 0, 0)

            async def failed() -> float:
                seen = Exposition(http, inventory.url)
                return await seen.of("payments_sweeps_total", sweep="inventory:release-overdue", outcome="failed")

            await eventually(released, what="the backstop")
            await eventually(failed, what="a round that failed")
        state = await inventory.owner.fetchval("SELECT state FROM inventory.reservations WHERE order_id = $1", order_id)
        assert state == "held"


async def test_a_crowd_of_orders_paid_in_one_batch_is_sold_to_the_unit(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, other = a_sku(), a_sku()
    await put_stock(inventory, http, sku, 100)
    await put_stock(inventory, http, other, 100)
    held, unheld = [new_id() for _ in range(60)], [new_id() for _ in range(60)]
    await asyncio.gather(*(hold(inventory, http, order_id, {sku: 1, other: 1}) for order_id in held))

    paid = [order_paid(order_id, {other: 1, sku: 1}) for order_id in (*unheld, *held)]
    envelopes = [await inventory.say(message) for message in paid]
    await inventory.heard(*envelopes)

    said = Counter([message.type for order_id in (*held, *unheld) for message in await inventory.said(about(order_id))])
    assert said == {"stock.committed.v1": 100, "stock.shortfall.v1": 20}
    assert await piles(inventory, http, sku) == (0, 0, 100)
    await assert_counters_agree(inventory)


async def test_a_kill_between_commit_and_acknowledgement_sells_once(servers: Servers) -> None:
    sku, order_id = a_sku(), new_id()
    crash = "after_commit_before_ack=kill:1"

    async with running("inventory", servers, PAYMENTS_FAILPOINT=crash) as inventory:
        async with aiohttp.ClientSession(inventory.url) as http:
            await put_stock(inventory, http, sku, 50)
            await hold(inventory, http, order_id, {sku: 2})
            await inventory.say(order_paid(order_id, {sku: 2}))
            child = inventory.deployment.children["inventory"]

            async def dead() -> bool:
                return not child.running

            await eventually(dead, what="the crash")
            inventory.deployment.start("inventory", PAYMENTS_FAILPOINT="")
            await asyncio.to_thread(inventory.deployment.wait_ready, "inventory")
            await inventory.tell(order_paid(order_id, {sku: 2}))

        async with aiohttp.ClientSession(inventory.url) as http:
            assert await piles(inventory, http, sku) == (48, 0, 2)
        assert [message.type for message in await inventory.said(about(order_id))] == ["stock.committed.v1"]


async def test_between_two_attempts_to_charge_an_order_its_stock_is_for_others(
    inventory: OneService, http: aiohttp.ClientSession
) -> None:
    sku, order_id = a_sku(), new_id()
    await put_stock(inventory, http, sku, 3)
    await hold(inventory, http, order_id, {sku: 2})

    def declined(attempt: int) -> checkout.OrderPaymentRetrying:
        return checkout.OrderPaymentRetrying(order_id=order_id, attempt=attempt, next_attempt_at=utc_now())

    await inventory.tell(declined(0))
    between = await piles(inventory, http, sku)
    answers = [await hold(inventory, http, order_id, {sku: 2}, attempt=1) for _ in range(2)]
    await inventory.tell(declined(0))
    held = await piles(inventory, http, sku)
    await inventory.tell(declined(1))
    await hold(inventory, http, new_id(), {sku: 2})
    status, body = await hold(inventory, http, order_id, {sku: 2}, attempt=2)

    assert between == (3, 0, 0)
    assert [answer[0] for answer in answers] == [200, 200]
    assert held == (1, 2, 0), "a late word about the first attempt releases nothing"
    assert (status, body["code"]) == (409, "out_of_stock")
    assert await piles(inventory, http, sku) == (1, 2, 0)
    await assert_counters_agree(inventory)
