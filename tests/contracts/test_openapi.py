"""The documents of the HTTP APIs are valid and current, and the public answers are what they say."""

import asyncio
import copy
import importlib
import json
import pkgutil
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from multidict import CIMultiDict
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.http.__main__ import apis, documents
from payments_shared.http.operations import Operation
from sandbox.stripe.delivery import signature
from tests.contracts.snapshots import Json
from tests.support import documented
from tests.support.documented import DOCUMENTS, document, errors
from tests.support.instances import another_checkout
from tests.support.people import Person
from tests.support.shopping import Answer, Shopper, eventually

METHODS, METHOD, DEFAULT = (
    "/api/payments/methods",
    "/api/payments/methods/{method_id}",
    "/api/payments/methods/{method_id}/default",
)
CHECKOUT, ORDERS, ORDER, CANCEL, EVENTS, TICKET, WEBHOOK = (
    "/api/payments/checkout-session",
    "/api/payments/orders",
    "/api/payments/orders/{order_id}",
    "/api/payments/orders/{order_id}/cancel",
    "/api/payments/orders/{order_id}/events",
    "/api/payments/orders/{order_id}/events-ticket",
    "/api/payments/webhook",
)
RECOVERY, RECOVER, UNSUBSCRIBE, QUOTE = (
    "/api/payments/orders/{order_id}/recovery",
    "/api/payments/orders/{order_id}/recover",
    "/api/payments/unsubscribe",
    "/api/payments/quote",
)
ONE_CLICK = "/api/payments/one-click"
JSON = {"Content-Type": "application/json"}
ROOT: Final = Path(__file__).parents[2]


def faults(path: str, method: str, answer: Answer) -> list[str]:
    """What of an answer of the public API the documents do not promise."""
    owner = {WEBHOOK: "webhook-ingest", UNSUBSCRIBE: "notifications"}.get(path, "checkout")
    return documented.faults(owner, method, path, answer)


# -- the documents themselves ----------------------------------------------------------------------------------------


def test_the_documents_are_what_the_code_makes() -> None:
    made = documents()
    kept = {path.name: path.read_text(encoding="utf-8") for path in DOCUMENTS.iterdir()}

    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))

    assert not stale, f"run `make contracts` and review the change of {', '.join(stale)}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_document_is_valid_openapi(service: str) -> None:
    damaged = copy.deepcopy(document(service))
    damaged["paths"]["/healthz"]["get"]["responses"] = []

    assert [error.message for error in OpenAPIV31SpecValidator(document(service)).iter_errors()] == []
    assert list(OpenAPIV31SpecValidator(damaged).iter_errors())


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_has_a_name_of_its_own_and_says_what_it_is_for(service: str) -> None:
    operations = list(apis()[service].operations())

    assert len({operation.id for operation in operations}) == len(operations)
    assert len({(operation.method, operation.template) for operation in operations}) == len(operations)
    for operation in operations:
        assert operation.summary.endswith("."), operation.id
        assert set(re.findall(r"\{([a-z_]+)\}", operation.template)) == {
            given.name for given in operation.parameters if given.where == "path"
        }, operation.id


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_that_was_declared_is_in_the_document(service: str) -> None:
    routes = importlib.import_module(f"{schema_name(service)}.routes")
    inside = pkgutil.walk_packages(getattr(routes, "__path__", []), f"{routes.__name__}.")
    modules = [routes, *(importlib.import_module(found.name) for found in inside)]
    declared = {value.id for one in modules for value in vars(one).values() if isinstance(value, Operation)}

    assert declared <= {operation.id for operation in apis()[service].operations()}


def test_no_route_is_made_but_of_an_operation() -> None:
    sources = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("shared/src/payments_shared/http/*.py")]
    made = re.compile(
        r"\bweb\.(get|head|post|put|patch|delete|view|route|RouteDef)\(|\.add_(get|head|post|put|patch|delete|view)\("
    )

    pages = {source for source in sources if "console" in source.parts}
    found = {source.name for source in sources if source not in pages and made.search(source.read_text("utf-8"))}

    assert found == {"operations.py"}
    assert pages


@pytest.mark.parametrize("service", SERVICES)
def test_the_examples_are_taken(service: str) -> None:
    examples = [
        (operation, operation.body)
        for operation in apis()[service].operations()
        if operation.body is not None and operation.body.example is not None
    ]

    for operation, body in examples:
        schema = {**document(service)["paths"][operation.template][operation.method.lower()]["requestBody"]}
        TypeAdapter(body.model).validate_python(body.example)
        assert errors(service, schema["content"]["application/json"]["schema"], body.example, operation.id) == []


# -- the shop's calls ------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def goods(shopper: Shopper) -> AsyncIterator[str]:
    """A SKU with ten pieces."""
    yield await shopper.offer(stock=10)


@pytest.mark.servers
async def test_a_placed_order_and_its_replay_are_as_documented(shopper: Shopper, goods: str) -> None:
    key = secrets.token_hex(12)

    first = await shopper.checkout(goods, key=key, quantity=2)
    again = await shopper.checkout(goods, key=key, quantity=2)

    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert faults(CHECKOUT, "post", first) == []
    assert faults(CHECKOUT, "post", again) == []


async def _order(shopper: Shopper, order_id: str, **headers: str) -> Answer:
    url = f"{shopper.deployment.front_door_url}/api/payments/orders/{order_id}"
    return await shopper.call("GET", url, **headers)


@pytest.mark.servers
async def test_an_order_is_as_documented_before_and_after_its_payment(shopper: Shopper, goods: str) -> None:
    order = await shopper.placed(goods)
    token = {"Order-Token": order["order_token"]}

    pending = await _order(shopper, order["order_id"], **token)
    unchanged = await _order(shopper, order["order_id"], **token, **{"If-None-Match": pending.headers["ETag"]})
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    await shopper.quiet()
    paid = await _order(shopper, order["order_id"], **token)

    assert (pending.status, unchanged.status, paid.status) == (200, 304, 200)
    assert paid.body["shipment"]["status"] == "created"
    for answer in (pending, unchanged, paid):
        assert faults(ORDER, "get", answer) == []


@pytest.mark.servers
async def test_whoever_may_not_see_an_order_gets_the_documented_404(shopper: Shopper, goods: str) -> None:
    order = await shopper.placed(goods)

    for answer in (
        await _order(shopper, order["order_id"]),
        await _order(shopper, order["order_id"], **{"Order-Token": "0" * 32}),
        await _order(shopper, "ord_" + "0" * 32, **{"Order-Token": order["order_token"]}),
    ):
        assert answer.status == 404
        assert faults(ORDER, "get", answer) == []
    refused = await _order(shopper, order["order_id"], Authorization="Bearer a.b.c")
    assert refused.status == 401
    assert faults(ORDER, "get", refused) == []


@pytest.mark.servers
async def test_a_cancellation_is_as_documented_whether_it_came_in_time_or_not(shopper: Shopper, goods: str) -> None:
    in_time, late = await shopper.placed(goods), await shopper.bought(goods)
    await shopper.until(late, "paid")
    url = f"{shopper.deployment.front_door_url}/api/payments/orders"

    answers = [
        await shopper.call("POST", f"{url}/{order['order_id']}/cancel", **{"Order-Token": in_time["order_token"]})
        for order in (in_time, in_time, late)
    ]
    answers.append(
        await shopper.call("POST", f"{url}/{late['order_id']}/cancel", **{"Order-Token": late["order_token"]})
    )
    answers.append(await shopper.call("POST", f"{url}/{late['order_id']}/cancel", Authorization="Bearer a.b.c"))

    assert [answer.status for answer in answers] == [200, 200, 404, 409, 401]
    assert [faults(CANCEL, "post", answer) for answer in answers] == [[]] * 5


@pytest.mark.servers
async def test_a_stream_of_events_is_as_documented(shopper: Shopper, goods: str) -> None:
    order = await shopper.bought(goods)
    await shopper.until(order, "paid")
    await shopper.quiet()
    base, token = shopper.deployment.front_door_url, {"Order-Token": order["order_token"]}
    url = f"{base}{ORDERS}/{order['order_id']}/events"

    ticket = await shopper.call("POST", f"{url}-ticket", **token)
    stream = await shopper.call("GET", base + ticket.body["path"])
    text = stream.body["raw"]
    last_id = text.partition("id: ")[2].partition("\n")[0]
    answers = [
        Answer(stream.status, text, stream.headers),
        await shopper.call("GET", url, **token, **{"Last-Event-ID": last_id}),
        await shopper.call("GET", url, Authorization="Bearer a.b.c"),
        await shopper.call("GET", url),
        await shopper.call("GET", f"{url}?since=now", **token),
    ]

    assert [answer.status for answer in answers] == [200, 204, 401, 404, 422]
    assert [faults(EVENTS, "get", answer) for answer in answers] == [[]] * 5
    (data,) = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    assert errors("checkout", {"$ref": "#/components/schemas/Order"}, json.loads(data), "data") == []
    assert faults(EVENTS, "get", Answer(200, text.replace("event: order", "event: other"), stream.headers))
    refused = await shopper.call("POST", f"{url}-ticket")
    assert (ticket.status, refused.status) == (201, 404)
    assert [faults(TICKET, "post", answer) for answer in (ticket, refused)] == [[], []]


@pytest.mark.servers
async def test_a_customers_list_is_as_documented(shopper: Shopper, goods: str) -> None:
    url, token = f"{shopper.deployment.front_door_url}/api/payments/orders", shopper.deployment.keys.token
    customer = {"Authorization": f"Bearer {token('sub-' + secrets.token_hex(4), 'customer')}"}
    body = {"lines": [{"sku": goods, "quantity": 1}], "email": "ada@example.com", "currency": "usd"}
    for _ in range(2):
        key = {"Idempotency-Key": secrets.token_hex(12)}
        placed = await shopper.call("POST", shopper.deployment.front_door_url + CHECKOUT, body, **customer, **key)
        assert placed.status == 201

    answers = [
        await shopper.call("GET", url, **customer),
        await shopper.call("GET", f"{url}?limit=1", **customer),
        await shopper.call("GET", f"{url}?limit=x", **customer),
        await shopper.call("GET", url),
        await shopper.call("GET", url, Authorization=f"Bearer {token('sam', 'support')}"),
    ]

    assert [answer.status for answer in answers] == [200, 200, 422, 401, 403]
    assert [len(answer.body["orders"]) for answer in answers[:2]] == [2, 1]
    assert [faults(ORDERS, "get", answer) for answer in answers] == [[]] * 5


@pytest.mark.servers
async def test_what_is_done_with_saved_methods_is_as_documented(shopper: Shopper) -> None:
    url = shopper.deployment.front_door_url + METHODS
    token = shopper.deployment.keys.token("sub-" + secrets.token_hex(4), "customer", email="ada@example.com")
    mine = {"Authorization": f"Bearer {token}"}
    support = {"Authorization": f"Bearer {shopper.deployment.keys.token('sam', 'support')}"}
    key = {"Idempotency-Key": secrets.token_hex(12)}

    added = [await shopper.call("POST", url, {}, **mine, **key) for _ in range(2)]
    form = await shopper.call("POST", url, {"using": "form"}, **mine, **{"Idempotency-Key": secrets.token_hex(12)})
    data = {"number": "4242424242424242", "method": "card", "expiry": "12 / 34"}
    async with shopper.http.post(added[0].body["url"], data=data, allow_redirects=False) as page:
        assert page.status == 303

    async def saved() -> list[Json]:
        return list((await shopper.call("GET", url, **mine)).body["methods"])

    [method] = await eventually(saved, what="the saved method")
    one = f"{url}/{method['id']}"
    answers = [
        (201, METHODS, "post", added[0]),
        (201, METHODS, "post", added[1]),
        (201, METHODS, "post", form),
        (422, METHODS, "post", await shopper.call("POST", url, {"using": "form"}, **mine, **key)),
        (400, METHODS, "post", await shopper.call("POST", url, {}, **mine)),
        (403, METHODS, "post", await shopper.call("POST", url, {}, **support, **key)),
        (200, METHODS, "get", await shopper.call("GET", url, **mine)),
        (401, METHODS, "get", await shopper.call("GET", url)),
        (200, METHOD, "patch", await shopper.call("PATCH", one, {"label": "Mine"}, **mine)),
        (422, METHOD, "patch", await shopper.call("PATCH", one, {"label": ""}, **mine)),
        (404, METHOD, "patch", await shopper.call("PATCH", url + "/pm_no", {"label": "Mine"}, **mine)),
        (200, DEFAULT, "post", await shopper.call("POST", one + "/default", **mine)),
        (404, DEFAULT, "post", await shopper.call("POST", url + "/pm_no/default", **mine)),
        (204, METHOD, "delete", await shopper.call("DELETE", one, **mine)),
        (404, METHOD, "delete", await shopper.call("DELETE", url + "/pm_no", **mine)),
    ]

    assert [answer.status for _, _, _, answer in answers] == [status for status, _, _, _ in answers]
    assert [faults(path, method, answer) for _, path, method, answer in answers] == [[]] * len(answers)


@pytest.mark.servers
async def test_a_quote_is_as_documented(shopper: Shopper, goods: str) -> None:
    url = shopper.deployment.front_door_url + QUOTE
    cart = {"lines": [{"sku": goods, "quantity": 2}], "currency": "usd"}

    plain = await shopper.call("POST", url, cart)
    wishful = await shopper.call("POST", url, {**cart, "coupon": "NOPE", "shipping": {"country": "DE"}})
    odd = await shopper.call("POST", url, {**cart, "shipping": {"country": "Germany"}})
    nowhere = await shopper.call("POST", url, {**cart, "shipping": {"country": "CU"}})

    assert (plain.status, wishful.status, odd.status, nowhere.status) == (200, 200, 422, 422)
    for answer in (plain, wishful, odd, nowhere):
        assert faults(QUOTE, "post", answer) == []


@pytest.mark.servers
async def test_taking_up_an_order_again_is_as_documented(shopper: Shopper, goods: str) -> None:
    order = await shopper.placed(goods)
    token, key = {"Order-Token": order["order_token"]}, secrets.token_hex(12)
    url = f"{shopper.deployment.front_door_url}{ORDERS}/{order['order_id']}"
    too_soon = await shopper.call("GET", f"{url}/recovery", **token)
    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(order)}/expire")
    await shopper.until(order, "expired")
    await shopper.offer(sku=goods, prices={"usd": 2000})

    offers = [
        too_soon,
        await shopper.call("GET", f"{url}/recovery", **token),
        await shopper.call("GET", f"{url}/recovery"),
        await shopper.call("GET", f"{url}/recovery", **{"Recovery-Token": "1." + "0" * 64}),
    ]
    answers = [
        await shopper.call("POST", f"{url}/recover", **token),
        await shopper.call("POST", f"{url}/recover", **token, **{"Idempotency-Key": key}),
        await shopper.call("POST", f"{url}/recover", **token, **{"Idempotency-Key": key}),
        await shopper.call("POST", f"{url}/recover", Authorization="Bearer a.b.c", **{"Idempotency-Key": key}),
    ]

    assert [answer.status for answer in offers] == [409, 200, 404, 404]
    assert [answer.status for answer in answers] == [400, 201, 201, 401]
    assert offers[1].body["changes"][0]["code"] == "price_changed"
    assert [faults(RECOVERY, "get", answer) for answer in offers] == [[]] * 4
    assert [faults(RECOVER, "post", answer) for answer in answers] == [[]] * 4


@pytest.mark.servers
async def test_links_in_mails_are_answered_as_documented(shopper: Shopper, goods: str) -> None:
    order = await shopper.placed(goods, email=f"{secrets.token_hex(4)}@example.com")
    await shopper.stripe("POST", f"/v1/checkout/sessions/{await shopper.session_of(order)}/expire")
    (mail,) = await eventually(lambda: shopper.mails(order, "order_expired"), what="the mail")
    _, text = await shopper.mail_parts(mail)
    link = text[text.index("/api/payments/unsubscribe") :].split()[0]

    for method, path, status in (("GET", link, 200), ("POST", link, 200), ("GET", UNSUBSCRIBE, 404)):
        answer = await shopper.call(method, shopper.deployment.front_door_url + path)
        page = Answer(answer.status, answer.body["raw"], answer.headers)
        assert (answer.status, faults(UNSUBSCRIBE, method.lower(), page)) == (status, [])


@pytest.mark.servers
async def test_purchases_with_one_click_are_as_documented(shopper: Shopper, goods: str) -> None:
    ada = Person(shopper, "ada-" + secrets.token_hex(4))
    card = await ada.saves()
    asked, declined = await ada.saves("4000002760003184"), await ada.saves("4000000000000341")
    poor, other = await ada.saves("4000000000990053"), await ada.saves("5555555555554444")
    support = {"Authorization": f"Bearer {shopper.deployment.keys.token('sam', 'support')}"}
    body = {"lines": [{"sku": goods, "quantity": 1}], "currency": "usd"}
    url, key = shopper.deployment.front_door_url + ONE_CLICK, {"Idempotency-Key": secrets.token_hex(12)}

    answers = [
        (201, await ada.buys(goods, key=key["Idempotency-Key"], method_id=card["id"])),
        (201, await ada.buys(goods, key=key["Idempotency-Key"], method_id=card["id"])),
        (202, await ada.buys(goods, method_id=asked["id"])),
        (202, await ada.buys(goods, method_id=poor["id"], retry_later=True)),
        (
            201,
            await ada.buys(goods, split=[{"method_id": card["id"], "amount_minor": 900}, {"method_id": other["id"]}]),
        ),
        (402, await ada.buys(goods, split=[{"method_id": card["id"], "amount_minor": 900}, {"method_id": poor["id"]}])),
        (422, await ada.buys(goods, split=[{"method_id": card["id"], "amount_minor": 9}, {"method_id": poor["id"]}])),
        (402, await ada.buys(goods, method_id=declined["id"])),
        (404, await ada.buys(goods, method_id="pm_none")),
        (409, await ada.buys(goods, quantity=11)),
        (409, await Person(shopper, "bob-" + secrets.token_hex(4)).buys(goods)),
        (422, await ada.buys(goods, key=key["Idempotency-Key"], method_id=asked["id"])),
        (400, await shopper.call("POST", url, body)),
        (401, await shopper.call("POST", url, body, **key)),
        (403, await shopper.call("POST", url, body, **key, **support)),
    ]

    assert [answer.status for _, answer in answers] == [status for status, _ in answers]
    assert [faults(ONE_CLICK, "post", answer) for _, answer in answers] == [[]] * len(answers)


REFUSALS: Mapping[str, tuple[int, str, str | None, Json]] = {
    "unknown product": (422, "unknown_sku", "/lines/0/sku", {"lines": [{"sku": "NO-SUCH", "quantity": 1}]}),
    "no lines": (422, "validation_failed", "/lines", {"lines": []}),
    "a price": (422, "validation_failed", "/unit_amount_minor", {"unit_amount_minor": 1}),
    "no such coupon": (422, "coupon_invalid", "/coupon", {"coupon": "NOPE"}),
    "not offered": (422, "currency_not_offered", "/currency", {"currency": "kes"}),
    "foreign path": (422, "validation_failed", "/success_path", {"success_path": "https://evil.example/"}),
    "no e-mail": (422, "validation_failed", "/email", {"email": None}),
}


@pytest.mark.servers
@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_is_a_documented_problem_that_points_at_the_field(
    shopper: Shopper, goods: str, name: str
) -> None:
    status, code, pointer, given = REFUSALS[name]

    answer = await shopper.checkout(goods, **given)

    assert (answer.status, answer.body["code"]) == (status, code)
    assert pointer in [error["pointer"] for error in answer.body["errors"]]
    assert faults(CHECKOUT, "post", answer) == []


@pytest.mark.servers
async def test_sold_out_says_what_is_available_as_documented(shopper: Shopper, goods: str) -> None:
    answer = await shopper.checkout(goods, quantity=11)

    assert answer.status == 409
    assert answer.body["available"] == [{"sku": goods, "requested": 11, "available": 10}]
    assert faults(CHECKOUT, "post", answer) == []


@pytest.mark.servers
async def test_refusals_before_the_body_is_read_are_documented_problems(shopper: Shopper, goods: str) -> None:
    url = shopper.deployment.front_door_url + CHECKOUT
    body = {"lines": [{"sku": goods, "quantity": 1}], "email": "ada@example.com"}
    key = {"Idempotency-Key": secrets.token_hex(12)}

    answers = {
        "no key": await shopper.call("POST", url, body),
        "bad token": await shopper.call("POST", url, body, **key, Authorization="Bearer a.b.c"),
        "not JSON": await shopper.call("POST", url, body, **key, **{"Content-Type": "text/plain"}),
        "coded": await shopper.call("POST", url, body, **key, **{"Content-Encoding": "gzip"}),
        "too large": await shopper.call("POST", url, {**body, "coupon": "x" * 70_000}, **key),
    }

    assert [answer.status for answer in answers.values()] == [400, 401, 415, 415, 413]
    for name, answer in answers.items():
        assert faults(CHECKOUT, "post", answer) == [], name


@pytest.mark.servers
async def test_a_key_used_for_another_request_is_the_documented_mismatch(shopper: Shopper, goods: str) -> None:
    key = secrets.token_hex(12)
    await shopper.checkout(goods, key=key)

    answer = await shopper.checkout(goods, key=key, quantity=2)

    assert (answer.status, answer.body["code"]) == (422, "idempotency_mismatch")
    assert faults(CHECKOUT, "post", answer) == []


@pytest.mark.servers
async def test_while_stripe_is_away_the_answer_is_the_documented_503(shopper: Shopper, goods: str) -> None:
    fault = {"kind": "cut_before", "path": "/v1/checkout/sessions", "count": 2}
    await shopper.stripe("POST", "/_sim/faults", fault)

    answer = await shopper.checkout(goods)

    await shopper.stripe("DELETE", "/_sim/faults")
    assert (answer.status, answer.body["code"]) == (503, "stripe_unavailable")
    assert faults(CHECKOUT, "post", answer) == []


@pytest.mark.servers
async def test_while_checkouts_are_stopped_the_answer_is_the_documented_503(shopper: Shopper, goods: str) -> None:
    switch = "/admin/switches/checkouts"
    await shopper.admin("PUT", "checkout", switch, {"state": "stopped", "reason": "a test"})

    answer = await shopper.checkout(goods)

    await shopper.admin("PUT", "checkout", switch, {"state": "open"})
    assert (answer.status, answer.body["code"]) == (503, "checkouts_stopped")
    assert faults(CHECKOUT, "post", answer) == []


@pytest.mark.servers
async def test_whoever_asks_too_often_gets_the_documented_429(shopper: Shopper, goods: str) -> None:
    limits = {"PAYMENTS_PLACEMENTS_PER_CUSTOMER": "1", "PAYMENTS_PLACEMENTS_PER_ADDRESS": "100000"}
    body = {"lines": [{"sku": goods, "quantity": 1}], "email": f"{secrets.token_hex(6)}@example.com"}
    async with another_checkout(shopper.deployment, "checkout-documented", **limits) as instance:
        answers = [
            await shopper.call(
                "POST", instance.public_url + CHECKOUT, body, **{"Idempotency-Key": secrets.token_hex(8)}
            )
            for _ in range(2)
        ]

    assert [answer.status for answer in answers] == [201, 429]
    assert all({"RateLimit", "RateLimit-Policy"} <= answer.headers.keys() for answer in answers)
    assert [faults(CHECKOUT, "post", answer) for answer in answers] == [[], []]


# -- Stripe's call ---------------------------------------------------------------------------------------------------


def _event(**given: Any) -> bytes:  # Any: JSON
    event = {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": "customer.created",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }
    return json.dumps(event | given).encode()


async def _deliver(shopper: Shopper, body: bytes, **headers: str) -> Answer:
    url = shopper.deployment.front_door_url + WEBHOOK
    async with shopper.http.post(url, data=body, headers={**JSON, **headers}) as answer:
        return Answer(answer.status, await answer.json(content_type=None), answer.headers.copy())


@pytest.mark.servers
async def test_the_webhooks_answers_are_as_documented(shopper: Shopper) -> None:
    secret, body, now = shopper.deployment.secrets["webhook"], _event(), int(time.time())
    good = {"Stripe-Signature": signature(body, secret, now)}
    large = _event(filler="x" * 300_000)

    answers = {
        200: await _deliver(shopper, body, **good),
        400: await _deliver(shopper, body, **{"Stripe-Signature": "t=1,v1=00"}),
        415: await _deliver(shopper, body, **good, **{"Content-Type": "text/plain"}),
        413: await _deliver(shopper, large, **{"Stripe-Signature": signature(large, secret, now)}),
    }

    for status, answer in answers.items():
        assert answer.status == status
        assert faults(WEBHOOK, "post", answer) == []


@pytest.mark.servers
async def test_a_webhook_without_a_length_is_the_documented_411(shopper: Shopper) -> None:
    port = shopper.deployment.public["webhook-ingest"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    writer.write((head + "Connection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n").encode())

    raw = await asyncio.wait_for(reader.read(), timeout=15)
    writer.close()

    lines, _, body = raw.decode().partition("\r\n\r\n")
    status, *fields = lines.split("\r\n")
    answer = Answer(int(status.split(" ")[1]), json.loads(body), _as_headers(fields))
    assert answer.status == 411
    assert faults(WEBHOOK, "post", answer) == []


def _as_headers(fields: list[str]) -> "CIMultiDict[str]":
    pairs = (field.partition(": ") for field in fields)
    return CIMultiDict((name, value) for name, _, value in pairs)
