"""Keys and wishes are kept as long as somebody may repeat their request, and no longer."""

import secrets
from collections.abc import AsyncIterator

import pytest_asyncio

from checkout.handlers.forgetting import KEPT_DAYS, Forgetting
from payments_shared.postgres import Pool, open_pool
from payments_shared.sweeper import Round
from tests.support.shopping import Shopper

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
