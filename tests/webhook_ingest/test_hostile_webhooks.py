"""What is not Stripe's is refused with one answer; what is Stripe's and unusable is kept and answered 200."""

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from tests.support.shopping import Shopper
from tests.webhook_ingest.deliveries import PATH, digest, event, post, signed

BODY_MAX = 256 * 1024


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
    moment, _, mac = good.partition(",v1=")
    seconds = moment.removeprefix("t=")
    arabic = seconds.translate({ord("0") + n: 0x660 + n for n in range(10)})
    return {
        "none": (),
        "empty": ("",),
        "two headers, good first": (good, "t=1,v1=00"),
        "two headers, good last": ("t=1,v1=00", good),
        "only v0": (signed(body, secret, scheme="v0"),),
        "another secret": (signed(body, "whsec_another_secret_entirely"),),
        "cut": (good[:-1],),
        "longer": (good + "0",),
        "upper case": (moment + ",v1=" + mac.upper(),),
        "not ASCII": (moment + ",v1=é",),
        "byte 0xFF": (b"t=1,v1=\xff",),
        "ten thousand candidates": (moment + ",v1=00" * 10_000,),
        # Each of these three signs its time as it is written: only the form of the number is wrong.
        "signed plus": (f"t=+{seconds},v1=" + digest("+" + seconds, body, secret),),
        "underscore": (f"t={seconds[0]}_{seconds[1:]},v1=" + digest(f"{seconds[0]}_{seconds[1:]}", body, secret),),
        "Arabic digits": (f"t={arabic},v1=" + digest(arabic, body, secret),),
        "two times": (good + "," + moment,),
        "spaces": (good.replace(",", ", "),),
        "tab": (good.replace(",", ",\t"),),
        "space before the value": (good.replace("v1=", "v1= "),),
        "space after the time": (good.replace(",", " ,"),),
        "no time": ("v1=" + mac,),
    }


BODY = json.dumps(event(id="evt_never")).encode()


def other_bodies() -> dict[str, bytes]:
    """The body that was signed is `BODY`."""
    return {
        "one byte more": BODY + b" ",
        "one byte less": BODY[:-1],
        "one bit": bytes([BODY[0] ^ 1]) + BODY[1:],
        "written anew": json.dumps(json.loads(BODY), separators=(",", ":")).encode(),
        "keys sorted": json.dumps(json.loads(BODY), sort_keys=True).encode(),
        "BOM": b"\xef\xbb\xbf" + BODY,
        "nothing": b"",
    }


@pytest.mark.parametrize("name", other_bodies())
async def test_another_body_than_the_signed_one_is_refused_and_stores_nothing(
    shopper: Shopper, secret: str, name: str
) -> None:
    status, content, _ = await post(shopper, other_bodies()[name], signed(BODY, secret))

    assert (status, json.loads(content)["code"]) == (400, "invalid_signature")
    assert await shopper.count("SELECT count(*) FROM webhook_ingest.stripe_events WHERE event_id = 'evt_never'") == 0


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
    "deep": b"[" * 100_000 + b"]" * 100_000, "NaN": b'{"a":NaN}', "huge number": b'{"a":1e400}', "Infinity": b'{"a":Infinity}', "-Infinity": b'{"a":-Infinity}',
    "UTF-16": json.dumps(event()).encode("utf-16"), "UTF-16 without BOM": json.dumps(event()).encode("utf-16-le"),
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


ALERTING = {"dead", "wrong_mode", "foreign_account", "other_version"}


async def counted(shopper: Shopper) -> dict[str, float]:
    """Events so far that somebody must look at, by outcome."""
    text = (await shopper.call("GET", shopper.deployment.internal_url("webhook-ingest") + "/metrics")).body["raw"]
    prefix = 'payments_webhook_events_total{outcome="'
    lines = (line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix))
    found = {name: float(value) for name, _, value in (line.partition('"} ') for line in lines)}
    return {name: found[name] for name in ALERTING}


@pytest.mark.parametrize(
    ("given", "state", "outcome"),
    [
        ({"livemode": True}, "ignored", "wrong_mode"),
        ({"account": "acct_other"}, "ignored", "foreign_account"),
        ({"type": "some.new.type"}, "ignored", None),
        ({"api_version": "2020-08-27"}, "ignored", "other_version"),
        ({"api_version": None}, "ignored", "other_version"),
        ({"api_version": "2020-08-27", "type": "payment_intent.succeeded"}, "processed", "other_version"),
        ({"livemode": True, "type": "payment_intent.succeeded"}, "ignored", "wrong_mode"),
        ({"account": "acct_other", "type": "payment_intent.succeeded"}, "ignored", "foreign_account"),
        ({"id": None}, "dead", "dead"),
    ],
)
async def test_an_event_that_is_not_as_expected_is_stored_and_counted_as_such(
    shopper: Shopper, secret: str, given: dict[str, Any], state: str, outcome: str | None
) -> None:
    intent = {"id": f"pi_{time.time_ns()}", "object": "payment_intent", "status": "succeeded", "amount": 1,
              "currency": "usd", "metadata": {}}  # fmt: skip
    body = json.dumps(event(data={"object": intent}, **given)).encode()
    before = await counted(shopper)

    status, _, _ = await post(shopper, body, signed(body, secret))

    after = await counted(shopper)
    sql = "SELECT state FROM webhook_ingest.stripe_events WHERE raw = $1"
    assert (status, await shopper.owner.fetchval(sql, body)) == (200, state)
    assert {name for name in ALERTING if after[name] == before[name] + 1} == ({outcome} if outcome else set())
    assert sum(after.values()) == sum(before.values()) + (outcome is not None)


async def test_large_coded_and_odd_requests_are_refused_by_their_own_status(shopper: Shopper, secret: str) -> None:
    large = b"[" + b" " * 1024 * 1024 + b"]"
    largest = b"[" + b" " * (BODY_MAX - 2) + b"]"
    one_more = largest + b" "
    small = json.dumps(event()).encode()
    packed = gzip.compress(small)

    assert (await post(shopper, large, signed(large, secret)))[0] == 413
    assert (await post(shopper, one_more, signed(one_more, secret)))[0] == 413
    assert (await post(shopper, largest, signed(largest, secret)))[0] == 200
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
    """What a request costs it costs each time; a neighbour that takes the processor away does not come each time."""
    held = [await _turns_held_by_hostile_requests(shopper, secret) for _ in range(3)]

    assert min(held) == 0, held


async def _turns_held_by_hostile_requests(shopper: Shopper, secret: str) -> float:
    every_before, long_before = await turns(shopper)
    bomb = gzip.compress(b"0" * 200 * 1024 * 1024)[: 250 * 1024]
    deep = b'{"a":' * 25_000 + b"1" + b"}" * 25_000
    digits = b'{"id":' + b"9" * 200_000 + b"}"
    wide = json.dumps(event(data={"object": {f"k{i}": i for i in range(12_000)}})).encode()
    large = json.dumps(event(padding="x" * 1024 * 1024)).encode()

    many = ",".join(["t=1", *("v1=" + "0" * 64 for _ in range(60))])
    answers = []

    for body in (bomb, deep, digits, wide, large):
        encoding = {"Content-Encoding": "gzip"} if body is bomb else {}
        five = await asyncio.gather(*(post(shopper, body, signed(body, secret), **encoding) for _ in range(5)))
        answers.append([status for status, _, _ in five])
    refused = await asyncio.gather(*(post(shopper, b"{}", many) for _ in range(20)))

    assert answers == [[415] * 5, [200] * 5, [200] * 5, [200] * 5, [413] * 5]
    assert [status for status, _, _ in refused] == [400] * 20
    every, long = await turns(shopper)
    assert every > every_before + 10, "nobody watched"
    return long - long_before


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
