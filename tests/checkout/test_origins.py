"""Pages of the origins that were allowed may call the API, and pages of others may not read its answers."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from payments_shared.http import parse_origin
from sandbox.services.deployment import Deployment
from tests.support.instances import Instance, another_checkout
from tests.support.shopping import Answer, Json, Shopper
from tests.support.sse import opened

SHOP, LOCAL, FOREIGN = "https://shop.example", "http://localhost:3000", "https://evil.example"
PLACE, ORDERS = "/api/payments/checkout-session", "/api/payments/orders"
ORDER = ORDERS + "/ord_" + "0" * 32
METHODS = {
    PLACE: "OPTIONS, POST",
    ORDERS: "GET, HEAD, OPTIONS",
    ORDER: "GET, HEAD, OPTIONS",
    ORDER + "/cancel": "OPTIONS, POST",
    ORDER + "/recovery": "GET, HEAD, OPTIONS",
    ORDER + "/recover": "OPTIONS, POST",
    ORDER + "/events": "GET, OPTIONS",
    ORDER + "/events-ticket": "OPTIONS, POST",
}
TAKEN = {
    "Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Order-Token",
    "Recovery-Token", "X-Request-Id", "traceparent",
}  # fmt: skip
SHOWN = {"ETag", "Idempotency-Replayed", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(deployment: Deployment) -> AsyncIterator[Instance]:
    """An instance that two origins may call."""
    origins = {"PAYMENTS_ALLOWED_ORIGINS": f"{SHOP}, {LOCAL}"}
    async with another_checkout(deployment, "checkout-shared", **origins) as instance:
        yield instance


async def preflight(shopper: Shopper, url: str, origin: str | None, method: str = "POST") -> Answer:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "idempotency-key,content-type"}
    return await shopper.call("OPTIONS", url, **asked, **({"Origin": origin} if origin else {}))


def listed(answer: Answer, name: str) -> set[str]:
    return set(answer.headers[name].split(", "))


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("origin", [SHOP, LOCAL])
async def test_a_preflight_names_what_the_route_takes(
    shopper: Shopper, shared: Instance, path: str, origin: str
) -> None:
    answer = await preflight(shopper, shared.public_url + path, origin)

    assert (answer.status, answer.body) == (204, {"raw": ""})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Methods"] == METHODS[path]
    assert listed(answer, "Access-Control-Allow-Headers") == TAKEN
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert answer.headers.getall("Vary") == ["Origin"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN, "null", "*", "http://shop.example", "https://shop.example.evil.example", "https://SHOP.example",
        "https://shop.example:8443", "https://a.shop.example", "http://localhost", "", None,
    ],
)  # fmt: skip
async def test_another_origin_is_told_nothing_that_would_let_it_in(
    shopper: Shopper, shared: Instance, origin: str | None
) -> None:
    answers = [
        await preflight(shopper, shared.public_url + PLACE, origin),
        await shopper.call("GET", shared.public_url + ORDER, **({"Origin": origin} if origin is not None else {})),
    ]

    assert [answer.status for answer in answers] == [204, 404]
    for answer in answers:
        assert [name for name in answer.headers if name.startswith("Access-Control-")] == []
        assert answer.headers.getall("Vary") == ["Origin"]


async def test_answers_refusals_and_streams_may_be_read(shopper: Shopper, shared: Instance) -> None:
    sku, key = await shopper.offer(), {"Idempotency-Key": secrets.token_hex(12)}
    body: Json = {"lines": [{"sku": sku, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    page = {"Origin": SHOP}

    placed = await shopper.call("POST", shared.public_url + PLACE, body, **key, **page)
    token = {"Order-Token": placed.body["order_token"]}
    answers = [
        placed,
        await shopper.call("GET", f"{shared.public_url}{ORDERS}/{placed.body['order_id']}", **token, **page),
        await shopper.call("POST", shared.public_url + PLACE, body, **page),
        await shopper.call("GET", shared.public_url + "/api/payments/nowhere", **page),
        await shopper.call("PATCH", shared.public_url + PLACE, **page),
    ]
    url = f"{shared.public_url}{ORDERS}/{placed.body['order_id']}/events"
    async with opened(shopper.http, url, **token, **page) as stream:
        assert stream.answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert stream.answer.headers["Vary"] == "Origin"

    assert [answer.status for answer in answers] == [201, 200, 400, 404, 405]
    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert listed(answer, "Access-Control-Expose-Headers") == SHOWN
        assert answer.headers.getall("Vary") == ["Origin"]


async def test_nobody_is_allowed_unless_somebody_says_so_and_never_at_the_webhook(shopper: Shopper) -> None:
    for url, method in (
        (shopper.deployment.front_door_url + PLACE, 204),
        (shopper.deployment.front_door_url + "/api/payments/webhook", 405),
    ):
        answer = await preflight(shopper, url, SHOP)
        assert answer.status == method
        assert [name for name in answer.headers if name.startswith("Access-Control-")] == []


@pytest.mark.parametrize(
    "text",
    [
        "*", "null", "", "https://*.shop.example", "https://shop.example/", "https://shop.example/shop", "shop.example",
        "https://shop.example:443", "http://shop.example:80", "https://Shop.example", "https://a@shop.example",
        "https://shop.example?x", "ftp://shop.example", "https://shop.example:0", "https://shop.example\n",
    ],
)  # fmt: skip
def test_what_is_no_exact_origin_is_no_setting(text: str) -> None:
    with pytest.raises(ValueError, match="must be an origin"):
        parse_origin(text)


@pytest.mark.parametrize("text", [SHOP, LOCAL, "http://[::1]:8080", "https://10.0.0.1"])
def test_an_exact_origin_is_taken_as_it_is(text: str) -> None:
    assert parse_origin(text) == text


async def test_a_wrong_origin_stops_the_start_and_names_the_variable(shopper: Shopper) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        **shopper.deployment._service_settings("checkout"),
        "PAYMENTS_ALLOWED_ORIGINS": f"{SHOP},*",
    }

    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "checkout", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(child.communicate(), timeout=60)

    assert child.returncode == 78
    assert "PAYMENTS_ALLOWED_ORIGINS_1: " in said.decode()
