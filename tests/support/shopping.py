"""Buy things as a shop's front end would, and look at what became of them."""

import asyncio
import contextlib
import html
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import aiohttp
import asyncpg
from multidict import CIMultiDict

from operations.audit import Report, run_audit
from payments_shared.ids import parse_external_id
from sandbox.services.deployment import Deployment
from sandbox.truth import load_truth

Json = dict[str, Any]
HEARD: Final = frozenset({"I22", "I23", "I25"})  # what holds once everything that was said was heard


async def eventually(
    probe: Callable[[], Awaitable[Any]], *, within: float = 20.0, every: float = 0.05, what: str = "the condition"
) -> Any:
    """The first truthy answer of `probe`; an error when time runs out."""
    deadline = time.monotonic() + within
    while True:
        value = await probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {within} s; last answer: {value!r}")
        await asyncio.sleep(every)


@dataclass(slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: Json
    headers: "CIMultiDict[str]"


@dataclass(slots=True)
class Shopper:
    """Talks to the deployment's public API, its admin ports, the simulator and, to look, its database."""

    deployment: Deployment
    http: aiohttp.ClientSession
    owner: "asyncpg.Pool[asyncpg.Record]"
    goods: str = field(default_factory=lambda: "SKU-" + secrets.token_hex(4))

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, deployment: Deployment) -> AsyncIterator["Shopper"]:
        """A shopper with connections of its own."""
        connector = aiohttp.TCPConnector(limit=0)
        owner = await asyncpg.create_pool(
            deployment.provisioned.owner_database_url, min_size=0, max_size=4, server_settings={"jit": "off"}
        )
        async with aiohttp.ClientSession(connector=connector) as http:
            yield cls(deployment, http, owner)
        await owner.close()

    # -- calls -------------------------------------------------------------------------------------------------------

    async def call(self, method: str, url: str, body: object | None = None, **headers: str) -> Answer:
        """One call; the body as JSON."""
        data = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        async with self.http.request(method, url, data=data, headers={**sent, **headers}) as answer:
            raw = await answer.read()
            parsed = json.loads(raw) if raw and "json" in answer.content_type else {"raw": raw.decode(errors="replace")}
            return Answer(answer.status, parsed, CIMultiDict(answer.headers))

    async def admin(self, method: str, service: str, path: str, body: object | None = None, *roles: str) -> Answer:
        """One call of a service's admin port."""
        token = self.deployment.keys.token("admin-1", *(roles or ("admin", "operator")))
        url = self.deployment.internal_url(service) + path
        answer = await self.call(method, url, body, Authorization=f"Bearer {token}")
        assert answer.status < 300, answer
        return answer

    async def stripe(self, method: str, path: str, body: object | None = None) -> Any:
        """A control of the simulator, or with `/v1/` its API."""
        headers = {"Authorization": "Bearer sk_test_looking"} if path.startswith("/v1/") else {}
        answer = await self.call(method, self.deployment.stripe_url + path, body, **headers)
        assert answer.status < 300, answer
        return answer.body

    async def offer(self, *, stock: int = 100, sku: str | None = None, prices: Json | None = None) -> str:
        """Put goods on sale and return their SKU."""
        sku = sku or "SKU-" + secrets.token_hex(5)
        product = {"name": f"Product {sku}", "prices": prices or {"usd": 1800, "eur": 1700, "jpy": 2400}}
        await self.admin("PUT", "checkout", f"/admin/products/{sku}", product)
        await self.admin("PUT", "inventory", f"/admin/stock/{sku}", {"total": stock})
        return sku

    async def coupon(self, **given: Any) -> str:
        """Make a coupon and return its code."""
        code = "C" + secrets.token_hex(4).upper()
        await self.admin("PUT", "checkout", f"/admin/coupons/{code}", given)
        return code

    async def checkout(self, sku: str, *, quantity: int = 1, key: str | None = None, **given: Any) -> Answer:
        """`POST /api/payments/checkout-session` through the front door."""
        body = {
            "lines": [{"sku": sku, "quantity": quantity}],
            "email": "ada@example.com",
            "currency": "usd",
            **given,
        }
        url = self.deployment.front_door_url + "/api/payments/checkout-session"
        return await self.call("POST", url, body, **{"Idempotency-Key": key or secrets.token_hex(12)})

    async def placed(self, sku: str, **given: Any) -> Json:
        """A placed order."""
        answer = await self.checkout(sku, **given)
        assert answer.status == 201, answer
        return answer.body

    async def pay(self, order: Json, *, card: str = "4242424242424242", method: str = "card") -> int:
        """Submit the hosted page; 303 is success, 402 a decline."""
        form = {"number": card, "email": "ada@example.com", "name": "Ada Lovelace", "method": method}
        async with self.http.post(order["checkout_url"], data=form, allow_redirects=False) as answer:
            await answer.read()
            return answer.status

    async def bought(self, sku: str, **given: Any) -> Json:
        """An order that was placed and paid."""
        order = await self.placed(sku, **given)
        assert await self.pay(order) == 303
        return order

    async def order(self, order: Json) -> Json:
        """`GET /api/payments/orders/{id}`."""
        url = f"{self.deployment.front_door_url}/api/payments/orders/{order['order_id']}"
        answer = await self.call("GET", url, **{"Order-Token": order["order_token"]})
        assert answer.status == 200, answer
        return answer.body

    async def until(self, order: Json, status: str, *, within: float = 20.0) -> Json:
        """The order once it has `status`."""

        async def probe() -> Json | None:
            seen = await self.order(order)
            return seen if seen["status"] == status else None

        found: Json = await eventually(probe, within=within, what=f"order {order['order_id']} {status}")
        return found

    # -- looking -----------------------------------------------------------------------------------------------------

    async def count(self, sql: str, *args: object) -> int:
        """A number from the database, read as its owner."""
        return int(await self.owner.fetchval(sql, *args))

    async def effects(self, order: Json) -> tuple[int, int, int, int]:
        """(paid announcements, committed reservations, live shipments, confirmation mails at the mailbox)."""
        order_id = uuid_of(order)
        said = "SELECT count(*) FROM checkout.outbox WHERE type = 'order.paid.v1' AND correlation_id = $1"
        committed = "SELECT count(*) FROM inventory.reservations WHERE order_id = $1 AND state = 'committed'"
        shipped = "SELECT count(*) FROM fulfillment.shipments WHERE order_id = $1 AND state <> 'canceled'"
        mails = await self.mails(order, "order_confirmation")
        return (
            await self.count(said, order["order_id"]),
            await self.count(committed, order_id),
            await self.count(shipped, order_id),
            len(mails),
        )

    async def mails(self, order: Json, kind: str) -> list[Json]:
        """Mails of one kind about an order, as the mailbox has them."""
        url = f"{self.deployment.mailbox_url}/api/messages?order_id={order['order_id']}&kind={kind}"
        return list((await self.call("GET", url)).body["messages"])

    async def mail_parts(self, mail: Json) -> tuple[str, str]:
        """The HTML part of a mail and its text, with their entities resolved."""
        url = f"{self.deployment.mailbox_url}/mail/{mail['id']}"
        page, part = await self.call("GET", url), await self.call("GET", f"{url}/html")
        text = page.body["raw"].partition("<pre>")[2].partition("</pre>")[0]
        return html.unescape(part.body["raw"]), html.unescape(text)

    async def stock_of(self, sku: str) -> Json:
        """The piles of one SKU."""
        rows = (await self.admin("GET", "inventory", "/admin/stock")).body["stock"]
        return next(row for row in rows if row["sku"] == sku)

    async def events_of(self, order: Json, type_: str) -> list[Json]:
        """Stripe's events of a type about an order, oldest first."""
        listed = await self.stripe("GET", f"/v1/events?type={type_}&limit=100")
        found = [e for e in listed["data"] if _names(e["data"]["object"], order["order_id"])]
        return found[::-1]

    async def session_of(self, order: Json) -> str:
        """The id of the order's session at Stripe."""
        return str(
            await self.owner.fetchval("SELECT stripe_session_id FROM checkout.orders WHERE id = $1", uuid_of(order))
        )

    async def said_about(self, order: Json, type_: str) -> set[str]:
        """Ids of the messages of a type that checkout said of an order."""
        sql = "SELECT message_id FROM checkout.outbox WHERE type = $1 AND convert_from(body, 'UTF8') LIKE $2"
        return {str(row["message_id"]) for row in await self.owner.fetch(sql, type_, f"%{order['order_id']}%")}

    async def advance(self, seconds: float) -> None:
        """Move the business clock and Stripe's together."""
        await self.owner.execute(
            "UPDATE payments.business_clock SET ahead = ahead + make_interval(secs => $1)", seconds
        )
        await self.stripe("POST", "/_sim/clock", {"advance_seconds": seconds})

    async def quiet(self, *, within: float = 60.0) -> None:
        """Wait until no event waits for delivery, every outbox is empty of what is due, and every inbox has it all."""
        await self._until_hold(HEARD, within)

    async def _until_hold(self, predicates: Set[str], within: float) -> None:
        async def restless() -> str:
            if waiting := (await self.stripe("GET", "/_sim/deliveries"))["waiting"]:
                return f"events wait for delivery: {waiting}"
            report = await run_audit(self.deployment.provisioned.database_urls["auditor"], only=predicates)
            return "; ".join(str(f) for f in report.violated)

        deadline = time.monotonic() + within
        await load_truth_of(self)
        while why := await restless():
            if time.monotonic() > deadline:
                raise AssertionError(f"no rest within {within} s: {why}")
            await asyncio.sleep(0.3)

    async def audited(self, *, within: float = 60.0) -> Report:
        """The audit at rest, and once sweeps have ended what a clock that was moved left behind; fails with its lines when
        a predicate is violated. A sweep may say something between a look and the next, so the report that is judged must
        itself be one at rest."""
        ended = {*HEARD, "I31"}
        deadline = time.monotonic() + within
        while True:
            await self._until_hold(ended, within)
            await load_truth_of(self)
            report = await run_audit(self.deployment.provisioned.database_urls["auditor"])
            if not ended & {finding.predicate.number for finding in report.violated} or time.monotonic() > deadline:
                assert not report.violated, "\n".join(report.lines())
                return report


async def load_truth_of(shopper: Shopper) -> None:
    """Load the simulator's and the mailbox's truth."""
    await load_truth(
        database_url=shopper.deployment.provisioned.database_urls["sandbox"],
        stripe_url=shopper.deployment.stripe_url,
        mailbox_url=shopper.deployment.mailbox_url,
    )


def uuid_of(order: Json) -> UUID:
    """The order's id as a UUID."""
    return parse_external_id("ord", order["order_id"])


def _names(subject: Json, order_id: str) -> bool:
    return order_id in (subject.get("client_reference_id"), (subject.get("metadata") or {}).get("order_id"))
