"""The buyers: a process of its own that buys over the public API and keeps its own account of what it was told.

It reads orders of its supervisor from its standard input, a JSON line each: first `Instructions`, later `{"do": "close"}`
(no new buyers; ends when all are done) and `{"do": "reconcile"}` (look at every order). It answers in JSON lines:
`{"at_work": n, "begun": n, "done": n}` twice a second, then `{"closed": Account}`, then `{"reconciled": [differences]}`.
"""

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

import aiohttp

from tests.faults.chaos.clerks import Bought, Clerks
from tests.faults.chaos.wanted import AFTERWARDS, Json, Visit, Wanted, purchases

DECLINED_CARD: Final = "4000000000000002"
CHALLENGED_CARD: Final = "4000002500003155"
GOOD_CARD: Final = "4242424242424242"
ASKING_SECONDS: Final = 35.0  # longer than the front door waits
PAUSE_SECONDS, PAUSE_MAX_SECONDS = 0.3, 3.0  # doubled from answer to answer, where the shop does not say when
AT_WORK_MAX: Final = 600
SHOWN_MAX: Final = 20
MISMATCH: Final = "idempotency_mismatch"
NOT_NOW: Final = {"idempotency_in_flight", "upstream_unavailable", "upstream_timeout"}
MAY_MISS: Final = {
    "out_of_stock": (Visit.SCARCE, Visit.SCARCE_LATE),
    "coupon_exhausted": (Visit.RARE_COUPON,),
}
ENDS: Final = {
    Visit.DECLINED: "expired", Visit.ABANDON: "expired", Visit.IMPATIENT: "expired", Visit.EXPIRE: "expired",
    Visit.BOUNCED: "failed",
}  # fmt: skip
SOLD_OUT, WENT_AWAY, FAILED = "sold out", "went away", "error in "  # the outcomes of which no order was followed


@dataclass(frozen=True, slots=True)
class Instructions:
    """Where to buy, how many buyers come a second, the seed of what they want, and tokens of staff by role."""

    front_door: str
    stripe: str
    rate: float
    seed: int
    tokens: Mapping[str, str]


@dataclass(slots=True)
class Account:
    """What the buyers saw. `answers` counts placements by status, 0 for none; `afterwards` what staff and banks did;
    `wrong` says what no buyer should see."""

    begun: int = 0
    done: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    afterwards: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def followed(self) -> int:
        """Orders that were placed and whose visit came to the end that it was to have."""
        others = (SOLD_OUT, WENT_AWAY, FAILED)
        return sum(count for outcome, count in self.outcomes.items() if not outcome.startswith(others))

    def answered(self, what: str) -> None:
        """Count an answer."""
        self.answers[what] = self.answers.get(what, 0) + 1

    def ended(self, outcome: str) -> None:
        """Count the end of a visit."""
        self.done += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def complain(self, what: str) -> None:
        """Remember a difference; only the first ones are kept, lest a flood hides them."""
        if len(self.wrong) < SHOWN_MAX:
            self.wrong.append(what)


@dataclass(frozen=True, slots=True)
class Placed:
    """An order as its buyer was told of it."""

    wanted: Wanted
    order_id: str
    token: str
    checkout_url: str

    @property
    def session(self) -> str:
        return self.checkout_url.rpartition("/")[2]


class SoldOut(Exception):
    """The shop has no more of it."""


class GoneAway(Exception):
    """An impatient buyer met something other than a payment page."""


@dataclass(slots=True)
class Buyers:
    """All buyers of a run. `back` is what of an order may have gone back to its buyer at the end, where staff or a bank
    had to do with it."""

    told: Instructions
    http: aiohttp.ClientSession
    account: Account = field(default_factory=Account)
    placed: list[Placed] = field(default_factory=list)
    back: dict[str, frozenset[int]] = field(default_factory=dict)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    _chance: random.Random = field(default_factory=random.Random)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    clerks: Clerks = field(init=False)

    def __post_init__(self) -> None:
        told = self.told
        self.clerks = Clerks(told.front_door, told.stripe, told.tokens, self.http, self.account.afterwards)

    async def run(self) -> None:
        """Let buyers come until `closing`, then wait for those who are still at it."""
        loop = asyncio.get_running_loop()
        wanted = purchases(self.told.seed)
        due = loop.time()
        while not self.closing.is_set():
            due = max(due + 1 / self.told.rate, loop.time() - 1.0)  # who was held up makes up for a second at most
            await asyncio.sleep(due - loop.time())
            if len(self._tasks) < AT_WORK_MAX:
                task = asyncio.create_task(self._visit(next(wanted)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        await asyncio.gather(*self._tasks)

    @property
    def at_work(self) -> int:
        """Buyers between cart and payment."""
        return len(self._tasks)

    async def _visit(self, wanted: Wanted) -> None:
        self.account.begun += 1
        outcome = f"{FAILED}{wanted.visit}"
        try:
            outcome = await self._bought(wanted)
        except SoldOut:
            outcome = SOLD_OUT
        except GoneAway:
            outcome = WENT_AWAY
        except Exception as error:  # the story of this buyer ends here, and the run fails
            self.account.complain(f"buyer {wanted.number}, {wanted.visit}: {error!r}")
        self.account.ended(outcome)

    async def _bought(self, wanted: Wanted) -> str:
        if wanted.visit is Visit.TWICE:
            order, same = await asyncio.gather(self._place(wanted), self._place(wanted))
            self._same("the answer to a request sent twice", same, order)
        else:
            order = await self._place(wanted)
        self.placed.append(order)
        await asyncio.sleep(self._chance.uniform(0.1, 1.5))  # the buyer looks for the card
        return await self._ways()[wanted.visit](order)

    def _ways(self) -> Mapping[Visit, Callable[[Placed], Awaitable[str]]]:
        others = {
            Visit.SECOND_CARD: self._second_card, Visit.DECLINED: self._declined, Visit.ABANDON: _nothing,
            Visit.IMPATIENT: _nothing, Visit.EXPIRE: self._expire, Visit.SURPLUS: self._surplus,
            Visit.LATE: self._late, Visit.SCARCE_LATE: self._late, Visit.CHALLENGE: self._challenge, Visit.DELAYED: self._delayed, Visit.BOUNCED: self._bounced,
            Visit.OTHER_CART: self._other_cart, **dict.fromkeys(AFTERWARDS, self._followed),
        }  # fmt: skip
        return {visit: others.get(visit, self._pay) for visit in Visit}

    # -- placing -----------------------------------------------------------------------------------------------------

    async def _place(self, wanted: Wanted) -> Placed:
        for tries in itertools.count():
            status, body, after = await self._checkout(wanted.key, wanted.body)
            code = body.get("code")
            self.account.answered(f"{status} {code}" if code else str(status))
            if status == 201:
                return self._checked(wanted, body)
            if status == 409 and wanted.visit in MAY_MISS.get(str(code), ()):
                raise SoldOut
            if status not in (0, 429, 503) and code not in NOT_NOW:
                raise AssertionError(f"{status} {body}")
            if wanted.visit is Visit.IMPATIENT:
                raise GoneAway
            await asyncio.sleep(self._pause(tries, after))
        raise AssertionError("a buyer never stops asking")

    async def _checkout(self, key: str, body: Json) -> tuple[int, Json, float | None]:
        """The status, 0 when there was no answer; the body; and in how many seconds the shop wants to be asked again."""
        url = self.told.front_door + "/api/payments/checkout-session"
        try:
            async with self.http.post(url, json=body, headers={"Idempotency-Key": key}) as answer:
                after = answer.headers.get("Retry-After")
                return answer.status, await answer.json(content_type=None), float(after) if after else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0, {}, None

    def _pause(self, tries: int, after: float | None) -> float:
        asked = min(PAUSE_SECONDS * 2**tries, PAUSE_MAX_SECONDS) if after is None else after
        return asked * self._chance.uniform(0.8, 1.2)

    def _checked(self, wanted: Wanted, body: Json) -> Placed:
        told = tuple(body[name] for name in ("currency", "subtotal_minor", "discount_minor", "total_minor"))
        due = (wanted.currency, wanted.subtotal_minor, wanted.discount_minor, wanted.total_minor)
        self._same(f"the price of purchase {wanted.number}", told, due)
        return Placed(wanted, body["order_id"], body["order_token"], body["checkout_url"])

    def _same(self, what: str, told: object, expected: object) -> None:
        if told != expected:
            self.account.complain(f"{what}: {told}, not {expected}")

    # -- paying ------------------------------------------------------------------------------------------------------

    async def _pay(self, order: Placed) -> str:
        await self._card(order, GOOD_CARD, expected=303)
        return "paid"

    async def _followed(self, order: Placed) -> str:
        await self._pay(order)
        bought = Bought(order.order_id, order.session, order.wanted.total_minor)
        self.back[order.order_id] = await self.clerks.follow(order.wanted.visit, bought)
        return f"paid, then {order.wanted.visit}"

    async def _card(self, order: Placed, number: str, *, expected: int, method: str = "card") -> None:
        form = {"number": number, "email": order.wanted.email, "name": "Ada Lovelace", "method": method}
        async with self.http.post(order.checkout_url, data=form, allow_redirects=False) as answer:
            await answer.read()
            self._same(f"the payment page of purchase {order.wanted.number}", answer.status, expected)

    async def _challenge(self, order: Placed) -> str:
        form = {"number": CHALLENGED_CARD, "email": order.wanted.email, "name": "Ada Lovelace", "method": "card"}
        async with self.http.post(order.checkout_url, data=form, allow_redirects=False) as asked:
            await asked.read()
        await asyncio.sleep(self._chance.uniform(0.1, 1.0))
        url = self.told.stripe + asked.headers["Location"]
        async with self.http.post(url, data={"answer": "complete"}, allow_redirects=False) as answer:
            await answer.read()
            self._same(f"the bank's page of purchase {order.wanted.number}", answer.status, 303)
        return "paid after a challenge"

    async def _second_card(self, order: Placed) -> str:
        await self._declined(order)
        await asyncio.sleep(self._chance.uniform(0.2, 2.0))
        await self._card(order, GOOD_CARD, expected=303)
        return "paid with the second card"

    async def _declined(self, order: Placed) -> str:
        await self._card(order, DECLINED_CARD, expected=402)
        return "declined"

    async def _expire(self, order: Placed) -> str:
        await self._at_stripe(f"/v1/checkout/sessions/{order.session}/expire")
        return "expired"

    async def _surplus(self, order: Placed) -> str:
        await self._pay(order)
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._at_stripe(f"/_sim/sessions/{order.session}/pay_again")
        return "paid twice"

    async def _late(self, order: Placed) -> str:
        await self._expire(order)
        await asyncio.sleep(self._chance.uniform(0.0, 1.0))
        await self._at_stripe(f"/_sim/sessions/{order.session}/pay_again")
        return "paid late"

    async def _delayed(self, order: Placed) -> str:
        await self._debit(order, succeed=True)
        return "debit arrived"

    async def _bounced(self, order: Placed) -> str:
        await self._debit(order, succeed=False)
        return "debit failed"

    async def _debit(self, order: Placed, *, succeed: bool) -> None:
        await self._card(order, "DE89370400440532013000", expected=303, method="sepa_debit")
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))
        await self._at_stripe(f"/_sim/sessions/{order.session}/settle", {"succeed": succeed})

    async def _other_cart(self, order: Placed) -> str:
        other = {**order.wanted.body, "lines": [{"sku": "CHAOS-TEA", "quantity": 77}]}
        status, body, after = await self._checkout(order.wanted.key, other)
        while status in (0, 429, 502, 503, 504):
            await asyncio.sleep(self._pause(2, after))
            status, body, after = await self._checkout(order.wanted.key, other)
        self._same("the answer to another cart under a used key", (status, body.get("code")), (422, MISMATCH))
        return await self._pay(order)

    async def _at_stripe(self, path: str, body: Json | None = None) -> None:
        """Something done at Stripe, again until it is: faults at Stripe strike whoever asks. 400 says it was done."""
        headers = {"Authorization": "Bearer sk_test_dashboard"}
        arguments: Json = {"json": body} if body is not None else {}
        statuses: list[int] = []
        while not statuses or statuses[-1] in (0, 409, 429, 500):
            await asyncio.sleep(0.2 * len(statuses))
            try:
                async with self.http.post(self.told.stripe + path, headers=headers, **arguments) as answer:
                    statuses.append(answer.status)
            except (aiohttp.ClientError, OSError):
                statuses.append(0)
        assert statuses[-1] == 200 or (len(statuses) > 1 and statuses[-1] == 400), (path, statuses)

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def reconciled(self) -> list[str]:
        """How what the shop shows of each order differs from what its buyer did; nothing when all is well."""
        turns = asyncio.Semaphore(8)

        async def difference(order: Placed) -> str | None:
            async with turns:
                shown = await self._shown(order)
            wrong = _difference(order.wanted, shown, self.back.get(order.order_id))
            return f"{order.order_id}, {order.wanted.visit}: {wrong}" if wrong else None

        found = await asyncio.gather(*(difference(order) for order in self.placed))
        return [each for each in found if each]

    async def _shown(self, order: Placed) -> Json:
        url = f"{self.told.front_door}/api/payments/orders/{order.order_id}"
        async with self.http.get(url, headers={"Order-Token": order.token}) as answer:
            body: Json = await answer.json(content_type=None)
            return body if answer.status == 200 else {"status": f"{answer.status} {body}"}


async def _nothing(_: Placed) -> str:
    return "abandoned"


def _difference(wanted: Wanted, shown: Json, may_be_back: frozenset[int] | None) -> str | None:
    """What is wrong with an order after everything has come to rest. Where staff or a bank had to do with it, whether
    it was sent depends on what was known when."""
    status = ENDS.get(wanted.visit, "paid")
    total = wanted.total_minor
    if shown["status"] != status:
        return f"shown {shown['status']}, not {status}"
    if (shown["total_minor"], shown["currency"], shown["held"]) != (total, wanted.currency, False):
        return f"shown {shown['total_minor']} {shown['currency']}, held {shown['held']}"
    back, shipped = shown["refunded_minor"], shown["shipment"] is not None
    if may_be_back is not None:
        return None if back in may_be_back else f"{back} of {total} paid back, not one of {sorted(may_be_back)}"
    fine = {
        Visit.SURPLUS: [(total, True)],
        # The goods may be gone by then, and the money goes back.
        Visit.LATE: [(0, True), (total, False)],
        Visit.SCARCE_LATE: [(0, True), (total, False)],
    }.get(wanted.visit, [(0, status == "paid")])
    return None if (back, shipped) in fine else f"{back} of {total} paid back, shipped {shipped}"


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _obey(told: asyncio.StreamReader) -> None:
    instructions = Instructions(**json.loads(await told.readline()))
    timeout = aiohttp.ClientTimeout(total=ASKING_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        buyers = Buyers(instructions, http)
        buying = asyncio.create_task(buyers.run())
        saying = asyncio.create_task(_report(buyers))
        while line := await told.readline():
            match json.loads(line)["do"]:
                case "close":
                    buyers.closing.set()
                    await buying
                    _say(closed=asdict(buyers.account))
                case "reconcile":
                    _say(reconciled=await buyers.reconciled())
        buying.cancel()
        saying.cancel()


async def _report(buyers: Buyers) -> None:
    while True:
        _say(at_work=buyers.at_work, begun=buyers.account.begun, done=buyers.account.done)
        await asyncio.sleep(0.5)


async def _main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await _obey(reader)


if __name__ == "__main__":
    asyncio.run(_main())
