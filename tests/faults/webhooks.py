"""Webhooks at a steady rate, past the front door, signed as Stripe signs them."""

import asyncio
import json
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import digest
from itertools import chain, cycle
from typing import Any, Final

from multidict import CIMultiDict

from tests.support.shopping import Answer, Json, Shopper

CONCURRENCY: Final = 20
HEARD: Final = ("checkout.session.completed", "payment_intent.succeeded")  # of a paid order, what services hear


def about_nobody() -> bytes:
    """An event of a type that is stored and not published."""
    return event({"id": f"cus_{secrets.token_hex(8)}", "object": "customer"}, "customer.created")


def event(subject: dict[str, Any], type_: str, *, version: str | None = None) -> bytes:  # Any: JSON
    """The body of a new event about `subject`."""
    about = {
        "id": f"evt_{secrets.token_hex(12)}", "object": "event", "type": type_, "created": int(time.time()),
        "livemode": False, "api_version": version, "pending_webhooks": 1, "request": None, "data": {"object": subject},
    }  # fmt: skip
    return json.dumps(about).encode()


@dataclass(slots=True)
class Webhooks:
    """What was sent, and how it was answered: `statuses`, `slowest` in seconds, and the ids of the `taken` events.

    `late` is by how many seconds a delivery left after its moment at worst.
    """

    shopper: Shopper
    statuses: "Counter[int]" = field(default_factory=Counter)
    refusals: list[Answer] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    slowest: float = 0.0
    late: float = 0.0

    async def deliver(self, body: bytes) -> Answer:
        """One delivery."""
        moment = int(time.time())
        secret = self.shopper.deployment.secrets["webhook"].encode()
        signature = digest(secret, f"{moment}.".encode() + body, sha256).hex()
        headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={moment},v1={signature}"}
        url = self.shopper.deployment.public_url("webhook-ingest") + "/api/payments/webhook"
        started = time.monotonic()
        async with self.shopper.http.post(url, data=body, headers=headers) as given:
            answer = Answer(given.status, json.loads(await given.read()), CIMultiDict(given.headers))
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.statuses[answer.status] += 1
        if answer.status == 200:
            self.taken.add(json.loads(body)["id"])
        else:
            self.refusals.append(answer)
        return answer

    async def at_rate(self, bodies: Iterable[bytes], a_second: float, ended: asyncio.Event | None = None) -> None:
        """Deliver `bodies`, each at its moment whatever became of the ones before, until they or the time have `ended`,
        and wait for all answers."""
        started = time.monotonic()
        under_way = []
        for place, body in enumerate(bodies):
            if ended is not None and ended.is_set():
                break
            due = started + place / a_second
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.late = max(self.late, time.monotonic() - due)
            under_way.append(asyncio.ensure_future(self.deliver(body)))
        await asyncio.gather(*under_way)


async def paid_unheard(shopper: Shopper, sku: str, count: int) -> tuple[list[Json], list[Json]]:
    """`count` orders that were paid while Stripe sent no webhook, and the events about them that services hear."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def one() -> Json:
        async with slots:
            return await shopper.bought(sku)

    await shopper.quiet()
    await shopper.stripe("POST", "/_sim/chaos", {"paused": True})
    orders = await asyncio.gather(*(one() for _ in range(count)))
    known = {order["order_id"] for order in orders}
    return list(orders), [e for e in await _events(shopper) if _order_of(e["data"]["object"]) in known]


async def _events(shopper: Shopper) -> list[Json]:
    found: list[Json] = []
    for type_ in HEARD:
        after = ""
        while True:
            page = await shopper.stripe("GET", f"/v1/events?type={type_}&limit=100{after}")
            found += page["data"]
            if not page["has_more"]:
                break
            after = f"&starting_after={page['data'][-1]['id']}"
    return found


def _order_of(subject: Json) -> str | None:
    return subject.get("client_reference_id") or (subject.get("metadata") or {}).get("order_id")


def bodies_of(events: Sequence[Json]) -> Iterable[bytes]:
    """Each event as it is, then for ever again under other ids, as Stripe's twins are."""
    first = (json.dumps(one).encode() for one in events)
    twins = (json.dumps({**one, "id": f"evt_{secrets.token_hex(12)}"}).encode() for one in cycle(events))
    return chain(first, twins)
