"""Transactions about different orders of one coupon, and about one order and its key."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from checkout.handlers.ledger import settle_coupons
from checkout.store import catalog
from checkout.store import orders as store
from checkout.store.velocity import lock_openings
from payments_shared.postgres import Connection
from tests.checkout.test_canceling import cancel
from tests.checkout.test_store_credit import expired
from tests.support.credit import Holder
from tests.support.shopping import Json, Shopper, eventually, uuid_of


@asynccontextmanager
async def transaction(shopper: Shopper) -> AsyncIterator[Connection]:
    """A transaction of checkout's login on a connection of its own."""
    connection = await asyncpg.connect(
        shopper.deployment.provisioned.database_urls["checkout"], server_settings={"search_path": "checkout, payments"}
    )
    try:
        async with connection.transaction():
            yield connection
    finally:
        await connection.close()


async def written_twice(connection: Connection, order: Json) -> None:
    """Write an order twice, as a sweep does that touches it and then learns about it."""
    for _ in range(2):
        await connection.execute(store.QUERIES["touch_order"], uuid_of(order))


async def test_two_sweeps_that_end_orders_of_one_coupon_take_turns_at_it(shopper: Shopper) -> None:
    sku, code = await shopper.offer(), await shopper.coupon(percent_off=10)
    one, other = [await shopper.placed(sku, coupon=code) for _ in range(2)]

    async with transaction(shopper) as second:
        await written_twice(second, other)
        async with transaction(shopper) as first:
            await written_twice(first, one)
            async with asyncio.timeout(20):
                assert set(await catalog.lock_coupons(first, [code])) == {code}
            waiting = asyncio.create_task(catalog.lock_coupons(second, [code]))
            await until_it_waits(shopper, second)
        assert set(await waiting) == {code}


async def test_late_money_of_two_orders_in_one_batch_takes_one_use_of_one_customer(shopper: Shopper) -> None:
    """What was counted before the batch did not know of the other order in it."""
    sku, code = await shopper.offer(), await shopper.coupon(percent_off=10, per_customer=1)
    email = f"{secrets.token_hex(6)}@example.com"
    first = await shopper.placed(sku, coupon=code, email=email)
    assert (await cancel(shopper, first)).status == 200
    await shopper.until(first, "canceled")
    second = await shopper.placed(sku, coupon=code, email=email)
    assert (await cancel(shopper, second)).status == 200
    await shopper.until(second, "canceled")

    async with transaction(shopper) as connection:
        await settle_coupons(connection, [(uuid_of(order), "redeemed") for order in (first, second)])
        redemptions = await store.lock_redemptions(connection, {uuid_of(first), uuid_of(second)})
        coupon = await catalog.load_coupon(connection, code)

    assert redemptions[uuid_of(first)].state == "redeemed"
    assert redemptions[uuid_of(second)].state == "honoured"
    assert coupon is not None
    assert (coupon.held, coupon.redeemed) == (0, 1)
    async with transaction(shopper) as connection:  # as it was: nobody paid these orders
        await settle_coupons(connection, [(uuid_of(order), "released") for order in (first, second)])


async def test_a_limit_is_dated_after_every_use_that_an_older_one_let_pass(shopper: Shopper) -> None:
    """The audit takes a use that is younger than a limit for one that this limit let pass."""
    coupon, code = await shopper.coupon(percent_off=10, per_customer=2), "P" + secrets.token_hex(4).upper()
    path, dated = f"/admin/promotion-codes/{code}", "SELECT limited_at FROM checkout.promotion_codes WHERE code = $1"
    await shopper.admin("PUT", "checkout", path, {"coupon": coupon, "max_redemptions": 5})

    async with transaction(shopper) as placing:
        assert set(await catalog.lock_coupons(placing, [coupon])) == {coupon}
        wish = {"coupon": coupon, "max_redemptions": 1}
        limiting = asyncio.create_task(shopper.admin("PUT", "checkout", path, wish))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
        pid = placing.get_server_pid()
        await eventually(lambda: shopper.count(waiting, pid), what="who limits it waits")
        used_at = await placing.fetchval("SELECT clock_timestamp()")
    await limiting

    limited_at = await shopper.owner.fetchval(dated, code)
    assert limited_at > used_at
    await shopper.admin("PUT", "checkout", path, {**wish, "first_order_only": True})
    assert await shopper.owner.fetchval(dated, code) == limited_at, "the limit is the one that it was"


async def test_a_customers_limit_is_dated_when_it_changes_and_not_with_a_use(shopper: Shopper) -> None:
    sku, code = await shopper.offer(), await shopper.coupon(percent_off=10, per_customer=2)
    path, dated = f"/admin/coupons/{code}", "SELECT limited_at FROM checkout.coupons WHERE code = $1"
    made = await shopper.owner.fetchval(dated, code)

    await shopper.placed(sku, coupon=code)
    await shopper.admin("PUT", "checkout", path, {"percent_off": 20, "per_customer": 2})
    kept = await shopper.owner.fetchval(dated, code)
    await shopper.admin("PUT", "checkout", path, {"percent_off": 20, "per_customer": 1})

    assert kept == made
    assert await shopper.owner.fetchval(dated, code) > made


async def test_who_takes_an_order_up_again_waits_for_his_turn_before_he_locks_anything(shopper: Shopper) -> None:
    """Placements take the turn of their customer first, and then the coupon: the other way round both would wait."""
    ada, sku, code = Holder(shopper), await shopper.offer(), await shopper.coupon(percent_off=10)
    order = await ada.placed(sku, coupon=code)
    await expired(shopper, order)

    async with transaction(shopper) as placing:
        await lock_openings(placing, f"customer {ada.subject}")
        taking = asyncio.create_task(
            ada.call("POST", f"/orders/{order['order_id']}/recover", **{"Idempotency-Key": secrets.token_hex(12)})
        )
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
        pid = placing.get_server_pid()
        await eventually(lambda: shopper.count(waiting, pid), what="the other waits")
        assert set(await catalog.lock_coupons(placing, [code])) == {code}

    assert (await taking).status == 201


async def test_a_repeat_does_not_wait_for_who_decides_about_its_order_and_will_want_its_key(shopper: Shopper) -> None:
    order = uuid_of(await shopper.placed(await shopper.offer()))
    await shopper.owner.execute(
        "UPDATE checkout.orders SET lease_until = now() - interval '1 second' WHERE id = $1", order
    )

    async with transaction(shopper) as deciding:
        await deciding.execute(store.QUERIES["lock_order"], order)
        async with transaction(shopper) as repeating, asyncio.timeout(2):
            assert not await store.lease_order(repeating, order, 5.0)


async def until_it_waits(shopper: Shopper, connection: Connection) -> None:
    """Return once the transaction waits for another's lock."""

    async def blocked() -> int:
        return await shopper.count("SELECT cardinality(pg_blocking_pids($1))", connection.get_server_pid())

    await eventually(blocked, what="the second waits for its turn")
