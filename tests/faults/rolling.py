"""A platform whose services can be replaced one instance after the other, and people who notice if one is missing."""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import aiohttp

from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.catalog import SERVICES
from sandbox.services.children import Child, free_ports
from sandbox.services.deployment import PUBLIC, Deployment, deploy
from sandbox.services.resolver import Servers
from tests.faults import evidence
from tests.faults.address import Address
from tests.faults.load import each_ends_once
from tests.faults.webhooks import Webhooks, bodies_of, paid_unheard
from tests.support.exposition import Exposition
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

OUTSIDE: Final = ("stripe", "mailbox", "frontdoor")
WEBHOOKS_A_SECOND: Final = 50
CHECKOUTS_A_SECOND: Final = 10
REFUNDS_A_SECOND: Final = 2
AT_ONCE: Final = 10  # of a kind; where a machine is too slow for the rate others come later, and nobody waits for long
KNOWN_ORDERS: Final = 20  # paid before; the webhooks are about them
RETURNING_ORDERS: Final = 20  # paid before; the clerk gives back a little of them
# What a slow machine of two cores keeps with room: nobody hangs, and most come through.
WEBHOOK_SECONDS_MAX: Final = 10.0  # Stripe tells nobody when it gives up; the least that others have seen
ANSWER_SECONDS_MAX: Final = (
    15.0  # of checkouts, orders and refunds; a door that waits for the next instance waits for ten
)
WEBHOOKS_CARRIED_MIN: Final = 25.0
CHECKOUTS_CARRIED_MIN: Final = 2.0
KEPT_SECONDS: Final = 1.0  # for which people keep a connection that they do not use
LEAVE_SECONDS: Final = "2"
EXTRA: Final = {
    # All buyers come from one address here.
    "PAYMENTS_PLACEMENTS_PER_ADDRESS": "0",
    "PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "0",
    "PAYMENTS_OPEN_ORDERS_PER_ADDRESS": "0",
    "PAYMENTS_LEAVE_SECONDS": LEAVE_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Instance:
    """A running process of a service, and its own two ports."""

    child: Child
    internal: int
    public: int


@dataclass(slots=True)
class Fleet:
    """The deployment, whose ports are addresses, and who stands behind them: `serving`, by service.

    `counted`: what instances saw by the time they were told to end, by what it means.
    """

    deployment: Deployment
    shopper: Shopper
    addresses: dict[str, tuple[Address, ...]]
    serving: dict[str, Instance] = field(default_factory=dict)
    counted: "Counter[str]" = field(default_factory=Counter)
    started: list[Child] = field(default_factory=list)

    async def begin(self, name: str, *, version: Path | None = None) -> Instance:
        """One more instance, ready, to which nobody is led yet; of the code at `version`, or else of ours."""
        internal, public = free_ports(2)
        own = {"PAYMENTS_INTERNAL_PORT": str(internal), "PAYMENTS_PUBLIC_PORT": str(public)}
        code = {"PYTHONPATH": str(version)} if version else {}
        self.deployment.start(name, **own, **code)
        made = Instance(self.deployment.children[name], internal, public)
        self.started.append(made.child)
        await eventually(lambda: self.is_ready(made), within=90, what=f"another {name} is ready")
        return made

    def lead_to(self, name: str, instance: Instance) -> None:
        """Whoever connects from now on comes to `instance`."""
        self.serving[name] = instance
        self.deployment.children[name] = instance.child
        for address, port in zip(self.addresses[name], (instance.internal, instance.public), strict=False):
            address.behind = port

    async def end(self, instance: Instance) -> None:
        """SIGTERM. It must take its leave, finish its work and end with 0."""
        await self._count(instance)
        instance.child.popen.terminate()
        await eventually(lambda: self._turns_away(instance), within=10, every=0.01, what="it is no longer ready")
        status = await asyncio.to_thread(instance.child.stop)
        assert status == 0, instance.child.tail()

    async def roll(self, name: str, *, version: Path | None = None) -> None:
        """Replace the instance that serves by a new one."""
        before, after = self.serving[name], await self.begin(name, version=version)
        self.lead_to(name, after)
        await self.end(before)

    async def again(self) -> "Counter[str]":
        """How often any instance was given a message `redelivered`, or one that was `finished` before, or gave one up
        as `dead`."""
        for instance in self.serving.values():
            await self._count(instance)
        return self.counted

    async def is_ready(self, instance: Instance) -> bool:
        """Whether it says that it may get traffic."""
        assert instance.child.running, instance.child.tail()
        return await self._readiness(instance) == 200

    async def _turns_away(self, instance: Instance) -> bool:
        return not instance.child.running or await self._readiness(instance) == 503

    async def _readiness(self, instance: Instance) -> int:
        try:
            async with self.shopper.http.get(f"http://127.0.0.1:{instance.internal}/readyz") as answer:
                return answer.status
        except (aiohttp.ClientError, OSError):
            return 0

    async def _count(self, instance: Instance) -> None:
        seen = Exposition(self.shopper.http, f"http://127.0.0.1:{instance.internal}")
        self.counted["redelivered"] += int(await seen.of("payments_messages_redelivered_total"))
        self.counted["finished"] += int(await seen.of("payments_inbox_duplicates_total"))
        self.counted["dead"] += int(await seen.of("payments_dead_letters_published_total"))


@contextlib.asynccontextmanager
async def fleet(servers: Servers, namespace: str) -> AsyncIterator[Fleet]:
    """All services behind addresses, one instance of each."""
    async with (
        deploy(servers, namespace=namespace, names=OUTSIDE, extra=EXTRA) as running,
        Shopper.of(running) as somebody,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS)) as http,
        contextlib.AsyncExitStack() as open_ones,
    ):
        shopper = replace(somebody, http=http)
        addresses = {}
        for name in SERVICES:
            ports = (running.ports[name], *((running.public[name],) if name in PUBLIC else ()))
            addresses[name] = tuple([await open_ones.enter_async_context(Address.at(port)) for port in ports])
        made = Fleet(running, shopper, addresses)
        started = await asyncio.gather(*(made.begin(name) for name in SERVICES))
        for name, instance in zip(SERVICES, started, strict=True):
            made.lead_to(name, instance)
        try:
            yield made
        finally:
            for child in made.started:
                if child not in running.children.values():
                    child.kill()


@dataclass(slots=True)
class People:
    """Buyers, Stripe, and a clerk, none of whom tries anything a second time. Of buyers so many come a second as the
    rate says, or as the machine serves: `carried`.

    `known` orders were paid before and are what webhooks are about, of those `returning` a little is given back.
    `failed`: answers that nobody may get. `slowest`: seconds until the last byte of a checkout, an order or a refund.
    `lasted`: seconds from the first who came to the last who was answered.
    """

    shopper: Shopper
    sku: str
    known: list[Json]
    returning: list[Json]
    webhooks: Webhooks
    bought: list[Json] = field(default_factory=list)
    answers: "Counter[int]" = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    wishes: int = 0
    given_back: int = 0
    slowest: float = 0.0
    lasted: float = 0.0

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, shopper: Shopper) -> AsyncIterator["People"]:
        """Who come and go at their rates through the block; at its end all have been answered."""
        sku = await shopper.offer(stock=100_000)
        await _trust_clerks(shopper)
        known, events = await paid_unheard(shopper, sku, KNOWN_ORDERS)
        await shopper.stripe("POST", "/_sim/chaos", {})
        buyers = [f"buyer-{number}@example.com" for number in range(RETURNING_ORDERS)]  # one alone would be suspicious
        returning = await asyncio.gather(*(shopper.bought(sku, email=buyer) for buyer in buyers))
        for order in returning:
            await shopper.until(order, "paid")
        await shopper.quiet()
        made = cls(shopper, sku, known, list(returning), Webhooks(shopper))
        ended = asyncio.Event()
        load = asyncio.gather(
            made.webhooks.at_rate(bodies_of(events), WEBHOOKS_A_SECOND, ended),
            made._at_rate(made._buy, CHECKOUTS_A_SECOND, ended),
            made._at_rate(made._give_back, REFUNDS_A_SECOND, ended),
        )
        began = monotonic_seconds()
        try:
            yield made
        finally:
            ended.set()
            await load
            made.lasted = monotonic_seconds() - began

    async def each_got_everything_once(self) -> None:
        """Wait until every order has each effect, every webhook is kept and every refund done; no rule may be broken."""
        await each_ends_once(self.shopper, self.orders)
        ids = list(self.webhooks.taken)
        kept = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = ANY($1)"
        assert await self.shopper.count(kept, ids) == len(ids)
        done = "SELECT count(*) FROM refunds.refunds WHERE order_id = ANY($1) AND state = 'succeeded'"

        async def refunded() -> bool:
            given = await self.shopper.count(done, [uuid_of(order) for order in self.returning])
            return given == self.given_back

        await eventually(refunded, within=60, what=f"{self.given_back} refunds")
        await self.shopper.audited()
        statuses = (await self.shopper.stripe("GET", "/_sim/deliveries"))["statuses"]
        assert statuses.keys() == {"200"}, statuses
        assert self.webhooks.statuses.keys() == {200}, self.webhooks.refusals[:5]
        assert self.failed == []

    def nobody_waited_for_long(self) -> None:
        """No answer may have hung, and whoever came must have been served at no less than the lowest rates."""
        assert self.webhooks.slowest < WEBHOOK_SECONDS_MAX
        assert self.slowest < ANSWER_SECONDS_MAX
        assert self.webhooks_carried > WEBHOOKS_CARRIED_MIN
        assert self.carried > CHECKOUTS_CARRIED_MIN

    @property
    def carried(self) -> float:
        """Orders bought a second."""
        return len(self.bought) / self.lasted

    @property
    def webhooks_carried(self) -> float:
        """Webhooks taken a second."""
        return len(self.webhooks.taken) / self.lasted

    def rates(self) -> list[str]:
        """What came, how much of it was carried, and how long the slowest took, each with its bound."""
        columns = ("", "came a second", "carried", "at least", "slowest", "at most")
        rows = (
            ("webhooks", f"{WEBHOOKS_A_SECOND}", f"{self.webhooks_carried:.1f}", f"{WEBHOOKS_CARRIED_MIN:.0f}",
             f"{self.webhooks.slowest:.2f} s", f"{WEBHOOK_SECONDS_MAX:.0f} s"),
            ("checkouts", f"up to {CHECKOUTS_A_SECOND}", f"{self.carried:.1f}", f"{CHECKOUTS_CARRIED_MIN:.0f}",
             f"{self.slowest:.2f} s", f"{ANSWER_SECONDS_MAX:.0f} s"),
        )  # fmt: skip
        late = f"the last webhook left {self.webhooks.late:.1f} s late at worst"
        return [*evidence.table(columns, rows), f"slowest of checkouts: or of orders looked at, or refunds; {late}"]

    @property
    def orders(self) -> list[Json]:
        """All that were paid and keep their money."""
        return [*self.known, *self.bought]

    async def bought_more(self, count: int) -> None:
        """Wait until so many more were bought."""
        target = len(self.bought) + count

        async def enough() -> bool:
            return len(self.bought) >= target

        await eventually(enough, within=120, what=f"{count} more orders; failed so far {self.failed[:5]}")

    async def _at_rate(self, act: Callable[[], Awaitable[None]], a_second: float, ended: asyncio.Event) -> None:
        due, under_way = monotonic_seconds(), set[asyncio.Future[None]]()
        while not ended.is_set():
            under_way.add(asyncio.ensure_future(act()))
            if len(under_way) >= AT_ONCE:
                done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for one in done:
                    one.result()
            due = max(due + 1 / a_second, monotonic_seconds() - 1 / a_second)
            await asyncio.sleep(max(0.0, due - monotonic_seconds()))
        await asyncio.gather(*under_way)

    async def _buy(self) -> None:
        order = await self._answered(self.shopper.checkout(self.sku), 201)
        if order is None:
            return
        assert await self.shopper.pay(order) == 303
        self.bought.append(order)
        url = f"{self.shopper.deployment.front_door_url}/api/payments/orders/{order['order_id']}"
        await self._answered(self.shopper.call("GET", url, **{"Order-Token": order["order_token"]}), 200)

    async def _give_back(self) -> None:
        self.wishes += 1
        place = self.wishes % len(self.returning)
        token = self.shopper.deployment.keys.token(f"clerk-{place}", "support")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
        wish = {"order_id": self.returning[place]["order_id"], "amount_minor": 1, "reason": "goodwill"}
        url = f"{self.shopper.deployment.front_door_url}/api/payments/refund"
        if await self._answered(self.shopper.call("POST", url, wish, **headers), 201) is not None:
            self.given_back += 1

    async def _answered(self, asking: Awaitable[Answer], wanted: int) -> Json | None:
        began = monotonic_seconds()
        try:
            answer = await asking
        except (aiohttp.ClientError, OSError) as error:
            self.failed.append(repr(error))
            return None
        finally:
            self.slowest = max(self.slowest, monotonic_seconds() - began)
        self.answers[answer.status] += 1
        if answer.status == wanted:
            return answer.body
        self.failed.append(repr(answer))
        return None


async def _trust_clerks(shopper: Shopper) -> None:
    """Rules by which no clerk needs a second person, however often he gives something back to the same buyer."""
    known = (await shopper.admin("GET", "refunds", "/admin/refund-rules")).body
    wide = {"usd": 10**9}
    limits = {"per_refund": wide, "per_operator_day": wide, "per_customer_month": wide, "refund_warned_up_to": {}}
    others: Json = {"window_days": None, "final_sale": [], "second_person_score": 1000}
    why = {"version": known["version"], "reason": "Nobody else is there to agree."}
    await shopper.admin("PUT", "refunds", "/admin/refund-rules", {**limits, **others, **why})
