"""Replies that are lost on their way: what was done is not known to be done, is done again, and has its effect once."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import pytest
import pytest_asyncio
from asyncpg import Record

from payments_shared.ids import external_id
from sandbox.services.deployment import Deployment
from tests.faults.evidence import NETWORK, keep, table
from tests.faults.load import SURPLUS_EVERY, Buyers, all_end_once
from tests.faults.network import SEED, Network, facts, spoilable
from tests.faults.proxy import Seen, SwallowAnswer, SwallowCommit, SwallowConfirm, SwallowReceipt, SwallowReply
from tests.support.judged import judge_requests
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.faults
SHARE: Final = 0.2
STOCK: Final = 5000
REPLIES: Final = "mail server, before"
FAULTS: Final = {
    "postgres": ("postgres", "SwallowCommit"),
    "broker": ("broker", "SwallowConfirm"),
    "stripe": ("stripe", "SwallowAnswer"),
    "inventory": ("inventory", "SwallowAnswer"),
    REPLIES: ("mailserver", "SwallowReply"),
    "mail server, mail taken": ("mailserver", "SwallowReceipt"),
}


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
    """What one run of purchases met. `untold`: by Message-ID, how often a mail was taken and its sender not told."""

    buyers: Buyers
    work: dict[str, int]
    chances: dict[str, int]
    lost: dict[str, int]
    untold: "Counter[str]"
    seconds_to_rest: float


async def purchases_under_loss(network: Network, shopper: Shopper, *, seconds: float, buyers: int) -> Swallowed:
    """Buyers for so many seconds, while a fifth of all replies is lost, until all that they bought has its effects."""
    load = Buyers(shopper, await shopper.offer(stock=STOCK))
    buying = asyncio.create_task(load.run(buyers, at_least=max(buyers, SURPLUS_EVERY)))
    before = {name: proxy.look() for name, proxy in network.proxies.items()}

    async def under_way() -> dict[str, int] | None:
        work = await load.in_flight()
        return work if sum(work.values()) > work["buyers"] > 0 else None

    work: dict[str, int] = await eventually(under_way, within=60, every=0.01, what="work in flight")
    network.postgres.set(SwallowCommit(SHARE, SEED))
    network.stripe.set(SwallowAnswer(SHARE, SEED))
    network.inventory.set(SwallowAnswer(SHARE, SEED, prefix="POST /internal/reservations"))
    network.mailserver.set(SwallowReply(SHARE, SEED))
    network.mailserver.set(SwallowReceipt(SHARE, SEED))
    for cuts in (True, False):
        network.broker.set(SwallowConfirm(SHARE, SEED, cuts=cuts))
        await asyncio.sleep(seconds / 2)  # the length of the fault

    async def each_struck() -> bool:
        struck = _since(before, {name: proxy.look() for name, proxy in network.proxies.items()}, "struck")
        if struck[REPLIES]:
            network.mailserver.clear(SwallowReply)  # or few mails come as far as to be taken
        return all(struck.values())

    await eventually(each_struck, within=60, what="a lost reply of each server")
    seen = {name: proxy.clear() for name, proxy in network.proxies.items()}
    ended = time.monotonic()
    load.ended.set()
    await buying
    untold = seen["mailserver"].untold - before["mailserver"].untold
    await all_end_once(load, mails_again_max=max(untold.values()))
    at_rest = time.monotonic() - ended
    await shopper.audited()
    chances, lost = _since(before, seen, "chances"), _since(before, seen, "struck")
    return Swallowed(load, work, chances, lost, untold, at_rest)


def _since(before: Mapping[str, Seen], now: Mapping[str, Seen], what: Literal["struck", "chances"]) -> dict[str, int]:
    """How often each fault struck between two looks, or could have struck."""
    counts = {name: (getattr(now[proxy], what), getattr(before[proxy], what)) for name, (proxy, _) in FAULTS.items()}
    return {name: counts[name][0][fault] - counts[name][1][fault] for name, (_, fault) in FAULTS.items()}


async def nothing_twice(shopper: Shopper, load: Buyers, untold: "Counter[str]") -> dict[str, int]:
    """How many there are of each effect, once each of them has been found exactly once for each order.

    A mail that was taken while its sender was not told has come once more for each time.
    """
    orders = {order["order_id"] for order in load.bought}
    twice = {order["order_id"] for order in load.surplus}
    truth = await shopper.stripe("GET", "/_sim/truth")
    sessions = Counter(s["order_ref"] for s in truth["sessions"] if s["order_ref"] in orders)
    intents = {s["payment_intent"]: s["order_ref"] for s in truth["sessions"] if s["order_ref"] in orders}
    refunds = Counter(intents[r["payment_intent"]] for r in truth["refunds"] if r["payment_intent"] in intents)
    told = {(order, "order_confirmation") for order in orders} | {(order, "refund_succeeded") for order in twice}
    mails, again = await mails_got(shopper, told, untold)
    (piles,) = await shopper.owner.fetch(
        "SELECT available, held, committed FROM inventory.stock WHERE sku = $1", load.sku
    )
    ids = [uuid_of(order) for order in load.bought]
    shipped = await shopper.count("SELECT count(*) FROM fulfillment.shipments WHERE order_id = ANY($1)", ids)
    states = await _states(shopper, load.sku)
    buyable = {s["order_ref"] for s in truth["sessions"] if s["status"] != "expired"}

    assert len(orders) == len(load.bought) == load.begun, "one order for each purchase"
    assert twice, "nobody paid twice"
    assert {order for order, state in states.items() if state == "paid"} == orders
    # A purchase whose hold was not known to be made is undone, and begun again when the same request comes again.
    undone = states.keys() - orders
    assert {states[order] for order in undone} <= {"canceled"}
    assert undone.isdisjoint(buyable), "nobody can pay for what was undone"
    assert sessions == {order: 2 if order in twice else 1 for order in orders}, "one session each, and the twins"
    assert refunds == dict.fromkeys(twice, 1), "one refund for each twin"
    assert shipped == len(orders)
    assert tuple(piles) == (STOCK - len(orders), 0, len(orders))
    return {
        "orders": len(orders), "undone": len(undone), "sessions at Stripe": sessions.total(), "refunds at Stripe": refunds.total(),
        "shipments": shipped, "stock committed": len(orders), "mails": mails, "of these again": again,
    }  # fmt: skip


async def _states(shopper: Shopper, sku: str) -> dict[str, str]:
    """The state of each order that was ever made for `sku`."""
    rows = await shopper.owner.fetch("SELECT id, state FROM checkout.orders WHERE lines -> 0 ->> 'sku' = $1", sku)
    return {external_id("ord", row["id"]): row["state"] for row in rows}


async def mails_got(shopper: Shopper, told: set[tuple[str, str]], untold: "Counter[str]") -> tuple[int, int]:
    """How many mails there are about orders, one of each order and kind in `told`, and how often one came again: at most
    as often as its sender was not told, and with the same words."""
    orders = {order for order, _ in told}
    written = await eventually(lambda: _all_sent(shopper, orders), within=60, what="every mail sent")
    listed: list[Json] = (await shopper.call("GET", f"{shopper.deployment.mailbox_url}/api/messages")).body["messages"]
    got: defaultdict[str, list[Json]] = defaultdict(list)
    for mail in listed:
        if mail["order_id"] in orders:
            got[mail["message_id"]].append(mail)

    assert Counter((external_id("ord", row["order_id"]), row["kind"]) for row in written) == dict.fromkeys(told, 1)
    assert got.keys() == {row["message_id"] for row in written}
    often = {name: len(mails) for name, mails in got.items() if len(mails) > 1 + untold[name]}
    assert often == {}, "a mail came again although its sender was told"
    for mails in got.values():
        alike = {(mail["recipient"], mail["subject"], *await shopper.mail_parts(mail)) for mail in mails}
        assert len(alike) == 1, mails
    return len(got), sum(map(len, got.values())) - len(got)


async def _all_sent(shopper: Shopper, orders: set[str]) -> list[Record]:
    """What notifications knows of each mail about `orders`, once all are sent."""
    ids = [uuid_of({"order_id": order}) for order in orders]
    sql = "SELECT order_id, kind, message_id, state FROM notifications.mails WHERE order_id = ANY($1)"
    rows = await shopper.owner.fetch(sql, ids)
    return rows if {row["state"] for row in rows} == {"sent"} else []


@pytest.mark.timeout(300)
async def test_a_fifth_of_all_replies_is_lost_and_nothing_happens_twice(
    network: Network, shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    found = await purchases_under_loss(network, shopper, seconds=8, buyers=6)
    effects = await nothing_twice(shopper, found.buyers, found.untold)

    record_property("struck", f"lost {found.lost} of {found.chances} replies, in flight {found.work}; {effects}")


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_a_minute_in_which_a_fifth_of_all_replies_is_lost(
    network: Network, shopper: Shopper, record_property: Callable[[str, object], None]
) -> None:
    found = await purchases_under_loss(network, shopper, seconds=60, buyers=16)
    effects = await nothing_twice(shopper, found.buyers, found.untold)

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
