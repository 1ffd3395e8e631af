"""A saved card that is declined for now is charged again by itself: paid once, given up, or canceled."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from checkout.store.orders import list_retries
from tests.checkout.test_one_click import none_is_late
from tests.support.people import Person
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

LATER, TWICE, THEN_LOST = "4000000000990012", "4000000000990020", "4000000000990038"
THEN_ASKS, NEVER = "4000000000990046", "4000000000990087"
HOUR = 3600


@pytest_asyncio.fixture(loop_scope="session")
async def ada(shopper: Shopper) -> AsyncIterator[Person]:
    """Somebody without a saved method."""
    yield Person(shopper, "ada-" + secrets.token_hex(4))


@pytest_asyncio.fixture(loop_scope="session")
async def sku(shopper: Shopper) -> AsyncIterator[str]:
    """Goods, five pieces."""
    yield await shopper.offer(stock=5)


async def waiting(person: Person, sku: str, card: str, *, quantity: int = 1, coupon: str | None = None) -> Json:
    """An order whose card was declined for now."""
    method = await person.saves(card)
    return await waits(person, sku, method["id"], quantity=quantity, coupon=coupon)


async def waits(person: Person, sku: str, method: str, *, quantity: int = 1, coupon: str | None = None) -> Json:
    """An order that is paid with a card which is declined for now."""
    answer = await person.buys(sku, quantity=quantity, method_id=method, retry_later=True, coupon=coupon)
    assert (answer.status, answer.body["status"]) == (202, "retrying"), answer
    return answer.body


async def charges(shopper: Shopper, order: Json) -> int:
    """How often the card was charged for an order."""
    listed = await shopper.stripe("GET", f"/v1/charges?payment_intent={order['payment_intent']}&limit=100")
    return len(listed["data"])


async def tried(shopper: Shopper, order: Json, times: int) -> None:
    """Wait until the card was charged so often."""

    async def probe() -> bool:
        return await charges(shopper, order) == times

    await eventually(probe, what=f"attempt {times}")


async def has_free(shopper: Shopper, sku: str, pieces: int) -> None:
    """Wait until others may buy so many."""

    async def probe() -> bool:
        return bool((await shopper.stock_of(sku))["available"] == pieces)

    await eventually(probe, what=f"{pieces} pieces on the shelf")


async def ends(shopper: Shopper, order: Json, status: str) -> None:
    """Wait until the order has failed or was paid, and its intent is in this status."""
    await shopper.until(order, "paid" if status == "succeeded" else "failed")

    async def probe() -> bool:
        read = await shopper.stripe("GET", f"/v1/payment_intents/{order['payment_intent']}")
        return bool(read["status"] == status)

    await eventually(probe, what=f"the intent {status}")


async def test_what_was_tried_last_comes_last(shopper: Shopper) -> None:
    """So fifty that always fail, and are given back each time, keep nobody else waiting."""
    sku = await shopper.offer()
    failing, other = [uuid_of(await shopper.placed(sku)) for _ in range(2)]
    async with shopper.owner.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL search_path = checkout, payments")
        for order, due, tried_ago in ((failing, "2 days", "1 second"), (other, "1 day", "1 minute")):
            await connection.execute(
                "UPDATE orders SET retry_at = business_now() - $2::text::interval,"
                " lease_until = now() - $3::text::interval WHERE id = $1",
                order, due, tried_ago,
            )  # fmt: skip
        listed = [id_ for id_ in await list_retries(connection) if id_ in (failing, other)]
        await transaction.rollback()

    assert listed == [other, failing]


@pytest.mark.timeout(180)
async def test_later_attempts_pay_once_or_end_the_order(shopper: Shopper, ada: Person) -> None:
    """One jump of the clock for all of them: declined twice and then paid, declined for good, asked for by his bank when
    he is not there, sold to others meanwhile, canceled, and paid by an attempt whose answer was lost."""
    code = await shopper.coupon(percent_off=10, max_redemptions=1)
    skus = {name: await shopper.offer(stock=5) for name in ("twice", "lost", "asks", "sold", "canceled", "cut")}
    twice = await waiting(ada, skus["twice"], TWICE, quantity=2)
    shown = await shopper.order(twice)
    lost = await waiting(ada, skus["lost"], THEN_LOST, coupon=code)
    asks = await waiting(ada, skus["asks"], THEN_ASKS)
    method = (await ada.saves(LATER))["id"]
    sold, canceled, cut = [await waits(ada, skus[name], method) for name in ("sold", "canceled", "cut")]
    await asyncio.gather(*(has_free(shopper, sku, 5) for sku in skus.values()))
    await shopper.until(await shopper.bought(skus["sold"], quantity=5), "paid")
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{canceled['order_id']}/cancel"
    unwanted = await shopper.call("POST", url, **{"Order-Token": canceled["order_token"]})
    confirm = f"/v1/payment_intents/{cut['payment_intent']}/confirm"
    await shopper.stripe("POST", "/_sim/faults", {"kind": "cut_after", "path": confirm, "count": 2})
    await shopper.quiet()
    before = [await charges(shopper, order) for order in (twice, lost, asks, sold, canceled, cut)]

    await shopper.advance(HOUR + 30)
    await asyncio.gather(*(ends(shopper, order, "canceled") for order in (lost, asks, sold)))
    await ends(shopper, cut, "succeeded")
    await tried(shopper, twice, 2)
    await has_free(shopper, skus["twice"], 5)
    await shopper.stripe("DELETE", "/_sim/faults")
    await shopper.advance(24 * HOUR)
    await ends(shopper, twice, "succeeded")
    await none_is_late(shopper)
    await shopper.audited()

    assert before == [1] * 6, "nothing is charged before its time"
    assert (shown["status"], shown["payment_problem"]["code"]) == ("pending", "insufficient_funds")
    assert shown["next_attempt_at"] == twice["next_attempt_at"]
    assert (await shopper.order(twice))["next_attempt_at"] is None
    assert [await charges(shopper, order) for order in (twice, lost, asks, sold, canceled, cut)] == [3, 2, 2, 1, 1, 2]
    assert [await shopper.effects(order) for order in (twice, cut)] == [(1, 1, 1, 1)] * 2
    assert [len(await shopper.mails(order, "payment_retrying")) for order in (twice, lost, sold)] == [1] * 3
    assert [len(await shopper.mails(order, "payment_failed")) for order in (twice, lost, asks, sold)] == [0, 1, 1, 1]
    assert (unwanted.status, unwanted.body["status"], unwanted.body["next_attempt_at"]) == (200, "canceled", None)
    assert not await shopper.mails(canceled, "payment_failed")
    assert [(await shopper.stock_of(skus[name]))["available"] for name in ("lost", "asks", "canceled")] == [5] * 3
    assert (await shopper.admin("GET", "checkout", f"/admin/coupons/{code}")).body["held"] == 0


async def test_what_the_bank_forbids_to_repeat_or_nobody_asked_for_is_declined_at_once(
    shopper: Shopper, ada: Person, sku: str
) -> None:
    await ada.saves(NEVER)
    forbidden = await ada.buys(sku, retry_later=True)
    chosen = await ada.saves(LATER)
    unasked = await ada.buys(sku, method_id=chosen["id"])

    def told(answer: Answer) -> tuple[int, str]:
        return answer.status, answer.body["code"]

    assert [told(forbidden), told(unasked)] == [(402, "payment_declined")] * 2
    await has_free(shopper, sku, 5)
    await shopper.audited()
