"""Where spans are recorded, those of one purchase lead from the shop to the last mail without a gap. They tell, as do
the lines of the logs, which order and message they are about, and nothing personal or secret."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from yarl import URL

from payments_shared.clock import utc_now
from payments_shared.contracts.catalog import SERVICES
from payments_shared.contracts.checkout import OrderUnheld
from payments_shared.ids import external_id, new_id
from payments_shared.messaging import Envelope
from payments_shared.messaging.envelope import encode, routing_key
from payments_shared.messaging.publisher import Outcome, Outgoing
from payments_shared.messaging.topology import DEAD_LETTER_EXCHANGE, EVENTS_EXCHANGE
from sandbox.services import warm
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.sandbox.test_shop import a_browser, on_shelf, ordered
from tests.scenarios.test_refunds import known_once, refund
from tests.support.collector import Collector, Span, collecting
from tests.support.shopping import Json, Shopper, eventually
from tests.support.speaking import speaking

pytestmark = pytest.mark.servers

PLACED = [
    ("shop", "POST /shop/checkout"),
    ("shop", "POST"),
    ("checkout", "POST /api/payments/checkout-session"),
]
HEARD = [
    ("webhook-ingest", "POST /api/payments/webhook"),
    ("webhook-ingest", "publish stripe.checkout.session.completed"),
    ("checkout", "process stripe.checkout.session.completed"),
    ("checkout", "publish order.paid.v1"),
]
DELIVER = "notifications.cmd.deliver.v1"
FOUR = ("inventory", "fulfillment", "refunds", "notifications")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(servers: Servers, collector: Collector) -> AsyncIterator[Deployment]:
    """All services, whose spans go to `collector`."""
    extra = {"PAYMENTS_OTLP_ENDPOINT": collector.url, "PAYMENTS_LOG_LEVEL": "DEBUG"}
    async with deploy(servers, namespace="spans" + secrets.token_hex(3), extra=extra) as running:
        yield running


def _lines(deployment: Deployment, service: str, event: str) -> list[Json]:
    """What a service logged of an event."""
    text = deployment.children[service].log.read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def _bought_in_the_shop(shopper: Shopper) -> Json:
    sku = await on_shelf(shopper)
    url = shopper.deployment.shop_url
    async with a_browser() as browser:
        order_id, hosted = await ordered(browser, url, sku)
        token = browser.cookie_jar.filter_cookies(URL(url))[order_id].value.partition(".")[0]
    order = {"order_id": order_id, "order_token": token, "checkout_url": hosted}
    assert await shopper.pay(order) == 303
    await shopper.until(order, "paid")
    return order


async def _settled(shopper: Shopper, order: Json) -> None:
    async def probe() -> bool:
        return await shopper.effects(order) == (1, 1, 1, 1)

    await eventually(probe, within=60, what="all that follows from a purchase")
    await shopper.quiet()


async def _complete(collector: Collector) -> None:
    """Wait until every span is here: services send them once a second."""

    async def probe() -> bool:
        return bool(collector.spans) and not collector.gaps()

    await eventually(probe, within=15, every=0.3, what="the collector has every span that another one names")


def _about(collector: Collector, order: Json, service: str, name: str) -> Span:
    key = "messaging.message.conversation_id"
    (found,) = [one for one in collector.named(service, name) if one.attributes[key] == order["order_id"]]
    return found


def _stored_by(collector: Collector, received: Span) -> list[str]:
    """The statements that stored what came with a request: below it, or, for many at once, in a span linked with it."""
    alike = {(received.trace, received.id), *received.links}
    (storing,) = [
        span
        for span in collector.named("webhook-ingest", "store events")
        if (span.trace, span.parent) in alike or (span.trace, span.id) in alike
    ]
    return [span.name for span in collector.trace_of(storing) if span.parent == storing.id]


async def test_the_spans_of_a_purchase_lead_from_the_shop_to_the_mail_without_a_gap(
    traced: Deployment, collector: Collector
) -> None:
    async with Shopper.of(traced) as shopper:
        order = await _bought_in_the_shop(shopper)
        await _settled(shopper, order)
    await asyncio.sleep(2.5)
    await _complete(collector)

    placing = _about(collector, order, "checkout", "publish order.placed.v1")
    asked = {span.what: collector.path_to(span) for span in collector.trace_of(placing)}
    assert asked["checkout", "publish order.placed.v1"] == [*PLACED, ("checkout", "publish order.placed.v1")]
    assert asked["inventory", "POST /internal/reservations"] == [
        *PLACED,
        ("checkout", "POST"),
        ("inventory", "POST /internal/reservations"),
    ]
    (stripe,) = [what for what in asked if what[1].startswith("stripe ")]
    assert asked[stripe] == [*PLACED, stripe]
    transactions = [span for span in collector.trace_of(placing) if span.name == "transaction"]
    assert {span.service for span in transactions} >= {"checkout", "inventory", "operations"}
    assert any("insert_order" in span.attributes["payments.statements"] for span in transactions)

    paying = _about(collector, order, "checkout", "publish order.paid.v1")
    told = {span.what: collector.path_to(span) for span in collector.trace_of(paying)}
    assert told["checkout", "publish order.paid.v1"] == HEARD
    for service in FOUR:
        assert told[service, "process order.paid.v1"] == [*HEARD, (service, "process order.paid.v1")]
        assert {span.service for span in collector.trace_of(paying) if span.name == "transaction"} >= {service}
    assert told["notifications", "smtp send"] == [
        *HEARD,
        ("notifications", "process order.paid.v1"),
        ("notifications", f"publish {DELIVER}"),
        ("notifications", f"process {DELIVER}"),
        ("notifications", "smtp send"),
    ]
    (received,) = [span for span in collector.trace_of(paying) if span.what == HEARD[0]]
    assert _stored_by(collector, received) == ["store_events"]

    assert paying.trace != placing.trace, "what Stripe begins is a trace of its own"
    hearing = _about(collector, order, *HEARD[2])
    of_order = {trace for (trace, _), why in hearing.links.items() if why == "order"}
    assert of_order == {placing.trace}, "which is linked with that of the order"
    assert not [span for span in collector.trace_of(paying) + collector.trace_of(placing) if span.failed]


async def test_every_line_about_an_order_names_it_with_its_message_its_request_and_its_trace(
    traced: Deployment, collector: Collector
) -> None:
    async with Shopper.of(traced) as shopper:
        sku = await shopper.offer()
        await shopper.stripe(
            "POST", "/_sim/faults", {"kind": "cut_before", "path": "/v1/checkout/sessions", "count": 2}
        )
        key = secrets.token_hex(12)
        first = await shopper.checkout(sku, key=key)
        await shopper.stripe("DELETE", "/_sim/faults")
        order = (await shopper.checkout(sku, key=key)).body
        assert await shopper.pay(order) == 303
        await shopper.until(order, "paid")
        await _settled(shopper, order)
        await shopper.order(order)
        await asyncio.sleep(0.5)  # requests are logged together, a moment later

    assert first.status == 503, first
    about = {"order_id": order["order_id"]}
    for service in (*FOUR, "checkout", "operations"):
        settled = [line for line in _lines(traced, service, "message.settled") if about.items() <= line.items()]
        assert settled, service
        assert all(line["message_id"] and line["trace_id"] for line in settled), service
    requests = {
        (service, line["route"])
        for service in ("checkout", "inventory")
        for line in _lines(traced, service, "http.request")
        if about.items() <= line.items() and line["request_id"] and line["trace_id"]
    }
    assert requests >= {
        ("checkout", "/api/payments/checkout-session"),
        ("checkout", "/api/payments/orders/{order_id}"),
        ("inventory", "/internal/reservations"),
    }
    (unknown,) = [line for line in _lines(traced, "checkout", "stripe.unknown") if about.items() <= line.items()]
    (asked,) = [
        line for line in _lines(traced, "checkout", "http.request") if line["request_id"] == unknown["request_id"]
    ]
    assert (asked["status"], asked["trace_id"]) == (503, unknown["trace_id"])
    assert first.headers["X-Request-Id"] == unknown["request_id"]


async def test_spans_and_logs_of_a_purchase_and_its_refund_tell_nothing_personal_or_secret(
    traced: Deployment, collector: Collector
) -> None:
    canary = "c4n4ry" + secrets.token_hex(4)
    async with Shopper.of(traced) as shopper:
        sku = await shopper.offer()
        order = await shopper.placed(sku, email=f"{canary}@example.com", metadata={"remark": canary})
        form = {"number": "4242424242424242", "email": f"{canary}@example.com", "name": canary, "method": "card"}
        async with shopper.http.post(order["checkout_url"], data=form, allow_redirects=False) as answer:
            assert answer.status == 303
        await shopper.until(order, "paid")
        await _settled(shopper, order)
        asked = await refund(shopper, order, note=f"for {canary}", reason="goodwill")
        assert asked.status == 201, asked
        await known_once(shopper, asked.body["refund_id"], "succeeded")
        await shopper.quiet()
    await asyncio.sleep(2.5)
    await _complete(collector)

    made = traced.provisioned
    urls = [*made.database_urls.values(), *made.amqp_urls.values(), *made.management_urls.values()]
    passwords = {str(URL(url).password) for url in urls}
    forbidden = {canary, "4242424242424242", order["order_token"], *traced.secrets.values(), *passwords}
    logs = {name: child.log.read_bytes() for name, child in traced.children.items() if name in SERVICES}
    for place, told in {**logs, "spans": b"".join(collector.raw)}.items():
        assert order["order_id"].encode() in told or place in ("webhook-ingest", "shop"), place
        assert not [word for word in forbidden if word.encode() in told], place
    assert _about(collector, order, "refunds", "publish refund.succeeded.v1").parent
    asking = [line for line in _lines(traced, "refunds", "http.request") if line["route"] == "/api/payments/refund"]
    assert order["order_id"] in {line.get("order_id") for line in asking}


async def test_a_message_that_fails_leads_to_its_dead_letter(traced: Deployment, collector: Collector) -> None:
    (span, *_) = collector.named("checkout", "publish order.paid.v1")
    order_id = new_id()
    envelope = Envelope(
        new_id(), "payments/checkout", OrderUnheld.TYPE, "tests", utc_now(), "tests",
        correlationid=external_id("ord", order_id), traceparent=f"00-{span.trace}-{span.id}-01",
    )  # fmt: skip
    body, key = encode(envelope, b'{"order_id": 7}'), routing_key(envelope.type, envelope.partitionkey)
    async with speaking(traced, "checkout") as publisher:
        told = await publisher.publish(
            Outgoing(envelope.id, envelope.type, EVENTS_EXCHANGE, key, body, {}, envelope.correlationid)
        )
    assert told is Outcome.CONFIRMED

    async def kept() -> list[Json]:
        lines = _lines(traced, "operations", "dead_letter.kept")
        return [line for line in lines if line["message_id"] == str(envelope.id) and line["dead"] == "fulfillment"]

    (line, *_) = await eventually(kept, within=30, what="the dead letter is kept")
    await asyncio.sleep(2.5)
    await _complete(collector)

    assert (line["order_id"], line["trace_id"]) == (envelope.correlationid, span.trace)
    (letter,) = [
        one
        for one in collector.named("fulfillment", f"publish {envelope.type}")
        if one.attributes["messaging.message.id"] == str(envelope.id)
    ]
    assert letter.attributes["messaging.destination.name"] == DEAD_LETTER_EXCHANGE
    paths = [collector.path_to(one)[-3:] for one in collector.named("operations", "keep dead letter")]
    assert [span.what, letter.what, ("operations", "keep dead letter")] in paths
    (failed,) = [
        one
        for one in collector.named("fulfillment", f"process {envelope.type}")
        if one.failed and one.attributes["messaging.message.id"] == str(envelope.id)
    ][-1:]
    assert failed.trace == span.trace
    assert failed.attributes["error.type"] == "ValidationError"


async def test_a_collector_that_takes_nothing_costs_spans_and_no_order(
    traced: Deployment, collector: Collector
) -> None:
    async with Shopper.of(traced) as shopper:
        before = await _spans(shopper, "failed")
        collector.refusing = True
        order = await shopper.bought(await shopper.offer())
        await shopper.until(order, "paid")
        await _settled(shopper, order)

        async def counted() -> bool:
            return await _spans(shopper, "failed") > before

        await eventually(counted, within=15, what="spans that nobody took are counted")
        collector.refusing = False


async def _spans(shopper: Shopper, outcome: str) -> float:
    answer = await shopper.call("GET", shopper.deployment.internal_url("checkout") + "/metrics")
    (line,) = [
        one for one in answer.body["raw"].splitlines() if one.startswith(f'payments_spans_total{{outcome="{outcome}"}}')
    ]
    return float(line.rpartition(" ")[2])


async def test_without_an_endpoint_a_process_imports_nothing_of_it(
    traced: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "_warm", None)  # what is forked has imported before, and tells nothing of it
    told = {}
    for endpoint in ("", traced.extra["PAYMENTS_OTLP_ENDPOINT"]):
        assert traced.stop("inventory") == 0
        before = len(traced.children["inventory"].log.read_bytes())
        traced.start("inventory", PAYMENTS_OTLP_ENDPOINT=endpoint, PYTHONPROFILEIMPORTTIME="1")
        traced.wait_ready("inventory")
        told[bool(endpoint)] = traced.children["inventory"].log.read_bytes()[before:].decode()

    assert "opentelemetry" in told[True]
    assert "payments_shared.tracing" in told[False]
    assert not any(name in told[False] for name in ("opentelemetry", "payments_shared.telemetry", "google.protobuf"))
