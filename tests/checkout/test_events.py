"""An order's changes reach whoever follows it as soon as any process has saved them."""

import contextlib
import hashlib
import hmac
import re
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from checkout.app import STREAMS_OF_ONE_ORDER
from tests.checkout.test_canceling import cancel
from tests.checkout.test_order_list import place, signed_in
from tests.support.instances import Instance, another_checkout
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of
from tests.support.sse import Reader, opened

ORDERS = "/api/payments/orders"


def events_url(base: str, order: Json) -> str:
    return f"{base}{ORDERS}/{order['order_id']}/events"


def token_of(order: Json) -> dict[str, str]:
    return {"Order-Token": order["order_token"]}


async def ticket(shopper: Shopper, order: Json, **headers: str) -> Answer:
    url = f"{shopper.deployment.front_door_url}{ORDERS}/{order['order_id']}/events-ticket"
    return await shopper.call("POST", url, **(headers or token_of(order)))


# -- what is sent ----------------------------------------------------------------------------------------------------


async def test_a_stream_shows_the_order_at_once_then_its_payment_and_ends(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    async with opened(shopper.http, events_url(shopper.deployment.front_door_url, order), **token_of(order)) as stream:
        first = await stream.next()
        assert first is not None
        assert (first.name, first.data) == ("order", await shopper.order(order))
        assert first.data["status"] == "pending"
        assert await shopper.pay(order) == 303
        paid = await stream.until("paid")
        assert await stream.next() is None, "nothing comes after a final state"

    assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.answer.headers["Cache-Control"] == "no-store"
    assert stream.answer.headers["X-Accel-Buffering"] == "no"
    assert re.fullmatch(r"[0-9a-f]{32}", stream.answer.headers["X-Request-Id"])
    assert int(stream.retry) > 0
    assert int(paid.id) > int(first.id)
    assert paid.data["paid_at"] is not None


async def test_an_order_that_is_canceled_says_so_and_ends(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    async with opened(shopper.http, events_url(shopper.deployment.front_door_url, order), **token_of(order)) as stream:
        assert (await stream.next() or pytest.fail("no event")).data["status"] == "pending"
        await cancel(shopper, order)
        assert (await stream.until("canceled")).data["checkout_url"] is None
        assert await stream.next() is None


async def test_a_decline_is_shown_and_the_stream_goes_on(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    async with opened(shopper.http, events_url(shopper.deployment.front_door_url, order), **token_of(order)) as stream:
        assert await shopper.pay(order, card="4000000000000002") == 402
        await stream.until("failed")
        assert await shopper.pay(order) == 303
        await stream.until("paid")


async def test_whoever_comes_back_gets_nothing_twice_and_misses_nothing(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    url = events_url(shopper.deployment.front_door_url, order)
    async with opened(shopper.http, url, **token_of(order)) as stream:
        seen = await stream.next()
        assert seen is not None

    async with opened(shopper.http, url, **token_of(order), **{"Last-Event-ID": seen.id}) as stream:
        assert await shopper.pay(order) == 303
        again = await stream.next()
        assert again is not None
        assert int(again.id) > int(seen.id)
        last = again if again.data["status"] == "paid" else await stream.until("paid")
    await shopper.quiet()
    late = int(await shopper.owner.fetchval("SELECT version FROM checkout.orders WHERE id = $1", uuid_of(order)))
    async with opened(shopper.http, url, **token_of(order), **{"Last-Event-ID": last.id}) as stream:
        missed = await stream.next()
        assert missed is not None
        assert (missed.id, missed.data["shipment"]["status"]) == (str(late), "created")
        assert await stream.next() is None
    async with opened(shopper.http, url, **token_of(order), **{"Last-Event-ID": str(late)}) as stream:
        assert stream.answer.status == 204, "an EventSource does not come back after this"


@pytest.mark.parametrize("odd", ["", "x", "-1", "1.5", "9" * 40, "999999999"])
async def test_an_odd_last_event_id_is_a_first_visit(shopper: Shopper, odd: str) -> None:
    order = await shopper.placed(await shopper.offer())
    url = events_url(shopper.deployment.front_door_url, order)

    async with opened(shopper.http, url, **token_of(order), **{"Last-Event-ID": odd}) as stream:
        event = await stream.next()

    assert event is not None
    assert event.data["status"] == "pending"


async def test_an_order_that_waits_for_its_page_shows_it_once_it_is_there(shopper: Shopper) -> None:
    me, sku = "sub-" + secrets.token_hex(4), await shopper.offer()
    body: Json = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    key, base = {"Idempotency-Key": secrets.token_hex(12)}, shopper.deployment.front_door_url
    fault = {"kind": "cut_before", "path": "/v1/checkout/sessions", "count": 1000}
    await shopper.stripe("POST", "/_sim/faults", fault)
    try:
        url = f"{base}/api/payments/checkout-session"
        assert (await shopper.call("POST", url, body, **key, **signed_in(shopper, me))).status == 503
        (order,) = (await shopper.call("GET", base + ORDERS, **signed_in(shopper, me))).body["orders"]
        assert order["checkout_url"] is None

        async with opened(shopper.http, events_url(base, order), **signed_in(shopper, me)) as stream:
            first = await stream.next()
            await shopper.stripe("DELETE", "/_sim/faults")
            second = await stream.next(within_seconds=60)
    finally:
        await shopper.stripe("DELETE", "/_sim/faults")

    assert first is not None
    assert second is not None
    assert first.data == order
    assert second.data["checkout_url"].startswith(shopper.deployment.stripe_url)


# -- several processes -----------------------------------------------------------------------------------------------


async def test_a_change_that_another_process_makes_arrives(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    async with another_checkout(shopper.deployment, "checkout-streams") as other:
        urls = [events_url(base, order) for base in (other.public_url, shopper.deployment.public_url("checkout"))]
        async with (
            opened(shopper.http, urls[0], **token_of(order)) as one,
            opened(shopper.http, urls[1], **token_of(order)) as two,
        ):
            assert await one.next() is not None
            assert await two.next() is not None

            await cancel(shopper, order)

            assert (await one.until("canceled", within_seconds=5)).data == (await two.until("canceled")).data


async def test_what_happens_while_the_listener_is_away_is_seen_when_it_is_back(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'checkout listener'"
    )
    async with opened(shopper.http, events_url(shopper.deployment.front_door_url, order), **token_of(order)) as stream:
        assert await stream.next() is not None

        assert await shopper.owner.fetch(cut)
        changed = "UPDATE checkout.orders SET version = version + 1, held_reason = 'a look' WHERE id = $1"
        await shopper.owner.execute(changed, uuid_of(order))

        event = await stream.next(within_seconds=10)
        assert event is not None
        assert event.data["held"] is True
    await shopper.owner.execute("UPDATE checkout.orders SET held_reason = NULL WHERE id = $1", uuid_of(order))


# -- bounds ----------------------------------------------------------------------------------------------------------


async def streams_open(shopper: Shopper, instance: Instance) -> int:
    text = (await shopper.call("GET", f"{instance.internal_url}/metrics")).body["raw"]
    found = re.search(r"^payments_streams_open (\S+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def test_only_so_many_follow_at_once_and_who_leaves_makes_room(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    async with another_checkout(shopper.deployment, "checkout-full", PAYMENTS_STREAMS_MAX="2") as instance:
        url = events_url(instance.public_url, order)
        async with (
            opened(shopper.http, url, **token_of(order)) as one,
            opened(shopper.http, url, **token_of(order)) as two,
        ):
            assert await one.next() is not None
            assert await two.next() is not None

            full = await shopper.call("GET", url, **token_of(order))

            assert (full.status, full.body["code"], full.headers["Retry-After"]) == (503, "streams_full", "10")

        async def empty() -> bool:
            return await streams_open(shopper, instance) == 0

        await eventually(empty, within=5, what="those who left are not counted")
        async with opened(shopper.http, url, **token_of(order)) as three:
            assert await three.next() is not None


async def test_the_streams_of_one_order_take_no_place_from_another(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order, other = await shopper.placed(sku), await shopper.placed(sku)
    base = shopper.deployment.front_door_url
    async with contextlib.AsyncExitStack() as streams:
        for _ in range(STREAMS_OF_ONE_ORDER):
            stream = await streams.enter_async_context(opened(shopper.http, events_url(base, order), **token_of(order)))
            assert await stream.next() is not None
        full = await shopper.call("GET", events_url(base, order), **token_of(order))
        theirs = await streams.enter_async_context(opened(shopper.http, events_url(base, other), **token_of(other)))

        assert (full.status, full.body["code"], full.headers["Retry-After"]) == (503, "streams_full", "10")
        assert await theirs.next() is not None


async def test_the_streams_of_one_address_take_no_place_from_another(shopper: Shopper) -> None:
    """The door is trusted to say whose address it is; where it says none that is public, nobody is counted."""
    sku = await shopper.offer()
    orders = [await shopper.placed(sku) for _ in range(3)]
    bounds = {"PAYMENTS_STREAMS_PER_ADDRESS": "2", "PAYMENTS_TRUSTED_PROXIES": "127.0.0.0/8"}
    async with (
        another_checkout(shopper.deployment, "checkout-crowded", **bounds) as instance,
        contextlib.AsyncExitStack() as streams,
    ):

        async def follow(order: Json, address: str) -> Reader:
            headers = {**token_of(order), "X-Forwarded-For": address}
            stream = await streams.enter_async_context(
                opened(shopper.http, events_url(instance.public_url, order), **headers)
            )
            assert await stream.next() is not None
            return stream

        for order in orders[:2]:
            await follow(order, "198.41.0.4")
        url, mine = events_url(instance.public_url, orders[2]), token_of(orders[2])
        full = await shopper.call("GET", url, **mine, **{"X-Forwarded-For": "198.41.0.4"})
        for address in ("199.9.14.201", *["192.168.0.7"] * 3):
            await follow(orders[2], address)

        assert (full.status, full.body["code"], full.headers["Retry-After"]) == (503, "streams_full", "10")
        await streams.aclose()

        async def room() -> bool:
            return await streams_open(shopper, instance) == 0

        await eventually(room, within=5, what="those who left are not counted")
        await follow(orders[2], "198.41.0.4")


async def test_a_quiet_stream_says_that_it_lives_and_ends_in_time(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    bounds = {"PAYMENTS_HEARTBEAT_SECONDS": "0.2", "PAYMENTS_STREAM_SECONDS": "1.5"}
    async with (
        another_checkout(shopper.deployment, "checkout-quiet", **bounds) as instance,
        opened(shopper.http, events_url(instance.public_url, order), **token_of(order)) as stream,
    ):
        started = time.monotonic()
        assert await stream.next() is not None
        assert await stream.next(within_seconds=10) is None
        took = time.monotonic() - started

    assert 1 < took < 6
    assert 3 <= stream.comments <= 8


async def test_streams_end_at_once_when_the_process_is_told_to_stop(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    async with (
        another_checkout(shopper.deployment, "checkout-ends") as instance,
        opened(shopper.http, events_url(instance.public_url, order), **token_of(order)) as stream,
    ):
        assert await stream.next() is not None
        instance.child.popen.terminate()
        began = time.monotonic()

        assert await stream.next(within_seconds=8) is None

        assert time.monotonic() - began < 3


# -- who may follow --------------------------------------------------------------------------------------------------


async def test_a_ticket_opens_the_stream_of_its_order_and_of_no_other(shopper: Shopper) -> None:
    sku = await shopper.offer()
    order, other = await shopper.placed(sku), await shopper.placed(sku)
    base = shopper.deployment.front_door_url

    made = await ticket(shopper, order)

    assert made.status == 201, made
    assert made.headers["Cache-Control"] == "no-store"
    assert order["order_token"] not in made.body["path"]
    async with opened(shopper.http, base + made.body["path"]) as stream:
        event = await stream.next()
        assert event is not None
        assert event.data["order_id"] == order["order_id"]
    query = urlsplit(made.body["path"]).query
    stolen = await shopper.call("GET", f"{events_url(base, other)}?{query}")
    assert (stolen.status, stolen.body["code"]) == (404, "not_found")
    seen = await shopper.call("GET", f"{base}{ORDERS}/{order['order_id']}?{query}")
    assert seen.status == 404, "a ticket opens the stream and nothing else"


async def test_a_customer_follows_with_his_token_and_strangers_do_not(shopper: Shopper) -> None:
    me = "sub-" + secrets.token_hex(4)
    order = await place(shopper, me, await shopper.offer())
    url = events_url(shopper.deployment.front_door_url, order)

    async with opened(shopper.http, url, **signed_in(shopper, me)) as stream:
        assert await stream.next() is not None
    assert (await ticket(shopper, order, **signed_in(shopper, me))).status == 201

    for headers in ({"X-None": "1"}, {"Order-Token": "0" * 32}, signed_in(shopper, "other-" + me)):
        assert (await shopper.call("GET", url, **headers)).body["code"] == "not_found"
        assert (await ticket(shopper, order, **headers)).body["code"] == "not_found"
    assert (await shopper.call("GET", url, Authorization="Bearer a.b.c")).status == 401
    nobodys = {"order_id": "ord_" + "0" * 32}
    assert (await shopper.call("GET", events_url(shopper.deployment.front_door_url, nobodys))).status == 404


def signed(shopper: Shopper, order: Json, until: int) -> str:
    """A ticket as checkout makes it."""
    said = "\x1f".join(("events", str(uuid_of(order)), str(until))).encode()
    return f"{until}.{hmac.new(shopper.deployment.secrets['checkout'].encode(), said, hashlib.sha256).hexdigest()}"


async def test_an_expired_ticket_and_a_forged_one_open_nothing(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())
    url = events_url(shopper.deployment.front_door_url, order)
    now = int(time.time())
    good, later = signed(shopper, order, now + 60), now + 86_400
    mark = good.partition(".")[2]

    expired = await shopper.call("GET", f"{url}?ticket={signed(shopper, order, now - 1)}")
    forged: dict[str, Any] = {
        name: await shopper.call("GET", f"{url}?ticket={given}")
        for name, given in {
            "prolonged": f"{later}.{mark}",
            "another mark": f"{now + 60}.{'0' * 64}",
            "no mark": f"{now + 60}",
            "empty": "",
            "the order's token": order["order_token"],
            "digits of another script": f"{good[:9]}\u0669.{mark}",
            "twice": f"{good}&ticket={good}",
        }.items()
    }

    async with opened(shopper.http, f"{url}?ticket={good}") as stream:
        assert stream.answer.status == 200
    assert (expired.status, expired.body["code"]) == (401, "ticket_expired")
    assert {name: (answer.status, answer.body["code"]) for name, answer in forged.items()} == dict.fromkeys(
        forged, (404, "not_found")
    )
    odd = await shopper.call("GET", f"{url}?token={order['order_token']}")
    assert (odd.status, [error["pointer"] for error in odd.body["errors"]]) == (422, ["/token"])


async def test_a_ticket_lives_for_minutes_and_its_path_is_never_logged(shopper: Shopper) -> None:
    order = await shopper.placed(await shopper.offer())

    made = await ticket(shopper, order)
    (given,) = parse_qs(urlsplit(made.body["path"]).query)["ticket"]
    async with opened(shopper.http, shopper.deployment.public_url("checkout") + made.body["path"]) as stream:
        await stream.next()

    left = int(given.partition(".")[0]) - time.time()
    assert 240 < left <= 300
    file = shopper.deployment.children["checkout"].log

    async def logged() -> bool:
        return f'"request_id": "{stream.answer.headers["X-Request-Id"]}"' in file.read_text(encoding="utf-8")

    await eventually(logged, within=10, what="the stream's line in the log")
    assert given not in file.read_text(encoding="utf-8")
