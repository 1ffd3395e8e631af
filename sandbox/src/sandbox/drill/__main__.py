"""`python -m sandbox.drill`: lose the database and the broker, restore the one to a moment, and heal everything.

Servers of its own, with the log kept; a shop with a past; then purchases around a base backup and around the moment:

- paid before the backup, and between it and the moment;
- paid before the moment, its mails waiting at the broker, and sent after it;
- placed before the moment, paid and mailed after it: the restored database knows neither;
- placed before the moment, paid while everything is down;
- placed and paid after the moment: nobody knows them any more, and what was paid goes back.

Before the backup, between it and the moment, and after the moment also: money goes back in part and whole, banks dispute
payments and keep some, store credit pays, goods are not sent, pages expire and pages are left open. One refund is asked
for before the moment and paid by Stripe after it.

Afterwards every predicate of the audit must hold and have had something to look at, each order must have one mail, and
none may have gone out twice. Stripe has paid back what it had before, and nothing twice. Of those that nobody knows any
more the money is back, and their buyers were told.
"""

import argparse
import asyncio
import os
import platform
import secrets
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from operations.audit import Report as Found
from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import SERVICES
from payments_shared.messaging.topology import RETRY_TIERS_MS
from sandbox.demo.customer import Customer, Json, NotInTime
from sandbox.demo.report import Report
from sandbox.drill.backups import Backups
from sandbox.drill.dealings import CREDIT_MINOR, PART_MINOR, UNSENT, Dealings, Round, refunded
from sandbox.drill.past import make_past
from sandbox.drill.shop import Shop, repeated
from sandbox.drill.verdict import blind, excused
from sandbox.services.children import ChildFailed
from sandbox.services.deployment import deploy
from sandbox.services.resolver import Servers, ServersUnavailable, private_servers
from sandbox.shop.catalogue import seed

ORDERS: Final = 20_000
BOUGHT: Final = 5
RESTORED_SECONDS_MAX: Final = 60.0
NAMES: Final = ("stripe", "mailbox", "frontdoor", *SERVICES)
TIERS_MS: Final = (300, 1_000, 3_000)
UNLIMITED: Final = {"PAYMENTS_PLACEMENTS_PER_ADDRESS": "0", "PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "0"}
FORGOTTEN: Final = "forgotten"  # who used store credit after the moment
UNANSWERED: Final = {"kind": "cut_before", "path": "/v1/refunds", "count": 1_000}
MARGIN: Final = timedelta(hours=1)
"""Stripe's events are asked for from so long before the moment: they may have been under way."""

TITLE: Final = ("# The restore drill", "", "Made by `make dr-drill`.", "", "```")
STAGES: Final = ("undelivered", "all")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Purchases:
    """Orders by when they were paid, and the moment. Those of `waiting` had their mails at the broker then, and those
    of `lost` were placed after it. Of those that were `refunded` Stripe had `given_back` so much."""

    before: list[Json]
    waiting: list[Json]
    after: list[Json]
    meanwhile: list[Json]
    lost: list[Json]
    moment: datetime
    refunded: list[Json]
    given_back: Mapping[str, list[int]]

    @property
    def kept(self) -> list[Json]:
        """All that the restored database knows."""
        return [*self.before, *self.waiting, *self.after, *self.meanwhile]


@dataclass(slots=True)
class Drill:
    """The steps, each told with its seconds."""

    shop: Shop
    dealings: Dealings
    backups: Backups
    servers: Servers
    report: Report

    async def step(self, what: str, work: Awaitable[T]) -> T:
        """Do it, and say how long it took."""
        started = time.monotonic()
        done = await work
        self.report.say(f"{what}  ({time.monotonic() - started:.1f} s)")
        return done

    # -- until it is lost --------------------------------------------------------------------------------------------

    async def live(self, orders: int) -> Purchases:
        """A shop with a past, a base backup, and purchases until the disaster."""
        shop, deployment = self.shop, self.shop.deployment
        await self.step(f"past: {orders} orders, paid, sent and mailed", make_past(shop.owner_url, orders))
        await shop.remember()
        await seed(
            checkout_url=deployment.internal_url("checkout"),
            inventory_url=deployment.internal_url("inventory"),
            token=lambda: deployment.keys.token("drill", "admin"),
        )
        await self.dealings.issue()
        await self.dealings.grant(FORGOTTEN)
        before = await self.step("bought: before the backup", self._bought("early"))
        rounds = [await self.step("dealt with: before the backup", self._dealt("early"))]
        await self.step("base backup, while services run", self.backups.take())
        before += await self.step("bought: after the backup", self._bought("later"))
        rounds += [await self.step("dealt with: after the backup", self._dealt("later"))]
        await shop.mailed(before)
        after, meanwhile = await shop.place("after", BOUGHT), await shop.place("meanwhile", BOUGHT)
        after += [await self.dealings.place("after-unsent", UNSENT)]
        after += [await self.dealings.place_with_credit("after-credit")]
        late = await self.step("bought: to be dealt with after the moment", self.dealings.begin("late"))
        owed = await self._owed()
        deployment.stop("notifications")
        waiting = await self.step("bought: its mails wait at the broker", self._bought("waiting"))
        await shop.paid("waiting", BOUGHT)
        await shop.stripe("POST", "/_sim/faults", UNANSWERED)
        await self.dealings.refund(owed, PART_MINOR)
        await shop.all_said()
        moment = await shop.value("SELECT clock_timestamp()")
        assert isinstance(moment, datetime)  # noqa: S101 - a function's result
        self.report.say(f"the moment: {moment.isoformat()}")
        await shop.stripe("DELETE", "/_sim/faults")
        deployment.start("notifications")
        deployment.wait_ready("notifications")
        await shop.pay(after)
        await self.step("dealt with: after the moment", self.dealings.end(late))
        lost = [*await self._bought("lost"), await self.dealings.place_by(FORGOTTEN)]
        await shop.pay(lost[BOUGHT:])
        await self.step("paid and mailed after the moment", shop.mailed([*waiting, *after, *lost]))
        refunds = [*refunded([*rounds, late]), owed]
        await self.step("given back: what was asked for before the moment", self.dealings.returned(refunds))
        found = await self.step("at rest", shop.at_rest())
        self._judge(found, "before")
        await self.step("the log is kept up to here", self.backups.catch_up())
        given_back = await self.dealings.given_back(refunds)
        return Purchases(before, waiting, after, meanwhile, lost, moment, refunds, given_back)

    async def _dealt(self, name: str) -> Round:
        made = await self.dealings.begin(name)
        await self.dealings.end(made)
        return made

    async def _owed(self) -> Json:
        """An order of which something is to go back."""
        order = await self.dealings.place("owed")
        await self.shop.pay([order])
        await self.dealings.paid(order)
        return order

    async def _bought(self, name: str) -> list[Json]:
        placed = await self.shop.place(name, BOUGHT)
        await self.shop.pay(placed)
        return placed

    async def lose(self, bought: Purchases) -> None:
        """Everything dies; the data of database and broker is gone. Stripe and buyers go on."""
        assert self.servers.rabbitmq is not None  # noqa: S101 - they are our own
        for name in SERVICES:
            self.shop.deployment.kill(name)
        self.backups.lose_server()
        self.servers.rabbitmq.lose()
        await self.shop.pay(bought.meanwhile)
        self.report.say("lost: the services' processes, the database, the broker; buyers paid meanwhile")

    # -- until it is healed ------------------------------------------------------------------------------------------

    async def restore(self, bought: Purchases) -> None:
        """Database, broker, what the broker lost, services, what Stripe knows, and mails."""
        assert self.servers.rabbitmq is not None  # noqa: S101 - they are our own
        self.servers.rabbitmq.launch()
        await self.step("database: restored to the moment", self.backups.restore(bought.moment))
        await self.step("broker: empty", asyncio.to_thread(self.servers.rabbitmq.wait_ready))
        await self.step("provisioned: queues and users", self.shop.provision_again())
        paid = await self.shop.count_paid("after")
        self.report.check("orders paid after the moment that the backup knows as paid", expected=0, seen=paid)
        under_way = await self.shop.value(
            "SELECT count(*) FROM refunds.refunds WHERE state IN ('approved', 'submitted')"
        )
        self.report.check("refunds that were under way at the moment", expected=1, seen=under_way)
        why = ("--reason", "a drill")
        begin = ("restore", "begin", "--to", bought.moment.isoformat(), *why)
        begun = await self.step("payctl restore begin", self.shop.payctl(*begin))
        again = sum(count for name, count in begun.items() if name.startswith("to say again"))
        self.report.check("messages that the broker lost are said again", expected=True, seen=again >= BOUGHT)
        self.report.say(f"to say again: {again}; mails held: {begun['mails held']}")
        for name in SERVICES:
            self.shop.deployment.start(name)
        await self.step("services: ready", asyncio.to_thread(self.shop.deployment.wait_ready, *SERVICES))
        since = (bought.moment - MARGIN).isoformat()
        pulled = await self.step("payctl stripe backfill", self.shop.payctl("stripe", "backfill", "--since", since))
        self.report.say(f"events of Stripe that were missing: {sum(pulled[name]['new'] for name in STAGES)}")
        taken = self.shop.deployment.folder / "mail.log"
        taken.write_text("\n".join(await self.shop.message_ids()))
        mails = ("restore", "mails", "--taken", str(taken), *why)
        held = await self.step("payctl restore mails", self.shop.payctl(*mails))
        self.report.say(f"mails held: {held['mails held']}, of these sent before: {held['sent before']}")
        await self.step("given up: what is said of orders that nobody knows", self.shop.given_up(bought.lost))
        lost = ("lost-payments", "refund", "--since", since, *why)
        refunded = await self.step("payctl lost-payments refund", self.shop.payctl(*lost))
        seen = sorted(one["order_id"] for one in refunded["lost_payments"])
        wanted = sorted(order["order_id"] for order in bought.lost)
        self.report.check("payments of orders that nobody knows, given back", expected=len(wanted), seen=len(seen))
        others = sorted({*seen} ^ {*wanted})
        self.report.check("orders that nobody knows and keep it, or others that do not", expected=[], seen=others)
        replay = ("dlq", "replay", "--service", "checkout", "--newer-than", "1h", *why)
        await self.step("payctl dlq replay", self.shop.payctl(*replay))
        await self.step("resolved: all dead letters", self.shop.resolved())

    async def judge(self, bought: Purchases, started: float) -> None:
        """Wait until all is healed, and check."""
        await self.step("mailed: every order", self.shop.mailed(bought.kept))
        await self.step("mailed: every refund", self.shop.mailed(bought.lost, times=2))
        await self.step("given back: all that Stripe had given back", self.dealings.returned(bought.refunded))
        found = await self.step("at rest", self.shop.at_rest())
        took = time.monotonic() - started
        for line in [*found.lines(), *excused()]:
            self.report.console.print(f"    {line}", markup=False)
        self._judge(found, "after")
        check = self.report.check
        back = await self.dealings.given_back(bought.refunded)
        differing = [order for order, amounts in back.items() if amounts != bought.given_back[order]]
        check("orders of which Stripe gave back other than before", expected=[], seen=differing)
        kept = await self.dealings.credit_of(FORGOTTEN)
        check("store credit that paid for an order that nobody knows", expected=CREDIT_MINOR, seen=kept)
        check("mails repeated", expected=[], seen=repeated(await self.shop.message_ids()))
        check("mails about each order", expected={1}, seen=set(await self.shop.mails_of(bought.kept)))
        check("mails about each order that nobody knows", expected={2}, seen=set(await self.shop.mails_of(bought.lost)))
        check("dead letters", expected={"resolved"}, seen=set(await self.shop.letters("status")))
        self.report.say(f"restored and healed in {took:.1f} s")
        check(f"seconds, of {RESTORED_SECONDS_MAX:.0f} allowed", expected=True, seen=took <= RESTORED_SECONDS_MAX)

    def _judge(self, found: Found, when: str) -> None:
        violated = [finding.predicate.name for finding in found.violated]
        self.report.check(f"predicates violated {when}", expected=[], seen=violated)
        self.report.check(f"predicates that looked at nothing {when}", expected=[], seen=blind(found))


async def run(report: Report, orders: int, *, durable: bool) -> bool:
    """Everything; whether all checks hold."""
    with private_servers(durable=durable, say=report.say) as servers:
        assert servers.postgres is not None  # noqa: S101 - they are our own
        backups = Backups.of(servers.postgres)
        try:
            servers.postgres.stop()
            servers.postgres.settings = backups.archiving()
            servers.postgres.start()
            await _rehearse(servers, backups, report, orders)
        finally:
            backups.remove()
    report.table()
    return report.passed


async def _rehearse(servers: Servers, backups: Backups, report: Report, orders: int) -> None:
    namespace = f"drill_{secrets.token_hex(3)}"
    async with (
        deploy(
            servers, namespace=namespace, names=NAMES, retry_tiers_ms=TIERS_MS, extra=UNLIMITED, say=report.say
        ) as deployment,
        Customer.of(deployment) as customer,
    ):
        shop = Shop(deployment, customer, TIERS_MS)
        drill = Drill(shop, Dealings(shop), backups, servers, report)
        report.say(retrying())
        report.heading("A shop, until it is lost")
        bought = await drill.live(orders)
        await drill.lose(bought)
        report.heading("The restore")
        started = time.monotonic()
        await drill.restore(bought)
        await drill.judge(bought, started)


def retrying() -> str:
    """How long what cannot be done yet is tried again here, and how long elsewhere."""
    here, elsewhere = (", ".join(f"{ms / 1000:g}" for ms in tiers) for tiers in (TIERS_MS, RETRY_TIERS_MS))
    minutes = sum(RETRY_TIERS_MS) / 60_000
    return (
        f"retry tiers here: {here} s; of a deployment: {elsewhere} s, {minutes:.0f} minutes in all, for which the dead"
        " letters of orders that nobody knows are waited for there"
    )


def machine() -> list[str]:
    """What it ran on."""
    system = f"{platform.system()} {platform.release()}"
    return [f"date      {utc_now():%Y-%m-%d %H:%M} UTC", f"machine   {os.cpu_count()} cores, {system}"]


def main() -> None:
    """Exit status 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=ORDERS, help="of the past")
    parser.add_argument("--hasty", action="store_true", help="without fsync")
    parser.add_argument("--evidence", type=Path, help="also write what is printed to this Markdown file")
    given = parser.parse_args()
    report = Report()
    report.console.record = given.evidence is not None
    try:
        passed = asyncio.run(run(report, given.orders, durable=not given.hasty))
    except ServersUnavailable as error:
        raise SystemExit(f"error: {error}") from None
    except (ChildFailed, NotInTime, RuntimeError) as error:
        if report.checks:
            report.table()
        raise SystemExit(f"error: {error}") from None
    if given.evidence is not None:
        told = report.console.export_text().rstrip()
        given.evidence.write_text("\n".join([*TITLE, *machine(), told, "```", ""]))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
