"""What Home says of troubles that no dead letter tells of: states of the services, and Prometheus' alerts."""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from operations.decide import watching as decide
from operations.gateway.alerts import Alerts, read
from operations.gateway.queues import Queues
from operations.gateway.services import Services
from operations.gateway.services import read as read_exposition
from operations.handlers.watching import Watching
from operations.model.alerts import Alert
from operations.model.doors import DoorState
from operations.model.services import ServiceState
from sandbox.services.children import clean_environment, free_ports, spawn
from sandbox.services.resolver import Servers
from tests.deploy.monitored import RULES_FILE
from tests.deploy.rendered import quickened
from tests.deploy.tools import program
from tests.operations.desk import desk_at
from tests.operations.visitors import Page, Visitor
from tests.support.shopping import eventually

NOW = datetime(2026, 8, 26, 12, tzinfo=UTC)
PART = {"HX-Request": "true"}
ROW = {
    "labels": {"alertname": "ServiceDown", "severity": "critical", "service": "checkout"},
    "annotations": {"summary": "checkout does not answer at all.", "runbook_url": "docs/runbooks/readiness.md"},
    "state": "firing",
    "activeAt": "2026-08-26T11:58:00.123456789Z",
    "value": "1e+00",
}


def alert(name: str, severity: str = "critical", *, fires: bool = True, minutes: int = 5) -> Alert:
    return Alert(name, severity, fires, NOW - timedelta(minutes=minutes), f"{name}.", "")


# -- what it means ---------------------------------------------------------------------------------------------------


def test_what_a_service_says_of_stripe_its_refunds_and_the_doors_is_read() -> None:
    text = """
payments_stripe_breaker_open 1.0
payments_amqp_blocked 1.0
payments_refunds_unanswered 3.0
payments_refunds_unanswered_oldest_seconds 9999.0
payments_certificate_shown{door="shop"} 0.0
payments_certificate_begins_timestamp_seconds{door="shop"} 1.7e+09
payments_certificate_ends_timestamp_seconds{door="shop"} 1.8e+09
payments_certificate_shown{door="console"} 1.0
payments_secret_created_timestamp_seconds{secret="stripe_api_key"} 1.7e+09
"""

    state = read_exposition("refunds", text)

    assert (state.stripe_away, state.broker_blocks, state.refunds_unanswered) == (True, True, 3)
    begins, ends = (datetime.fromtimestamp(at, UTC) for at in (1.7e9, 1.8e9))
    assert state.doors == (DoorState("console", shown=True), DoorState("shop", shown=False, begins=begins, ends=ends))
    assert state.secrets_made == {"stripe_api_key": begins}


def test_states_that_wake_people_are_said_in_words() -> None:
    life = timedelta(days=90)
    doors = (
        DoorState("new", shown=True, begins=NOW - life, ends=NOW + life),
        DoorState("old", shown=True, begins=NOW - life, ends=NOW + timedelta(days=10)),
        DoorState("over", shown=True, begins=NOW - life, ends=NOW),
        DoorState("shut", shown=False),
    )
    made = {"stripe_api_key": NOW - timedelta(days=366), "stripe_webhook_secrets": NOW - timedelta(days=364)}
    states = [
        ServiceState("checkout", answers=True, broker_blocks=True, secrets_made=made),
        ServiceState("refunds", answers=True, broker_blocks=True, stripe_away=True, refunds_unanswered=2),
        ServiceState("operations", answers=True, doors=doors),
    ]

    assert decide.warnings(states, NOW) == [
        "RabbitMQ takes no messages: it runs out of disk or memory.",
        "stripe_api_key of checkout is in use since 2025-08-25, for over a year.",
        "refunds has stopped calling Stripe, which does not answer.",
        "Stripe has said nothing for a quarter of an hour of refunds: 2 of them.",
        "The certificate of old was not renewed: it ends on 2026-09-05.",
        "The certificate of over has ended, and nobody comes in.",
        "The door shut cannot be reached.",
    ]


def test_alerts_for_people_that_fire_are_told_the_most_urgent_and_oldest_first() -> None:
    given = [
        alert("OutboxOld", "warning", minutes=90),
        alert("Watchdog", "none", minutes=9000),
        alert("ServiceDown"),
        alert("BrokerDown", fires=False),
        alert("DatabaseDown", minutes=7),
    ]

    assert [one.name for one in decide.firing(given)] == ["DatabaseDown", "ServiceDown", "OutboxOld"]


def test_an_alert_is_read_as_prometheus_tells_it() -> None:
    since = datetime(2026, 8, 26, 11, 58, 0, 123456, tzinfo=UTC)
    summary, runbook = "checkout does not answer at all.", "docs/runbooks/readiness.md"

    assert read(ROW) == Alert("ServiceDown", "critical", fires=True, since=since, summary=summary, runbook=runbook)


# -- asking ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def prometheus_saying(
    *, status: int = 200, body: str = "", seconds: float = 0
) -> AsyncIterator[tuple[str, list[str]]]:
    """A server in Prometheus' place: its address, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        await asyncio.sleep(seconds)  # how slow it is
        return web.Response(status=status, text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/")), asked
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def watching_alerts(url: str) -> AsyncIterator[Watching]:
    alerts = Alerts(url)
    try:
        yield Watching(Services({}), Queues(None, "/"), alerts)
    finally:
        await alerts.close()


async def test_however_many_look_prometheus_is_asked_once() -> None:
    body = json.dumps({"status": "success", "data": {"alerts": [ROW]}})
    async with prometheus_saying(body=body, seconds=0.2) as (url, asked), watching_alerts(url) as watching:
        told = await asyncio.gather(*(watching.alerts() for _ in range(1000)))

    assert {tuple(one.name for one in alerts or ()) for alerts in told} == {("ServiceDown",)}
    assert asked == ["/api/v1/alerts"]


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, ""), (200, "no JSON"), (200, "{}"), (200, '{"data": {"alerts": [{"state": "firing"}]}}'), (200, "[]")],
)
async def test_what_is_no_answer_is_told_as_none(status: int, body: str) -> None:
    async with prometheus_saying(status=status, body=body) as (url, _), watching_alerts(url) as watching:
        assert await watching.alerts() is None


async def test_a_prometheus_that_does_not_answer_holds_nobody_up_for_long() -> None:
    async with prometheus_saying(seconds=30) as (url, asked), watching_alerts(url) as watching:
        began = time.monotonic()
        told = await asyncio.gather(*(watching.alerts() for _ in range(50)))

    assert set(told) == {None}
    assert time.monotonic() - began < 6
    assert len(asked) == 1


# -- on the page -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def prometheus_at(port: int, operations_port: int, folder: Path) -> Iterator[None]:
    """A Prometheus that asks operations alone, every second, and judges by the deployed rules on a faster day."""
    (folder / "rules.yaml").write_text(quickened(RULES_FILE.read_text(encoding="utf-8"), 15))
    labels = {"service": "operations"}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "external_labels": {"runbooks": "https://runbooks.example/"}},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "payments", "static_configs": [{"targets": [f"127.0.0.1:{operations_port}"], "labels": labels}]}
        ],
    }  # fmt: skip
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [
        program("prometheus", package="prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    child = spawn("prometheus", command, log=folder / "prometheus.log", environment=clean_environment())
    try:
        yield
    finally:
        child.stop(timeout_seconds=20)


@pytest.mark.servers
@pytest.mark.timeout(180)
async def test_home_tells_what_no_dead_letter_tells(servers: Servers, tmp_path: Path) -> None:
    port, shut = free_ports(2)
    extra = {
        "PAYMENTS_PROMETHEUS_URL": f"http://127.0.0.1:{port}",
        "PAYMENTS_WATCHED_DOORS": f"front-door=127.0.0.1:{shut}",
    }
    names, mark = ("identity", "operations"), "t" + secrets.token_hex(4)
    async with desk_at(servers, tmp_path, names=names, mark=mark, **extra) as desk:
        vera = Visitor(desk.deployment, desk.http)
        await vera.sign_in("vera")
        home = await vera.look("/console")
        assert (home.status, 'hx-get="/console/alerts"' in home.text) == (200, True)
        assert "Prometheus does not answer" in (await vera.look("/console/alerts", **PART)).plain

        with prometheus_at(port, desk.deployment.ports["operations"], tmp_path):

            async def told() -> Page | None:
                page = await vera.look("/console/alerts", **PART)
                return page if "The door front-door cannot be reached." in page.plain else None

            page = await eventually(told, within=90, every=0.5, what="the alert on Home")
            assert page is not None
            alone = await vera.look("/console/alerts")

        services = await vera.look("/console/services", **PART)
    assert "critical The door front-door cannot be reached." in page.plain
    assert 'href="https://runbooks.example/docs/runbooks/certificates.md"' in page.text
    assert "Watchdog" not in page.plain
    assert ("<h1>Alerts</h1>" in alone.text, "<h1>" in page.text) == (True, False)
    assert "The door front-door cannot be reached." in services.plain


@pytest.mark.servers
async def test_where_no_prometheus_is_named_home_does_not_speak_of_alerts(servers: Servers, tmp_path: Path) -> None:
    names, mark = ("identity", "operations"), "t" + secrets.token_hex(4)
    async with desk_at(servers, tmp_path, names=names, mark=mark) as desk:
        vera = Visitor(desk.deployment, desk.http)
        await vera.sign_in("vera")

        home, alerts = await vera.look("/console"), await vera.look("/console/alerts")

    assert (home.status, "Alerts" in home.plain) == (200, False)
    assert alerts.status == 404
