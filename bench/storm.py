"""`python -m bench.storm`: 5,000 orders are paid at once, and Stripe says so five times each, in no order.

All services run. 25,000 signed webhooks are shuffled and sent over 50 connections. Each must be answered 200, each
order must have each effect exactly once, and the last effect must have come soon after the last answer. The orders and
what is held for them are put into the tables by SQL; everything afterwards is done by the services.
"""

import argparse
import asyncio
import json
import random
import secrets
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from bench import costs, evidence, load, machine, orders
from bench.evidence import Report, say
from bench.load import Fired
from bench.servers import measured_servers
from bench.verify_only import PATH
from payments_shared.contracts.catalog import CATALOG, CONSUMERS, SERVICES, schema_name
from payments_shared.messaging.topology import RETRY_TIERS_MS
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers, ServersUnavailable

ORDERS: Final = 5_000
COPIES: Final = 5
CONNECTIONS: Final = 50
DRAINED_MAX_SECONDS: Final = 60.0
GIVE_UP_SECONDS: Final = 600.0
EFFECTS: Final[Mapping[str, str]] = {
    "events stored": "SELECT count(*), count(DISTINCT event_id) FROM webhook_ingest.stripe_events",
    "orders paid": "SELECT count(*), count(DISTINCT order_id) FROM checkout.order_transitions WHERE to_state = 'paid'",
    "order.paid said": """
        SELECT count(*), count(DISTINCT partition_key) FROM checkout.outbox WHERE type = 'order.paid.v1'
    """,
    "stock committed": """
        SELECT count(*), count(DISTINCT order_id) FROM inventory.reservation_transitions WHERE to_state = 'committed'
    """,
    "shipments": "SELECT count(*), count(DISTINCT order_id) FROM fulfillment.shipments",
    "captures known": "SELECT count(*), count(DISTINCT order_id) FROM refunds.payments",
    "mails sent": "SELECT count(*), count(DISTINCT order_id) FROM notifications.mails WHERE state = 'sent'",
}
LOOK_SECONDS: Final = 1.0
_SAID: Final = "SELECT type, count(*) AS said, count(published_at) AS published FROM {}.outbox GROUP BY type"
_TAKEN: Final = "SELECT count(*) FROM {}.inbox"
NONE_OF: Final[Mapping[str, str]] = {
    "refunds": "SELECT count(*) FROM refunds.refunds",
    "dead letters": "SELECT count(*) FROM operations.dead_letters",
    "stock astray": "SELECT count(*) FROM inventory.stock WHERE held <> 0 OR available + committed <> total",
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. Effects are (all of them, how many orders have one). `done` says when each service had taken
    and said its last message, in seconds after the last answer."""

    orders: int
    fired: Fired
    effects: Mapping[str, tuple[int, int]]
    astray: Mapping[str, int]
    done: Mapping[str, float]
    posting: costs.Used
    draining: costs.Used

    @property
    def drained_seconds(self) -> float:
        """From the last answer to the last effect of all."""
        return max(self.done.values())

    @property
    def complaints(self) -> list[str]:
        """What falls short of the goals, or is simply wrong."""
        found = []
        if self.fired.statuses != {"200": self.orders * COPIES}:
            found.append(f"answers other than 200: {self.fired.statuses}")
        found += [
            f"{name}: {total} for {different} orders, not one for each of {self.orders}"
            for name, (total, different) in self.effects.items()
            if (total, different) != (self.orders, self.orders)
        ]
        found += [f"{name}: {count}, not 0" for name, count in self.astray.items() if count]
        if self.drained_seconds > DRAINED_MAX_SECONDS:
            found.append(f"drained {self.drained_seconds:.1f} s after the last answer, not {DRAINED_MAX_SECONDS:.0f} s")
        return found


class Storm:
    """One storm over a running deployment."""

    def __init__(self, servers: Servers, deployment: Deployment, owner: "orders.Owner[asyncpg.Record]") -> None:
        self._deployment = deployment
        self._owner = owner
        self._pids = {name: child.pid for name, child in deployment.children.items()} | costs.server_pids(servers)

    async def run(self, seed: str, count: int) -> Result:
        """Place the orders, send everything, and watch until nothing is on its way."""
        await orders.place_orders(self._owner, seed, count)
        await orders.hold_stock(self._owner, seed, count)
        order = load.Order(
            port=self._deployment.public["webhook-ingest"],
            path=PATH,
            secret=self._deployment.secrets["webhook"],
            count=count,
            connections=CONNECTIONS,
            run=seed,
        )
        requests = list(load.signed_requests(order)) * COPIES
        random.Random(seed).shuffle(requests)  # noqa: S311 - an order of sending, the same for the same seed
        before = costs.look(self._pids)
        fired = await asyncio.to_thread(load.fire, order, requests)
        answered, middle = time.perf_counter(), costs.look(self._pids)
        say(f"answered: {len(requests) / fired.seconds:,.0f}/s; still on its way: {await self.missing()}")
        done = await self._until_drained(answered)
        took = time.perf_counter() - answered
        return Result(
            orders=count,
            fired=fired,
            effects={name: await self._pair(sql) for name, sql in EFFECTS.items()} | {"mails received": self._mails()},
            astray={name: int(await self._owner.fetchval(sql)) for name, sql in NONE_OF.items()},
            done=done,
            posting=costs.between(before, middle, fired.seconds),
            draining=costs.between(middle, costs.look(self._pids), took),
        )

    async def missing(self) -> dict[str, int]:
        """By service, how many messages it has yet to take or to publish, by the services' own tables."""
        due = dict.fromkeys(SERVICES, 0)
        for service in SERVICES:
            for row in await self._owner.fetch(_SAID.format(schema_name(service))):
                due[service] += row["said"] - row["published"]
                for hearer in CATALOG[row["type"]].hearers:
                    due[hearer] += row["said"]
        for service in CONSUMERS:
            due[service] -= await self._owner.fetchval(_TAKEN.format(schema_name(service)))
        return {service: count for service, count in due.items() if count}

    async def _until_drained(self, answered: float) -> dict[str, float]:
        done = dict.fromkeys(SERVICES, 0.0)
        while missing := await self.missing():
            now = time.perf_counter() - answered
            if now > GIVE_UP_SECONDS:
                raise SystemExit(f"still on its way after {now:.0f} s: {missing}")
            done |= dict.fromkeys(missing, now + LOOK_SECONDS)  # it may be done by the next look, not before this one
            await asyncio.sleep(LOOK_SECONDS)
        return done

    async def _pair(self, sql: str) -> tuple[int, int]:
        row = await self._owner.fetchrow(sql)
        assert row is not None
        return row[0], row[1]

    def _mails(self) -> tuple[int, int]:
        """What the mail server has: mails, and different orders among them."""
        with urllib.request.urlopen(f"{self._deployment.mailbox_url}/api/messages", timeout=30) as answer:  # noqa: S310 - our own process
            mails = json.loads(answer.read())["messages"]
        return len(mails), len({mail["order_id"] for mail in mails})


async def measure(seed: str, count: int) -> tuple[Result, list[str]]:
    """Start everything, let it storm, stop everything."""
    facts = machine.facts()
    async with measured_servers(say) as servers:
        facts += await machine.server_facts(servers)
        namespace = f"storm_{secrets.token_hex(3)}"
        names = ("stripe", "mailbox", *SERVICES)
        async with deploy(servers, namespace=namespace, names=names, retry_tiers_ms=RETRY_TIERS_MS) as deployment:
            owner = await orders.connect(deployment.provisioned.owner_database_url)
            try:
                return await Storm(servers, deployment, owner).run(seed, count), facts
            finally:
                await owner.close()


def report(result: Result, facts: Sequence[str], seed: str) -> Report:
    """The table, and how long it took to drain."""
    fired, drained = result.fired, result.drained_seconds
    times = (
        f"{fired.sent / fired.seconds:,.0f}/s; p50 {fired.p50 * 1000:.0f} ms, p99 {fired.p99 * 1000:.0f} ms, "
        f"worst {fired.worst * 1000:.0f} ms"
    )
    used = [f"{part.of_machine:.0%} of the machine; {part.shares}" for part in (result.posting, result.draining)]
    lines = [
        *facts,
        f"storm     {result.orders} orders, each event {COPIES} times, shuffled, over {CONNECTIONS} connections",
        "orders    placed by SQL, with their stock held; all services run, mails go to a mail server of the sandbox",
        f"seed      {seed}",
        "",
        f"answers   {fired.statuses} in {fired.seconds:.1f} s, {times}",
        "",
        f"{'effect':<18}{'all':>8}{'orders':>8}",
        *(f"{name:<18}{total:>8}{different:>8}" for name, (total, different) in result.effects.items()),
        *(f"{name:<18}{count:>8}" for name, count in result.astray.items()),
        "",
        f"{'service':<18}{'done after':>11}   seconds from the last answer",
        *(f"{service:<18}{seconds:>11.1f}" for service, seconds in result.done.items()),
        "",
        f"binds     while answering, {used[0]}",
        f"          while draining, {used[1]}; shares of one core each",
        f"goal      every answer 200, every effect once, drained within {DRAINED_MAX_SECONDS:.0f} s",
        f"ratio {drained / DRAINED_MAX_SECONDS:.2f} of the time allowed: drained {drained:.1f} s after the last answer",
    ]
    return Report("A storm of repeated and shuffled webhooks", "make bench-storm", lines, result.complaints)


def main() -> None:
    """Exit status 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--seed", default="", help="names the events and shuffles them; random by default")
    parser.add_argument("--evidence", type=Path, help="also write the report to this Markdown file")
    given = parser.parse_args()
    seed = given.seed or secrets.token_hex(4)
    try:
        result, facts = asyncio.run(measure(seed, given.orders))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    evidence.end_with(report(result, facts, seed), given.evidence)


if __name__ == "__main__":
    main()
