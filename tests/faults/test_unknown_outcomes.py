"""What Stripe may have done is found out before an order is ended, and one odd order holds up no other."""

import asyncio
import secrets
from collections.abc import Callable
from uuid import UUID

import pytest

from payments_shared.ids import new_id
from sandbox.services.deployment import Deployment
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.faults


async def _sessions_of(shopper: Shopper, order_id: str) -> list[Json]:
    truth = await shopper.stripe("GET", "/_sim/truth")
    return [session for session in truth["sessions"] if session["order_ref"] == order_id]


async def _placed_without_an_answer(shopper: Shopper, sku: str, key: str) -> UUID:
    """An order whose session was made at Stripe, and every answer to that is lost on its way until the fault ends."""
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_after", "path": "/v1/checkout/sessions", "count": 999})
    answer = await shopper.checkout(sku, key=key)
    assert answer.status == 503
    assert await _struck(shopper) >= 2, "both tries of the request, and a sweep's if one came in between"
    return UUID(
        str(await shopper.owner.fetchval("SELECT id FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku))
    )


async def _struck(shopper: Shopper) -> int:
    """How many of checkout's requests the fault has struck."""
    return int((await shopper.stripe("GET", "/_sim/faults"))["faults"][-1]["struck"])


@pytest.mark.timeout(240)
async def test_an_order_whose_session_may_exist_outlives_an_inventory_that_is_away(
    shopper: Shopper, struck: Deployment, record_property: Callable[[str, object], None]
) -> None:
    sku, key = await shopper.offer(stock=3), secrets.token_hex(12)
    order_id = await _placed_without_an_answer(shopper, sku, key)

    await asyncio.to_thread(struck.kill, "inventory")
    away = await shopper.checkout(sku, key=key)
    state = await shopper.owner.fetchval("SELECT state FROM checkout.orders WHERE id = $1", order_id)
    await shopper.stripe("DELETE", "/_sim/faults")
    record_property("struck", f"inventory killed, in flight: order {state}, its session made and not known")
    await asyncio.to_thread(struck.start, "inventory")
    await asyncio.to_thread(struck.wait_ready, "inventory")

    async def placed() -> Json | None:
        answer = await shopper.checkout(sku, key=key)
        assert answer.status in (201, 503), answer
        return answer.body if answer.status == 201 else None

    assert (away.status, state) == (503, "pending")
    order: Json = await eventually(placed, within=60, every=0.5, what="the same request goes through")
    assert uuid_of(order) == order_id
    (session,) = await _sessions_of(shopper, order["order_id"])
    assert order["checkout_url"].endswith(session["id"])
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.audited()


@pytest.mark.timeout(240)
async def test_an_order_that_must_end_closes_the_session_that_was_made_for_it(
    shopper: Shopper, struck: Deployment
) -> None:
    """Inventory's own timer gave the stock back before the request came again."""
    sku, key = await shopper.offer(stock=1), secrets.token_hex(12)
    order_id = await _placed_without_an_answer(shopper, sku, key)
    lapse = "UPDATE inventory.reservations SET expires_at = expires_at - interval '1 day' WHERE order_id = $1"
    take = "UPDATE inventory.stock SET total = 0, available = 0 WHERE sku = $1 AND available = 1"

    async def given_away() -> bool:
        await shopper.owner.execute(lapse, order_id)
        return bool(await shopper.owner.execute(take, sku) == "UPDATE 1")

    await eventually(given_away, within=60, what="inventory's own timer gives the stock back, and somebody takes it")
    before = await _struck(shopper)

    async def asked_anew() -> bool:
        # Work that held the stock before it was taken may go on; it asks Stripe twice at most.
        return await _struck(shopper) > before + 2

    await eventually(asked_anew, within=90, what="work that begins after that")
    await shopper.stripe("DELETE", "/_sim/faults")

    async def refused() -> bool:
        answer = await shopper.checkout(sku, key=key)
        assert answer.status in (409, 503), answer
        return answer.status == 409

    async def closed() -> bool:
        truth = (await shopper.stripe("GET", "/_sim/truth"))["sessions"]
        return [s["status"] for s in truth if s["order_ref"] == "ord_" + order_id.hex] == ["expired"]

    await eventually(refused, within=60, every=0.5, what="the order ends")
    await eventually(closed, what="the session is closed at Stripe")


@pytest.mark.timeout(240)
async def test_orders_that_stripe_does_not_know_keep_no_other_from_being_healed(
    shopper: Shopper, struck: Deployment
) -> None:
    sku = await shopper.offer(stock=10)
    order = await shopper.placed(sku)
    await shopper.quiet()
    copied = await shopper.owner.fetchrow("SELECT * FROM checkout.orders WHERE id = $1", uuid_of(order))
    assert copied is not None
    columns = [name for name in copied.keys() if name not in {"id", "stripe_session_id", "created_at", "updated_at"}]  # noqa: SIM118 - a record
    foreign = [new_id() for _ in range(120)]
    await shopper.owner.execute(
        f"""INSERT INTO checkout.orders (id, stripe_session_id, created_at, updated_at, {", ".join(columns)})
            SELECT made.id, 'cs_test_' || made.id, now() - interval '1 day', now() - interval '1 day',
                   {", ".join("o." + name for name in columns)}
              FROM checkout.orders AS o, unnest($2::uuid[]) AS made (id)
             WHERE o.id = $1""",
        uuid_of(order),
        foreign,
    )
    await shopper.stripe("POST", "/_sim/chaos", {"paused": True})
    assert await shopper.pay(order) == 303

    await shopper.advance(700)

    await shopper.until(order, "paid", within=60)
    await shopper.stripe("POST", "/_sim/chaos", {})
    await shopper.owner.execute("DELETE FROM checkout.orders WHERE id = ANY($1)", foreign)
