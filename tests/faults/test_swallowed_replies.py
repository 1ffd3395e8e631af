"""Replies that are lost on their way: what was done is not known to be done, is done again, and has its effect once."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio

from payments_shared.ids import external_id
from sandbox.services.deployment import Deployment
from tests.faults.evidence import NETWORK, keep, table
from tests.faults.load import Buyers, all_end_once
from tests.faults.network import SEED, Network, facts, spoilable
from tests.faults.proxy import SwallowAnswer, SwallowCommit, SwallowConfirm
from tests.support.judged import judge_requests
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.faults
SHARE: Final = 0.2
STOCK: Final = 5000
FAULTS: Final = {
    "postgres": "SwallowCommit", "broker": "SwallowConfirm", "stripe": "SwallowAnswer", "inventory": "SwallowAnswer",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def network() -> AsyncIterator[Network]:
    async with spoilable("swallowed") as made:
        yield made
        await judge_requests(made.deployment)


@pytest.fixture(scope="module")
def struck(network: Network) -> Deployment:
    """What buyers buy from."""
    return network.deployment


@dataclass(frozen=True, slots=True)
class Swallowed:
    """What one run of purchases met."""

    buyers: Buyers
    work: dict[str, int]
    chances: dict[str, int]
    lost: dict[str, int]
    seconds_to_rest: float


async def purchases_under_loss(network: Network, shopper: Shopper, *, seconds: float, buyers: int) -> Swallowed:
    """Buyers for so many seconds, while a fifth of all replies is lost, until all that they bought has its effects."""
    load = Buyers(shopper, await shopper.offer(stock=STOCK))
    buying = asyncio.create_task(load.run(buyers, at_least=buyers))
    before = {name: proxy.look() for name, proxy in network.proxies.items()}

    async def under_way() -> dict[str, int] | None:
        work = await load.in_flight()
        return work if sum(work.values()) > work["buyers"] > 0 else None

    work: dict[str, int] = await eventually(under_way, within=60, every=0.01, what="work in flight")
    network.postgres.set(SwallowCommit(SHARE, SEED))
    network.stripe.set(SwallowAnswer(SHARE, SEED))
    network.inventory.set(SwallowAnswer(SHARE, SEED, prefix="POST /internal/reservations"))
    for cuts in (True, False):
        network.broker.set(SwallowConfirm(SHARE, SEED, cuts=cuts))
        await asyncio.sleep(seconds / 2)  # the length of the fault

    async def each_struck() -> bool:
        return all(network.proxies[name].struck[fault] > before[name].struck[fault] for name, fault in FAULTS.items())

    await eventually(each_struck, within=60, what="a lost reply of each server")
    seen = {name: proxy.clear() for name, proxy in network.proxies.items()}
    ended = time.monotonic()
    load.ended.set()
    await buying
    await all_end_once(load)
    at_rest = time.monotonic() - ended
    await shopper.audited()
    chances = {name: seen[name].chances[fault] - before[name].chances[fault] for name, fault in FAULTS.items()}
    lost = {name: seen[name].struck[fault] - before[name].struck[fault] for name, fault in FAULTS.items()}
    return Swallowed(load, work, chances, lost, at_rest)


async def nothing_twice(shopper: Shopper, load: Buyers) -> dict[str, int]:
    """How many there are of each effect, once each of them has been found exactly once for each order."""
    orders = {order["order_id"] for order in load.bought}
    twice = {order["order_id"] for order in load.surplus}
    truth = await shopper.stripe("GET", "/_sim/truth")
    sessions = Counter(s["order_ref"] for s in truth["sessions"] if s["order_ref"] in orders)
    intents = {s["payment_intent"]: s["order_ref"] for s in truth["sessions"] if s["order_ref"] in orders}
    refunds = Counter(intents[r["payment_intent"]] for r in truth["refunds"] if r["payment_intent"] in intents)
    mails = await _mails(shopper, orders)
    (piles,) = await shopper.owner.fetch(
        "SELECT available, held, committed FROM inventory.stock WHERE sku = $1", load.sku
    )
    ids = [uuid_of(order) for order in load.bought]
    shipped = await shopper.count("SELECT count(*) FROM fulfillment.shipments WHERE order_id = ANY($1)", ids)
    states = await _states(shopper, load.sku)
    buyable = {s["order_ref"] for s in truth["sessions"] if s["status"] != "expired"}

    assert len(orders) == len(load.bought) == load.begun, "one order for each purchase"
    assert {order for order, state in states.items() if state == "paid"} == orders
    # A purchase whose hold was not known to be made is undone, and begun again when the same request comes again.
    undone = states.keys() - orders
    assert {states[order] for order in undone} <= {"canceled"}
    assert undone.isdisjoint(buyable), "nobody can pay for what was undone"
    assert sessions == {order: 2 if order in twice else 1 for order in orders}, "one session each, and the twins"
    assert refunds == dict.fromkeys(twice, 1), "one refund for each twin"
    assert shipped == len(orders)
    assert tuple(piles) == (STOCK - len(orders), 0, len(orders))
    assert {(order, kind): n for (order, kind), n in mails.items() if n != 1} == {}, "one mail of each kind"
    return {
        "orders": len(orders), "undone": len(undone), "sessions at Stripe": sessions.total(), "refunds at Stripe": refunds.total(),
        "shipments": shipped, "stock committed": len(orders), "mails by Message-ID": mails.total(),
    }  # fmt: skip


async def _states(shopper: Shopper, sku: str) -> dict[str, str]:
    """The state of each order that was ever made for `sku`."""
    rows = await shopper.owner.fetch("SELECT id, state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    return {external_id("ord", row["id"]): row["state"] for row in rows}


async def _mails(shopper: Shopper, orders: set[str]) -> "Counter[tuple[str, str]]":
    """How many different mails of a kind there are about each order: a repeated one bears the same Message-ID."""
    listed: list[Json] = (await shopper.call("GET", f"{shopper.deployment.mailbox_url}/api/messages")).body["messages"]
    about = {(mail["order_id"], mail["kind"], mail["message_id"]) for mail in listed if mail["order_id"] in orders}
    return Counter((order, kind) for order, kind, _ in about)


@pytest.mark.timeout(300)
async def test_a_fifth_of_all_replies_is_lost_and_nothing_happens_twice(
    network: Network, shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    found = await purchases_under_loss(network, shopper, seconds=8, buyers=6)
    effects = await nothing_twice(shopper, found.buyers)

    record_property("struck", f"lost {found.lost} of {found.chances} replies, in flight {found.work}; {effects}")


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_minute_in_which_a_fifth_of_all_replies_is_lost(
    network: Network, shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    found = await purchases_under_loss(network, shopper, seconds=60, buyers=16)
    effects = await nothing_twice(shopper, found.buyers)

    rows = [(name, found.chances[name], lost, f"{lost / found.chances[name]:.0%}") for name, lost in found.lost.items()]
    lines = [
        *await facts(network.deployment.servers),
        "",
        *table(("replies of", "seen", "lost", "share"), rows),
        "",
        f"in flight when it began   {found.work}",
        f"answers to buyers         {dict(found.buyers.answers)}",
        f"found, each of them once  {effects}",
        f"at rest                   {found.seconds_to_rest:.1f} s after the last reply was lost",
        "audit                     every predicate holds",
    ]
    keep("A fifth of all replies lost for a minute, while people buy", lines, document=NETWORK)
    record_property("struck", f"lost {found.lost} of {found.chances} replies, in flight {found.work}; {effects}")
