"""What a purchase, a decline and a refund are counted as."""

import pytest

from payments_shared.contracts.catalog import SERVICES, schema_name
from tests.scenarios.test_refunds import refund
from tests.support.exposition import Exposition
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.servers

DECLINED = "4000000000009995"


def at(shopper: Shopper, service: str) -> Exposition:
    return Exposition(shopper.http, shopper.deployment.internal_url(service))


async def test_a_declined_card_and_the_one_that_paid_are_counted_once_each_by_method_currency_and_code(
    shopper: Shopper,
) -> None:
    checkout = at(shopper, "checkout")
    labels = {"method": "card", "currency": "eur"}

    async def counted() -> tuple[float, ...]:
        return (
            await checkout.of("payments_attempts_total", outcome="declined", **labels),
            await checkout.of("payments_attempts_total", outcome="succeeded", **labels),
            await checkout.of("payments_declines_total", method="card", code="insufficient_funds"),
            await checkout.of("payments_orders_paid_minor_total", currency="eur"),
            await checkout.of("payments_payment_reflected_seconds_count"),
        )

    sku = await shopper.offer()
    before = await counted()

    order = await shopper.placed(sku, currency="eur")
    assert await shopper.pay(order, card=DECLINED) == 402
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.quiet()
    (charged,) = await shopper.events_of(order, "charge.failed")
    await shopper.stripe("POST", f"/_sim/events/{charged['id']}/resend", {})
    await shopper.quiet()

    rise = [after - earlier for after, earlier in zip(await counted(), before, strict=True)]
    assert rise == [1, 1, 1, 1700, 1]


async def test_what_a_refund_gives_back_is_counted_by_currency(shopper: Shopper) -> None:
    refunds = at(shopper, "refunds")
    given = {"currency": "jpy", "outcome": "succeeded"}
    order = await shopper.bought(await shopper.offer(), currency="jpy")
    await shopper.until(order, "paid")
    await shopper.quiet()
    before = await refunds.of("payments_refunded_minor_total", **given)

    assert (await refund(shopper, order, amount_minor=400)).status == 201

    async def counted() -> bool:
        return await refunds.of("payments_refunded_minor_total", **given) == before + 400

    await eventually(counted, what="the refund among what is counted")


async def test_pools_show_how_they_stand(shopper: Shopper) -> None:
    await shopper.placed(await shopper.offer())

    for service in SERVICES:
        seen = at(shopper, service)
        most = await seen.of("payments_pool_connections_max", pool="main")
        open_ = await seen.of("payments_pool_connections", pool="main")
        assert 1 <= open_ <= most, service
        assert await seen.of("payments_pool_connections", pool="main", state="in_use") <= open_
        assert await seen.of("payments_pool_waiting", pool="main") == 0


async def test_operations_shows_how_the_database_is(shopper: Shopper) -> None:
    seen = at(shopper, "operations")
    order = await shopper.bought(await shopper.offer())
    await shopper.until(order, "paid")

    async def measured() -> bool:
        return await seen.of("payments_postgres_rows_total", act="inserted") > 0

    await eventually(measured, within=30, what="the rows that were written")
    assert await seen.of("payments_postgres_transactions_total", outcome="committed") > 100
    assert await seen.of("payments_postgres_blocks_total", source="cache") > 100
    assert await seen.of("payments_postgres_database_bytes") > 1_000_000
    assert 1 < await seen.of("payments_postgres_connections") < await seen.of("payments_postgres_connections_max")
    assert await seen.of("payments_postgres_transaction_ids_used") > 0
    for service in SERVICES:
        assert await seen.of("payments_postgres_schema_bytes", schema=schema_name(service)) > 10_000, service
