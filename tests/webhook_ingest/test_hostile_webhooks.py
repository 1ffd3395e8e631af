"""What is not Stripe's is refused with one answer; what is Stripe's and unusable is kept and answered 200."""

import asyncio
import gzip
import hashlib
import hmac
import json
import time
from typing import Any

import pytest

from tests.support.shopping import Shopper

PATH = "/api/payments/webhook"


def event(**given: Any) -> dict[str, Any]:
    value = {
        "id": f"evt_{time.time_ns()}", "object": "event", "type": "customer.created", "created": int(time.time()),
        "livemode": False, "api_version": "2026-08-26.dahlia", "pending_webhooks": 1, "request": None,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }  # fmt: skip
    return {**value, **given}


def signed(body: bytes, secret: str, *, at: float | None = None, scheme: str = "v1") -> str:
    moment = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},{scheme}={digest}"


async def post(shopper: Shopper, body: bytes, *signatures: str | bytes, **headers: str) -> tuple[int, bytes, float]:
    """Over a raw socket, so that every byte of the header arrives as it is written: (status, body, seconds)."""
    port = shopper.deployment.public["webhook-ingest"]
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"POST {PATH} HTTP/1.1".encode(), b"Host: x", b"Connection: close"]
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines += [f"{name}: {value}".encode() for name, value in fields.items() if value]
    lines += [b"Stripe-Signature: " + (s if isinstance(s, bytes) else s.encode()) for s in signatures]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
    answer = await reader.read()
    writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), content, time.monotonic() - started


@pytest.fixture
def secret(shopper: Shopper) -> str:
    return shopper.deployment.secrets["webhook"]


@pytest.mark.parametrize("offset", [-301, 301, 3600, 100 * 365 * 86400, -86400])
async def test_a_timestamp_outside_the_tolerance_is_refused_on_both_sides(
    shopper: Shopper, secret: str, offset: int
) -> None:
    body = json.dumps(event()).encode()

    status, _, _ = await post(shopper, body, signed(body, secret, at=time.time() + offset))

    assert status == 400


@pytest.mark.parametrize("offset", [-298, 0, 298])
async def test_a_timestamp_inside_the_tolerance_is_taken(shopper: Shopper, secret: str, offset: int) -> None:
    body = json.dumps(event()).encode()

    status, content, _ = await post(shopper, body, signed(body, secret, at=time.time() + offset))

    assert (status, json.loads(content)) == (200, {"received": True})


def bad_headers(body: bytes, secret: str) -> dict[str, tuple[str | bytes, ...]]:
    good = signed(body, secret)
    moment, _, digest = good.partition(",v1=")
    return {
        "none": (),
        "empty": ("",),
        "two headers, good first": (good, "t=1,v1=00"),
        "two headers, good last": ("t=1,v1=00", good),
        "only v0": (signed(body, secret, scheme="v0"),),
        "another secret": (signed(body, "whsec_another_secret_entirely"),),
        "cut": (good[:-1],),
        "longer": (good + "0",),
        "upper case": (moment + ",v1=" + digest.upper(),),
        "not ASCII": (moment + ",v1=é",),
        "byte 0xFF": (b"t=1,v1=\xff",),
        "ten thousand candidates": (moment + ",v1=00" * 10_000,),
        "signed plus": ("t=+1,v1=" + digest,),
        "underscore": ("t=1_0,v1=" + digest,),
        "other digits": ("t=١٢٣,v1=" + digest,),
        "two times": (good + "," + moment,),
        "spaces": (good.replace(",", ", "),),
        "no time": ("v1=" + digest,),
    }


BODY = json.dumps(event(id="evt_never")).encode()


@pytest.mark.parametrize("name", bad_headers(BODY, "x" * 16))
async def test_a_bad_signature_is_refused_with_one_body_and_stores_nothing(
    shopper: Shopper, secret: str, name: str
) -> None:
    signatures = bad_headers(BODY, secret)[name]
    plain = await post(shopper, BODY, "t=1,v1=00")

    status, content, _ = await post(shopper, BODY, *signatures)

    assert status == 400
    if name != "ten thousand candidates":  # too long for the parser, which closes by itself
        assert {**json.loads(content), "request_id": 0} == {**json.loads(plain[1]), "request_id": 0}
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = 'evt_never'") == 0


GARBAGE: dict[str, bytes] = {
    "list": b"[]", "null": b"null", "string": b'"x"', "number": b"1", "empty object": b"{}",
    "deep": b"[" * 100_000 + b"]" * 100_000, "NaN": b'{"a":NaN}', "huge number": b'{"a":1e400}',
    "huge integer": b'{"a":' + b"9" * 5000 + b"}", "twice a key": b'{"id":"evt_1","id":"evt_2"}',
    "NUL": json.dumps(event(id="evt_\x00")).encode(), "half a surrogate": b'{"id":"\\ud800"}', "not UTF-8": b"\xff\xfe{}",
    "BOM": b"\xef\xbb\xbf{}", "two documents": b"{}{}", "no id": json.dumps(event(id=None)).encode(),
    "number as id": json.dumps(event(id=1)).encode(), "no data": json.dumps(event(data=None)).encode(),
    "created as text": json.dumps(event(created="now")).encode(), "created at 0": json.dumps(event(created=0)).encode(),
    "livemode as text": json.dumps(event(livemode="no")).encode(), "object is list": json.dumps(event(data={"object": []})).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", GARBAGE)
async def test_signed_garbage_is_kept_as_dead_and_answered_200(shopper: Shopper, secret: str, name: str) -> None:
    body = GARBAGE[name] + b" " * (time.time_ns() % 1000)

    status, _, _ = await post(shopper, body, signed(body, secret))

    assert status == 200
    kept = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE raw = $1 AND state = 'dead'"
    assert await shopper.count(kept, body) == 1


async def test_events_that_are_not_ours_are_stored_and_ignored(shopper: Shopper, secret: str) -> None:
    foreign = (event(livemode=True), event(account="acct_other"), event(type="some.new.type"))

    for value in foreign:
        value["id"] = f"evt_{time.time_ns()}"
        body = json.dumps(value).encode()
        assert (await post(shopper, body, signed(body, secret)))[0] == 200
        state = await shopper.owner.fetchval(
            "SELECT state FROM webhook_ingest.stripe_events WHERE event_id = $1", value["id"]
        )
        assert state == "ignored"


async def test_large_coded_and_odd_requests_are_refused_by_their_own_status(shopper: Shopper, secret: str) -> None:
    large = b"[" + b" " * 1024 * 1024 + b"]"
    small = json.dumps(event()).encode()
    packed = gzip.compress(small)

    assert (await post(shopper, large, signed(large, secret)))[0] == 413
    assert (await post(shopper, packed, signed(packed, secret), **{"Content-Encoding": "gzip"}))[0] == 415
    assert (await post(shopper, small, signed(small, secret), **{"Content-Encoding": "foo"}))[0] == 415
    assert (await post(shopper, small, signed(small, secret), **{"Content-Type": "text/plain"}))[0] == 415
    assert (await shopper.call("GET", shopper.deployment.public_url("webhook-ingest") + PATH)).status == 405


async def turns(shopper: Shopper) -> tuple[float, float]:
    """How many turns of the ingest's event loop were observed since its start, and how many computed above 50 ms."""
    text = (await shopper.call("GET", shopper.deployment.internal_url("webhook-ingest") + "/metrics")).body["raw"]
    value = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}
    short = value['payments_loop_turn_seconds_bucket{le="0.05"}']
    every = value["payments_loop_turn_seconds_count"]
    return every, every - short


async def test_no_hostile_request_holds_the_loop_for_more_than_50_ms(shopper: Shopper, secret: str) -> None:
    every_before, long_before = await turns(shopper)
    bomb = gzip.compress(b"0" * 200 * 1024 * 1024)[: 250 * 1024]
    deep = b'{"a":' * 25_000 + b"1" + b"}" * 25_000
    digits = b'{"id":' + b"9" * 200_000 + b"}"
    wide = json.dumps(event(data={"object": {f"k{i}": i for i in range(12_000)}})).encode()
    large = json.dumps(event(padding="x" * 1024 * 1024)).encode()

    for body in (bomb, deep, digits, wide, large):
        encoding = {"Content-Encoding": "gzip"} if body is bomb else {}
        await asyncio.gather(*(post(shopper, body, signed(body, secret), **encoding) for _ in range(5)))
    many = ",".join(["t=1", *("v1=" + "0" * 64 for _ in range(60))])
    await asyncio.gather(*(post(shopper, b"{}", many) for _ in range(20)))

    every, long = await turns(shopper)
    assert every > every_before + 20
    assert long == long_before


async def test_a_gzip_bomb_delays_nobody(shopper: Shopper, secret: str) -> None:
    bomb = gzip.compress(b"0" * 200 * 1024 * 1024)[: 250 * 1024]
    small = json.dumps(event()).encode()
    calm = max([(await post(shopper, small, signed(small, secret)))[2] for _ in range(5)])

    async def bombs() -> None:
        for _ in range(10):
            status, _, _ = await post(shopper, bomb, signed(bomb, secret), **{"Content-Encoding": "gzip"})
            assert status == 415

    task = asyncio.create_task(bombs())
    waits = []
    while not task.done():
        waits.append((await post(shopper, small, signed(small, secret)))[2])
    await task

    assert len(waits) >= 3
    assert max(waits) < calm + 0.5, "an unpacked bomb would stall every request for most of a second"


async def test_fifty_deliveries_of_one_event_at_once_store_one_row_and_say_one_message(
    shopper: Shopper, secret: str
) -> None:
    subject = {
        "id": "pi_x",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 1,
        "currency": "usd",
        "metadata": {},
    }
    value = event(id=f"evt_{time.time_ns()}", type="payment_intent.succeeded", data={"object": subject})
    body = json.dumps(value).encode()

    answers = await asyncio.gather(*(post(shopper, body, signed(body, secret)) for _ in range(50)))

    assert [status for status, _, _ in answers] == [200] * 50
    rows = "SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = $1"
    said = "SELECT count(*) FROM webhook_ingest.outbox WHERE convert_from(body, 'UTF8') LIKE '%' || $1 || '%'"
    assert await shopper.count(rows, value["id"]) == 1
    assert await shopper.count(said, value["id"]) == 1
