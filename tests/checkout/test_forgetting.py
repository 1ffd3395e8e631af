"""Keys and wishes are kept as long as somebody may repeat their request, and no longer."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest_asyncio

from checkout.handlers.forgetting import KEPT_DAYS, Forgetting
from checkout.handlers.gating import ForgettingAttempts
from payments_shared.postgres import Pool, open_pool
from payments_shared.sweeper import Round
from tests.support.shopping import Shopper, uuid_of

AGE = "SET created_at = created_at - make_interval(days => $1)"


@pytest_asyncio.fixture(loop_scope="session")
async def pool(shopper: Shopper) -> AsyncIterator[Pool]:
    dsn = shopper.deployment.provisioned.database_urls["checkout"]
    opened = await open_pool(dsn, schema="checkout", application_name="test")
    yield opened
    await opened.close()


async def test_a_key_is_forgotten_after_a_week_and_not_before(shopper: Shopper, pool: Pool) -> None:
    sku = await shopper.offer()
    old, young = secrets.token_hex(12), secrets.token_hex(12)
    first = await shopper.placed(sku, key=old)
    kept = await shopper.placed(sku, key=young)
    await shopper.owner.execute(f"UPDATE checkout.idempotency_keys {AGE} WHERE key = $2", KEPT_DAYS + 1, old)
    await shopper.owner.execute(f"UPDATE checkout.idempotency_keys {AGE} WHERE key = $2", KEPT_DAYS - 1, young)

    assert await Forgetting(pool).forget() == Round()

    anew = await shopper.checkout(sku, key=old)
    again = await shopper.checkout(sku, key=young)
    assert (anew.status, again.status) == (201, 201)
    assert anew.body["order_id"] != first["order_id"]
    assert again.body["order_id"] == kept["order_id"]
    assert (await shopper.order(first))["status"] == "pending", "what was made under the key stays"


async def test_old_wishes_to_save_a_method_are_forgotten(shopper: Shopper, pool: Pool) -> None:
    keep = "INSERT INTO checkout.method_additions (id, stripe_request, created_at) VALUES (gen_random_uuid(), $1, "
    mark = secrets.token_hex(8)
    for days in (KEPT_DAYS + 1, KEPT_DAYS - 1):
        await shopper.owner.execute(keep + "now() - make_interval(days => $2))", f'{{"mark": "{mark}"}}', days)

    await Forgetting(pool).forget()

    assert (
        await shopper.count("SELECT count(*) FROM checkout.method_additions WHERE stripe_request->>'mark' = $1", mark)
        == 1
    )


async def test_attempts_origins_and_blocks_are_forgotten_once_no_window_reaches_them(
    shopper: Shopper, pool: Pool
) -> None:
    old, young = [await shopper.placed(await shopper.offer()) for _ in range(2)]
    for order, days in ((old, 31), (young, 29)):
        for statement in (
            """INSERT INTO checkout.order_origins (order_id, address, placed_at)
               VALUES ($1, 'somewhere', payments.business_now() - $2::interval)""",
            """INSERT INTO checkout.card_attempts (charge, order_id, declined, email, at)
               VALUES ('ch_' || $1::uuid, $1, true, 'mark', payments.business_now() - $2::interval)""",
        ):
            await shopper.owner.execute(statement, uuid_of(order), timedelta(days=days))

    assert await ForgettingAttempts(pool).forget() == Round()

    for table in ("order_origins", "card_attempts"):
        kept = f"SELECT count(*) FROM checkout.{table} WHERE order_id = $1"
        assert [await shopper.count(kept, uuid_of(order)) for order in (old, young)] == [0, 1], table


async def test_a_block_that_begins_anew_is_not_forgotten_and_nobody_waits_for_it(shopper: Shopper, pool: Pool) -> None:
    order = uuid_of(await shopper.placed(await shopper.offer()))
    anew, over = secrets.token_hex(8), secrets.token_hex(8)
    insert = "INSERT INTO checkout.velocity_blocks VALUES ($1, payments.business_now() - interval '1 hour', $2, 'rule')"
    for mark in (anew, over):
        await shopper.owner.execute(insert, mark, order)

    async with shopper.owner.acquire() as connection, connection.transaction():
        again = (
            "UPDATE checkout.velocity_blocks SET until = payments.business_now() + interval '1 hour' WHERE mark = $1"
        )
        await connection.execute(again, anew)
        async with asyncio.timeout(5):
            await ForgettingAttempts(pool).forget()

    kept = await shopper.owner.fetch("SELECT mark FROM checkout.velocity_blocks WHERE order_id = $1", order)
    assert [row["mark"] for row in kept] == [anew]
