"""Money that comes after its stock was given back and sold again, or after its order was canceled."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import pytest

from payments_shared.clock import monotonic_seconds
from tests.checkout.test_canceling import cancel
from tests.faults import evidence
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.faults

T = TypeVar("T")

PRICE: Final = 1800
DECLINED: Final = "4000000000000002"
ABANDONED_SECONDS: Final = 601
SETTLED_SECONDS_MAX: Final = 60.0
AT_ONCE: Final = 16
CHAOS: Final = {"duplicate": 0.3, "reorder_seconds": 1.0}

_STANDING: Final = """
SELECT o.id, o.state,
       (SELECT count(*) FROM fulfillment.shipments AS s WHERE s.order_id = o.id AND s.state <> 'canceled') AS shipped,
       (SELECT count(*) FROM refunds.refunds AS r WHERE r.order_id = o.id) AS refunds,
       (SELECT coalesce(sum(r.amount_minor), 0) FROM refunds.refunds AS r
         WHERE r.order_id = o.id AND r.state = 'succeeded') AS refunded
  FROM checkout.orders AS o
 WHERE o.id = ANY($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Round:
    """What became of the late payments of one round."""

    fulfilled: int
    refunded: int
    seconds: float


@pytest.mark.timeout(300)
async def test_late_money_ends_fulfilled_or_paid_back(shopper: Shopper) -> None:
    await _late(shopper, each=15, rounds=1, seed=1)


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_two_thousand_late_payments_end_fulfilled_or_paid_back(shopper: Shopper) -> None:
    await _late(shopper, each=100, rounds=10, seed=2)


async def _late(shopper: Shopper, *, each: int, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    await shopper.stripe("POST", "/_sim/chaos", CHAOS)
    done = [await _round(shopper, each, chance) for _ in range(rounds)]
    await shopper.stripe("POST", "/_sim/chaos", {})
    await shopper.audited()
    rows = [(number, one.fulfilled, one.refunded, f"{one.seconds:.1f} s") for number, one in enumerate(done, 1)]
    counted = f"{sum(one.fulfilled + one.refunded for one in done)} late payments, seed {seed}; the audit is clean"
    evidence.keep("Late money", [*evidence.table(("round", "fulfilled", "paid back", "settled within"), rows), counted])
    assert sum(one.fulfilled for one in done), "some of the stock was still there"
    assert sum(one.refunded for one in done), "some of it was sold"


async def _round(shopper: Shopper, each: int, chance: random.Random) -> Round:
    """`each` orders are abandoned and as many canceled; others buy some of their stock; then the money comes.

    The abandoned are served as far as there is stock. Of the canceled another session is paid than the one that was
    closed for them: that money goes back.
    """
    sku = await shopper.offer(stock=2 * each, prices={"usd": PRICE})
    orders = await _all(2 * each, lambda: shopper.placed(sku, email=f"{secrets.token_hex(6)}@example.com"))
    abandoned, canceled = orders[:each], orders[each:]

    async def decline(order: Json) -> None:
        assert await shopper.pay(order, card=DECLINED) == 402
        await shopper.until(order, "failed")

    async def give_up(order: Json) -> None:
        assert (await cancel(shopper, order)).status == 200

    await _each(abandoned, decline)
    await _each(canceled, give_up)
    await shopper.advance(ABANDONED_SECONDS)

    async def all_is_back() -> bool:
        return bool((await shopper.stock_of(sku))["available"] == 2 * each)

    await eventually(all_is_back, within=60, what="all stock is on sale again")
    sold = chance.randint(each + 1, 2 * each - 1)
    winners = await _all(sold, lambda: shopper.bought(sku, email=f"{secrets.token_hex(6)}@example.com"))

    async def pay(order: Json) -> None:
        if order in abandoned:
            assert await shopper.pay(order) == 303
        else:
            await shopper.stripe("POST", f"/_sim/sessions/{order['checkout_url'].rpartition('/')[2]}/pay_again")

    await _each(chance.sample(orders, len(orders)), pay)
    paid_at = monotonic_seconds()
    standing = await _settled(shopper, [*orders, *winners], within=SETTLED_SECONDS_MAX)
    seconds = monotonic_seconds() - paid_at

    assert {standing[str(uuid_of(order))] for order in winners} == {"fulfilled"}, "who paid in time is served"
    assert {standing[str(uuid_of(order))] for order in canceled} == {"paid back"}
    late = [standing[str(uuid_of(order))] for order in orders]
    counts = Counter(late)
    assert counts == {"fulfilled": 2 * each - sold, "paid back": sold}
    for order, end in zip(orders, late, strict=True):
        kind = "order_confirmation" if end == "fulfilled" else "refund_succeeded"
        (mail,) = await eventually(partial(shopper.mails, order, kind), within=60, what=f"the mail {kind}")
        assert mail["recipient"].endswith("@example.com")
    return Round(counts["fulfilled"], counts["paid back"], seconds)


async def _settled(shopper: Shopper, orders: Sequence[Json], *, within: float) -> dict[str, str]:
    """How each order ended, once all have."""
    ids = [uuid_of(order) for order in orders]
    left: Counter[str] = Counter()

    async def all_ended() -> dict[str, str] | None:
        rows = await shopper.owner.fetch(_STANDING, ids)
        ends = {str(row["id"]): _end(row["shipped"], row["refunds"], row["refunded"]) for row in rows}
        left.clear()
        left.update(ends.values())
        return None if "open" in left else ends

    ends: dict[str, str] = await eventually(all_ended, within=within, what=f"all money settled, {left}")
    return ends


def _end(shipped: int, refunds: int, refunded: int) -> str:
    if (shipped, refunds) == (1, 0):
        return "fulfilled"
    if (shipped, refunds, refunded) == (0, 1, PRICE):
        return "paid back"
    assert shipped + refunds <= 1, (shipped, refunds)
    return "open"


async def _all(count: int, make: Callable[[], Awaitable[Json]]) -> list[Json]:
    made: list[Json] = []

    async def one(_: None) -> None:
        made.append(await make())

    await _each([None] * count, one)
    return made


async def _each(wanted: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(given: T) -> None:
        async with turns:
            await do(given)

    await asyncio.gather(*(one(given) for given in wanted))
