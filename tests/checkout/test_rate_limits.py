"""Placing is limited by address and by customer, exactly, by all processes together, and told in headers."""

import asyncio
import re
import secrets
import time
from collections import Counter

import aiohttp
import pytest

from checkout.decide.limiting import allowances, counted, wait_seconds
from checkout.handlers.limiting import OwnLimiting
from checkout.model.limits import Allowance, Count, Limit, Window
from checkout.store.velocity import open_of_customer
from payments_shared.provision import LOGIN_CONNECTIONS
from tests.checkout.test_canceling import cancel
from tests.checkout.test_order_list import signed_in
from tests.support.instances import another_checkout
from tests.support.shopping import Answer, Json, Shopper, eventually, uuid_of

PATH = "/api/payments/checkout-session"
NO_EMAIL = {"PAYMENTS_PLACEMENTS_PER_EMAIL": "0"}
NO_ADDRESS = {"PAYMENTS_PLACEMENTS_PER_ADDRESS": "0", **NO_EMAIL}
NO_CUSTOMER = {"PAYMENTS_PLACEMENTS_PER_CUSTOMER": "0", **NO_EMAIL}


def somebody() -> str:
    return f"{secrets.token_hex(6)}@example.com"


def some_address() -> str:
    return ".".join(str(number) for number in (100, *secrets.token_bytes(3)))


async def place(shopper: Shopper, url: str, sku: str, email: str, **headers: str) -> Answer:
    body: Json = {"lines": [{"sku": sku, "quantity": 1}], "email": email, "currency": "usd"}
    return await shopper.call("POST", url + PATH, body, **{"Idempotency-Key": secrets.token_hex(12), **headers})


async def add_method(shopper: Shopper, url: str, **headers: str) -> Answer:
    key = {"Idempotency-Key": secrets.token_hex(12)}
    return await shopper.call("POST", f"{url}/api/payments/methods", {"using": "form"}, **headers, **key)


def states(answer: Answer) -> dict[str, tuple[int, int]]:
    """What is left of each limit, and for how many seconds."""
    found = re.findall(r'"(\w+)";r=(\d+);t=(\d+)(?:, |$)', answer.headers["RateLimit"])
    return {name: (int(left), int(seconds)) for name, left, seconds in found}


# -- the rule --------------------------------------------------------------------------------------------------------


def test_what_is_left_is_never_less_than_nothing_and_a_window_never_over_already() -> None:
    limits = [Limit("address", 3, 60), Limit("customer", 5, 60)]

    found = allowances(limits, [Count("customer", 5, 0.0), Count("address", 7, 12.2)])

    assert found == [
        Allowance(limits[0], remaining=0, reset_seconds=13, exceeded=True),
        Allowance(limits[1], remaining=0, reset_seconds=1, exceeded=False),
    ]
    assert wait_seconds(found) == 13
    (begun_by_another,) = allowances(limits[:1], [Count("address", 1, 60.004)])
    assert begun_by_another.reset_seconds == 60
    assert wait_seconds(found[1:]) is None
    assert wait_seconds([]) is None


def test_a_process_counts_reads_by_itself_and_forgets_who_asked_long_ago() -> None:
    limit = Limit("reads", 2, 60)
    first = counted(limit, None, 100.0)
    second = counted(limit, first, 159.9)
    own = OwnLimiting(limit, {f"old-{number}": Window(9, 0.0) for number in range(3)})

    assert (first, second) == (Window(1, 160.0), Window(2, 160.0))
    assert counted(limit, second, 160.0) == Window(1, 220.0)
    assert [own.take("me")[0].exceeded for _ in range(3)] == [False, False, True]
    assert own.take("you")[0].remaining == 1
    assert own._windows.keys() == {"me", "you"}
    assert OwnLimiting(None).take("me") == []


# -- by customer -----------------------------------------------------------------------------------------------------


async def test_of_many_at_once_at_two_processes_exactly_as_many_pass_as_are_allowed(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), somebody()
    limit = {**NO_ADDRESS, "PAYMENTS_PLACEMENTS_PER_CUSTOMER": "7"}
    again: list[Answer] = []
    async with (
        another_checkout(shopper.deployment, "checkout-limited-1", **limit) as one,
        another_checkout(shopper.deployment, "checkout-limited-2", **limit) as two,
    ):
        urls = [one.public_url, two.public_url] * 15

        async def until_counted(url: str) -> Answer:
            while (answer := await place(shopper, url, sku, email.upper())).status == 503:
                again.append(answer)  # all wait for one row, a slow machine too long: it was not counted
                await asyncio.sleep(0.2)
            return answer

        answers = await asyncio.gather(*(until_counted(url) for url in urls))
        others = await place(shopper, one.public_url, sku, somebody())

    assert Counter(answer.status for answer in answers) == {201: 7, 429: 23}, again
    assert others.status == 201, "somebody else is not held back"
    passed = sorted(states(answer)["customer"][0] for answer in answers if answer.status == 201)
    assert passed == [0, 1, 2, 3, 4, 5, 6]
    for answer in answers:
        assert answer.headers["RateLimit-Policy"] == '"customer";q=7;w=60'
        left, seconds = states(answer)["customer"]
        assert 1 <= seconds <= 60
        if answer.status == 429:
            assert (answer.body["code"], left) == ("rate_limited", 0)
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert int(answer.headers["Retry-After"]) == seconds
        else:
            assert "Retry-After" not in answer.headers
    placed = "SELECT count(*) FROM checkout.orders WHERE lower(email) = $1"
    assert await shopper.count(placed, email) == 7
    assert await shopper.count("SELECT count(*) FROM checkout.request_counts WHERE subject LIKE '%@%'") == 0


async def test_exactly_so_many_orders_of_a_customer_and_of_an_address_wait_for_their_payment(shopper: Shopper) -> None:
    """Whoever is signed in is himself; a guest has room of his own at each address; an address that is not public is
    everybody's, and bounds nobody."""
    sku, me = await shopper.offer(), signed_in(shopper, "sub-" + secrets.token_hex(4))
    here, there, email = ({"X-Forwarded-For": "198.41.0.4"}, {"X-Forwarded-For": "199.9.14.201"}, somebody())
    bounds = {
        "PAYMENTS_OPEN_ORDERS_PER_CUSTOMER": "2",
        "PAYMENTS_OPEN_ORDERS_PER_ADDRESS": "3",
        "PAYMENTS_TRUSTED_PROXIES": "127.0.0.0/8",
    }
    async with another_checkout(shopper.deployment, "checkout-open-orders", **bounds) as instance:

        async def at_once(count: int, email: str, **headers: str) -> Counter[tuple[int, str]]:
            found = await asyncio.gather(
                *(place(shopper, instance.public_url, sku, email, **headers) for _ in range(count))
            )
            for answer in found:
                assert ("Retry-After" in answer.headers) is (answer.status == 429)
            return Counter((answer.status, answer.body.get("code", "")) for answer in found)

        mine = [await at_once(8, somebody(), **me, **where) for where in (here, there)]
        guests = await at_once(8, email, **here), await at_once(8, somebody(), **here), await at_once(8, email, **there)
        nobodys = await at_once(4, email)
        key = {"Idempotency-Key": secrets.token_hex(12)}
        refused = await place(shopper, instance.public_url, sku, somebody(), **me, **key)
        listed = await shopper.call("GET", f"{instance.public_url}/api/payments/orders", **me)
        await cancel(shopper, listed.body["orders"][0], **me)
        taken = await place(shopper, instance.public_url, sku, somebody(), **me, **key)

    full, placed = (429, "too_many_open_orders"), (201, "")
    assert mine == [{placed: 2, full: 6}, {full: 8}]
    assert guests == ({placed: 2, full: 6}, {placed: 1, full: 7}, {placed: 2, full: 6})
    assert nobodys == {placed: 4}
    assert (refused.status, taken.status) == (429, 201), "what was refused is not kept"


async def test_open_orders_are_counted_however_far_the_clock_of_business_is_ahead(shopper: Shopper) -> None:
    """The order is made by the server's clock, and open by that of business."""
    customer = "sub-" + secrets.token_hex(4)
    order = await place(
        shopper,
        shopper.deployment.public_url("checkout"),
        await shopper.offer(),
        somebody(),
        **signed_in(shopper, customer),
    )
    ahead = "UPDATE payments.business_clock SET ahead = ahead + interval '25 hours'"
    opened = "UPDATE checkout.orders SET expires_at = expires_at + interval '25 hours' WHERE id = $1"
    async with shopper.owner.acquire() as connection:
        trying = connection.transaction()
        await trying.start()
        await connection.execute("SET LOCAL search_path = checkout, payments")
        await connection.execute(ahead)
        await connection.execute(opened, uuid_of(order.body))
        counted = await open_of_customer(connection, customer)
        await trying.rollback()

    assert counted == 1


async def test_a_customer_is_his_token_whatever_address_he_gives(shopper: Shopper) -> None:
    sku, me = await shopper.offer(), signed_in(shopper, "sub-" + secrets.token_hex(4))
    async with another_checkout(
        shopper.deployment,
        "checkout-limited-sub",
        **NO_ADDRESS,
        PAYMENTS_PLACEMENTS_PER_CUSTOMER="2",
        PAYMENTS_ADDITIONS_PER_CUSTOMER="1/60",
    ) as instance:
        answers = [await place(shopper, instance.public_url, sku, somebody(), **me) for _ in range(3)]
        added = [await add_method(shopper, instance.public_url, **me) for _ in range(2)]

    assert [answer.status for answer in answers] == [201, 201, 429]
    assert [(answer.status, states(answer)["methods"][0]) for answer in added] == [(201, 0), (429, 0)]


async def test_what_is_done_with_an_order_and_with_saved_methods_is_limited_too(shopper: Shopper) -> None:
    """A guest's reads by his address, from where it is a buyer's own; everything else whoever he is."""
    order, me = await shopper.placed(await shopper.offer()), signed_in(shopper, "sub-" + secrets.token_hex(4))
    token, url = {"Order-Token": order["order_token"]}, f"/api/payments/orders/{order['order_id']}"
    here, method = {"X-Forwarded-For": "198.41.0.4", **token}, "/api/payments/methods/pm_nobodys"
    limits = dict.fromkeys(("READS_PER_CALLER", "CANCELLATIONS_PER_CALLER", "CHANGES_PER_CUSTOMER"), "3/60")
    settings = {f"PAYMENTS_{name}": most for name, most in limits.items()}
    async with another_checkout(
        shopper.deployment, "checkout-limited-after", PAYMENTS_TRUSTED_PROXIES="127.0.0.0/8", **settings
    ) as instance:

        async def asked(*calls: tuple[str, str, dict[str, str]]) -> list[tuple[int, str, int]]:
            found = []
            for verb, path, headers in calls:
                body = {"label": "Blue"} if verb == "PATCH" else None
                answer = await shopper.call(verb, instance.public_url + path, body, **headers)
                assert ("Retry-After" in answer.headers) is (answer.status == 429), answer
                ((name, (left, _)),) = states(answer).items() if "RateLimit" in answer.headers else (("", (-1, 0)),)
                found.append((answer.status, name, left))
            return found

        reads = await asked(
            ("GET", url, here),
            ("POST", url + "/events-ticket", here),
            ("GET", url, here),
            ("GET", url + "/events", here),
        )
        mine = await asked(
            ("GET", "/api/payments/orders", me),
            ("GET", "/api/payments/methods", me),
            ("GET", "/api/payments/store-credit", me),
            ("GET", url, {**me, **here}),
        )
        behind_a_proxy = await asked(*[("GET", url, token)] * 4)
        changes = await asked(
            ("PATCH", method, me), ("POST", method + "/default", me), ("DELETE", method, me), ("DELETE", method, me)
        )
        there = {"X-Forwarded-For": some_address(), **token}
        ends = await asked(*[("POST", url + "/cancel", there)] * 4)

    assert reads == [(200, "reads", 2), (201, "reads", 1), (200, "reads", 0), (429, "reads", 0)]
    assert mine == [(200, "reads", 2), (200, "reads", 1), (200, "reads", 0), (429, "reads", 0)]
    assert behind_a_proxy == [(200, "", -1)] * 4
    assert changes == [(404, "changes", left) for left in (2, 1, 0)] + [(429, "changes", 0)]
    assert ends == [(200, "cancellations", left) for left in (2, 1, 0)] + [(429, "cancellations", 0)]


async def test_a_window_that_has_passed_begins_anew_after_the_time_that_was_told(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), somebody()
    limit = {**NO_ADDRESS, "PAYMENTS_PLACEMENTS_PER_CUSTOMER": "2", "PAYMENTS_PLACEMENTS_SECONDS": "2"}
    async with another_checkout(shopper.deployment, "checkout-limited-soon", **limit) as instance:
        answers = [await place(shopper, instance.public_url, sku, email) for _ in range(3)]
        assert [answer.status for answer in answers] == [201, 201, 429]
        told, refused_at = int(answers[-1].headers["Retry-After"]), time.monotonic()

        async def passed() -> bool:
            return (await place(shopper, instance.public_url, sku, email)).status == 201

        await eventually(passed, within=told + 2, what="the window has passed, also for whoever asked meanwhile")
        took = time.monotonic() - refused_at
        again = [await place(shopper, instance.public_url, sku, email) for _ in range(2)]

    assert took < told + 0.5
    assert [answer.status for answer in again] == [201, 429]


async def test_every_answer_to_a_request_that_was_counted_tells_what_is_left(shopper: Shopper) -> None:
    sku, email = await shopper.offer(stock=1), somebody()
    limit = {**NO_ADDRESS, "PAYMENTS_PLACEMENTS_PER_CUSTOMER": "9"}
    async with another_checkout(shopper.deployment, "checkout-limited-told", **limit) as instance:
        key = {"Idempotency-Key": secrets.token_hex(12)}
        answers = [
            await place(shopper, instance.public_url, sku, email, **key),
            await place(shopper, instance.public_url, sku, email, **key),
            await place(shopper, instance.public_url, sku, email),
            await place(shopper, instance.public_url, "NO-SUCH", email),
        ]
        uncounted = await place(shopper, instance.public_url, sku, "no address")

    assert [answer.status for answer in answers] == [201, 201, 409, 422]
    assert [states(answer)["customer"][0] for answer in answers] == [8, 7, 6, 5]
    assert answers[1].headers["Idempotency-Replayed"] == "true"
    assert uncounted.status == 422
    assert "RateLimit" not in uncounted.headers


# -- by address ------------------------------------------------------------------------------------------------------


async def test_an_address_is_believed_only_from_proxies_of_ours(shopper: Shopper) -> None:
    sku, known = await shopper.offer(), some_address()
    limit = {**NO_CUSTOMER, "PAYMENTS_PLACEMENTS_PER_ADDRESS": "3", "PAYMENTS_TRUSTED_PROXIES": "127.0.0.0/8, fd00::/8"}
    async with another_checkout(shopper.deployment, "checkout-behind", **limit) as instance:
        said = [known, f"{some_address()}, {known}", f"8.8.8.8, {known}", f"{known}, {known}, {known}"]
        answers = [
            await place(shopper, instance.public_url, sku, somebody(), **{"X-Forwarded-For": hops}) for hops in said
        ]
        other = await place(shopper, instance.public_url, sku, somebody(), **{"X-Forwarded-For": some_address()})

    assert [answer.status for answer in answers] == [201, 201, 201, 429]
    assert other.status == 201
    assert other.headers["RateLimit-Policy"] == '"address";q=3;w=60'
    assert states(other)["address"][0] == 2


async def test_a_spoofed_address_is_ignored_where_nobody_is_trusted(shopper: Shopper) -> None:
    sku = await shopper.offer()
    own = ".".join(str(number) for number in (127, *secrets.token_bytes(2), 77))  # nobody else asks from there
    limit = {**NO_CUSTOMER, "PAYMENTS_PLACEMENTS_PER_ADDRESS": "3"}
    connector = aiohttp.TCPConnector(local_addr=(own, 0))
    async with (
        another_checkout(shopper.deployment, "checkout-in-front", **limit) as instance,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        from_there = Shopper(shopper.deployment, http, shopper.owner)
        answers = [
            await place(from_there, instance.public_url, sku, somebody(), **{"X-Forwarded-For": some_address()})
            for _ in range(5)
        ]

    assert [answer.status for answer in answers] == [201, 201, 201, 429, 429]


# -- none, generous, and away ----------------------------------------------------------------------------------------


async def test_each_limit_can_be_switched_off(shopper: Shopper) -> None:
    sku = await shopper.offer()
    async with another_checkout(shopper.deployment, "checkout-unlimited", **(NO_ADDRESS | NO_CUSTOMER)) as instance:
        unlimited = await place(shopper, instance.public_url, sku, somebody())
    by_default = await place(shopper, shopper.deployment.public_url("checkout"), sku, somebody())

    assert (unlimited.status, by_default.status) == (201, 201)
    assert [name for name in unlimited.headers if name.startswith("RateLimit")] == []
    policies = '"address";q=6000;w=60, "customer";q=3000;w=60, "email";q=3000;w=60'
    assert by_default.headers["RateLimit-Policy"] == policies
    assert states(by_default).keys() == {"address", "customer", "email"}


async def test_a_database_that_is_away_holds_nobody_back(shopper: Shopper) -> None:
    sku, email = await shopper.offer(), somebody()
    login = shopper.deployment.provisioned.database_urls["checkout"].split("//")[1].split(":")[0]
    limit = {**NO_ADDRESS, "PAYMENTS_PLACEMENTS_PER_CUSTOMER": "1"}
    async with another_checkout(shopper.deployment, "checkout-away", **limit) as instance:
        await shopper.owner.execute(f'ALTER ROLE "{login}" CONNECTION LIMIT 0')
        try:
            await shopper.owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", login
            )
            answers = [await place(shopper, instance.public_url, sku, email) for _ in range(3)]
        finally:
            await shopper.owner.execute(f'ALTER ROLE "{login}" CONNECTION LIMIT {LOGIN_CONNECTIONS}')

        async def placed() -> Answer | None:
            answer = await place(shopper, instance.public_url, sku, email)
            return None if answer.status == 503 else answer

        back = await eventually(placed, within=30, what="the database is back")

    assert {(answer.status, answer.body["code"]) for answer in answers} == {(503, "database_unavailable")}
    assert back.status == 201, "what could not be counted was not counted"


async def test_counts_that_are_over_are_forgotten(shopper: Shopper) -> None:
    old = "INSERT INTO checkout.request_counts VALUES ('address', $1, 1, now() - interval '1 second')"
    subject = secrets.token_hex(8)
    await shopper.owner.execute(old, subject)

    async def gone() -> bool:
        return await shopper.count("SELECT count(*) FROM checkout.request_counts WHERE subject = $1", subject) == 0

    await eventually(gone, within=30, what="an old count is forgotten")


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "everywhere", "10.0.0.1/8"])
async def test_a_network_that_is_none_stops_the_start(shopper: Shopper, networks: str) -> None:
    with pytest.raises(AssertionError, match="PAYMENTS_TRUSTED_PROXIES"):
        async with another_checkout(shopper.deployment, "checkout-wrong", PAYMENTS_TRUSTED_PROXIES=networks):
            pass
