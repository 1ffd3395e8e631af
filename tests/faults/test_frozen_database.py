"""A database that takes connections and never answers is told to callers within five seconds, one that is stopped at
once; both are survived."""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psutil
import pytest
from multidict import CIMultiDict

from sandbox.services.deployment import Deployment
from tests.support.shopping import Answer, Json, Shopper, eventually

pytestmark = pytest.mark.faults
ANSWER_SECONDS_MAX = 5.0
STOPPED_ANSWER_SECONDS_MAX = 2.0
RECOVERY_SECONDS_MAX = 10.0
EVENTS, ORDERS, LOOKS = 40, 15, 15


def _event() -> bytes:
    event = {
        "id": f"evt_{secrets.token_hex(12)}", "object": "event", "type": "customer.created",
        "created": int(time.time()), "livemode": False, "api_version": None, "pending_webhooks": 1, "request": None,
        "data": {"object": {"id": f"cus_{secrets.token_hex(8)}", "object": "customer"}},
    }  # fmt: skip
    return json.dumps(event).encode()


async def _deliver(shopper: Shopper, body: bytes) -> Answer:
    """One delivery as Stripe makes it, past the front door."""
    moment = int(time.time())
    secret = shopper.deployment.secrets["webhook"].encode()
    signature = hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Stripe-Signature": f"t={moment},v1={signature}"}
    url = shopper.deployment.public_url("webhook-ingest") + "/api/payments/webhook"
    async with shopper.http.post(url, data=body, headers=headers) as answer:
        return Answer(answer.status, json.loads(await answer.read()), CIMultiDict(answer.headers))


async def _place(shopper: Shopper, sku: str, key: str) -> Answer:
    body = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    url = shopper.deployment.public_url("checkout") + "/api/payments/checkout-session"
    return await shopper.call("POST", url, body, **{"Idempotency-Key": key})


async def _look(shopper: Shopper, order: Json) -> Answer:
    url = f"{shopper.deployment.public_url('checkout')}/api/payments/orders/{order['order_id']}"
    return await shopper.call("GET", url, **{"Order-Token": order["order_token"]})


def _server(shopper: Shopper) -> psutil.Process:
    postgres = shopper.deployment.servers.postgres
    assert postgres is not None
    assert postgres.child is not None
    return psutil.Process(postgres.child.pid)


async def _backends(shopper: Shopper, which: str) -> list[psutil.Process]:
    """The processes to stop: PostgreSQL's first, from which the others come, or those that serve the two services."""
    if which == "server":
        return [_server(shopper)]
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name IN ('webhook-ingest', 'checkout')"
    return [psutil.Process(row["pid"]) for row in await shopper.owner.fetch(sql)]


@asynccontextmanager
async def _frozen(processes: Sequence[psutil.Process]) -> AsyncIterator[list[psutil.Process]]:
    """Stop `processes` and their children; they go on at the end of the block whatever happens."""
    stopped: list[psutil.Process] = []

    async def all_stopped() -> bool:
        return all(process.status() == psutil.STATUS_STOPPED for process in stopped if process.is_running())

    try:
        for process in processes:
            process.suspend()
            stopped.append(process)
        for child in [child for process in processes for child in process.children()]:
            child.suspend()
            stopped.append(child)
        await eventually(all_stopped, what="the fault to strike")
        yield stopped
    finally:
        for process in reversed(stopped):
            if process.is_running():
                process.resume()


async def _timed(call: "asyncio.Future[Answer]") -> tuple[Answer, float]:
    started = time.monotonic()
    return await call, time.monotonic() - started


@pytest.mark.parametrize("which", ["server", "backends"])
async def test_callers_are_told_within_five_seconds_and_nothing_is_lost(
    shopper: Shopper, struck: Deployment, which: str
) -> None:
    sku = await shopper.offer(stock=500)
    seen = (await _place(shopper, sku, secrets.token_hex(12))).body
    assert (await _deliver(shopper, _event())).status == 200
    bodies = [_event() for _ in range(EVENTS)]
    keys = [secrets.token_hex(12) for _ in range(ORDERS)]
    # Traffic first, so that connections exist and work is in flight when the database stops.
    running = [asyncio.ensure_future(_place(shopper, sku, secrets.token_hex(12))) for _ in range(30)]
    await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async with _frozen(await _backends(shopper, which)) as stopped:
        in_flight = sum(not placing.done() for placing in running)
        calls = [
            *(_deliver(shopper, body) for body in bodies),
            *(_place(shopper, sku, key) for key in keys),
            *(_look(shopper, seen) for _ in range(LOOKS)),
        ]
        answers = await asyncio.gather(*(_timed(asyncio.ensure_future(call)) for call in calls))
    slowest = max(seconds for _, seconds in answers)
    print(f"{which}: {len(stopped)} processes stopped, {in_flight} purchases in flight, slowest answer {slowest:.1f} s")

    assert in_flight > 0
    refused = [answer for answer, _ in answers if answer.status == 503]
    if which == "server":
        assert len(refused) == len(answers), [answer.status for answer, _ in answers]
    assert {answer.status for answer, _ in answers} <= {200, 201, 503}
    assert refused, "nobody met the fault"
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert all(answer.body["code"] == "database_unavailable" for answer in refused)
    assert slowest < ANSWER_SECONDS_MAX
    await _recovers(shopper, sku, bodies, keys)
    assert {(await placing).status for placing in running} <= {201, 503}


async def test_a_stopped_database_is_told_to_stripe_at_once_and_each_event_is_stored_when_it_is_back(
    shopper: Shopper, struck: Deployment
) -> None:
    postgres = struck.servers.postgres
    assert postgres is not None
    sku = await shopper.offer(stock=10)
    assert (await _deliver(shopper, _event())).status == 200  # a connection exists that dies with the server
    bodies = [_event() for _ in range(EVENTS)]

    await asyncio.to_thread(postgres.stop)
    try:
        alone = await _timed(asyncio.ensure_future(_deliver(shopper, bodies[0])))
        crowd = await asyncio.gather(*(_timed(asyncio.ensure_future(_deliver(shopper, body))) for body in bodies))
    finally:
        await asyncio.to_thread(postgres.start)
    answers = [alone, *crowd]
    slowest = max(seconds for _, seconds in answers)
    print(f"stopped: {len(answers)} deliveries, slowest answer {slowest:.2f} s")

    assert [answer.status for answer, _ in answers] == [503] * len(answers)
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer, _ in answers)
    assert all(answer.body["code"] == "database_unavailable" for answer, _ in answers)
    assert slowest < STOPPED_ANSWER_SECONDS_MAX
    await _recovers(shopper, sku, bodies, [secrets.token_hex(12)])
    assert [name for name, child in struck.children.items() if not child.running] == []


async def _recovers(shopper: Shopper, sku: str, bodies: Sequence[bytes], keys: Sequence[str]) -> None:
    """What was refused is sent again, and each event and order exists once."""

    async def all_delivered() -> bool:
        return {(await _deliver(shopper, body)).status for body in bodies} == {200}

    async def all_placed() -> bool:
        return {(await _place(shopper, sku, key)).status for key in keys} == {201}

    await eventually(all_delivered, within=RECOVERY_SECONDS_MAX, what="every event taken")
    await eventually(all_placed, within=30.0, what="every order placed")
    ids = [json.loads(body)["id"] for body in bodies]
    stored = await shopper.count(
        "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = ANY($1::text[])", ids
    )
    placed = await shopper.count(
        "SELECT count(DISTINCT resource_id) FROM checkout.idempotency_keys WHERE key = ANY($1::text[])", list(keys)
    )
    assert (stored, placed) == (len(bodies), len(keys))
