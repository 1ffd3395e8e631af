"""A Prometheus that asks a deployment in which people buy all the while: every query of every panel and alert has an
answer."""

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from payments_shared.metrics import DESCRIBED
from sandbox.services.deployment import Deployment
from tests.deploy.caddy import FrontDoor, front_door_before
from tests.deploy.composed import containers, made_variables
from tests.deploy.expressions import asked, metric_of, selectors
from tests.deploy.monitored import ALERTS, PANELS, RECORDED, RULES, RUNBOOKS_URL, Prometheus, prometheus_of, rules
from tests.scenarios.test_refunds import refund
from tests.support.left_out import left_out
from tests.support.shopping import Shopper, eventually

pytestmark = pytest.mark.servers

BUYERS, PAUSE_SECONDS = 3, 0.2
LAST_TIER_MS: Final = 3_000  # of the deployment of tests
TROUBLE: Final[Mapping[str, str]] = {
    "outage:broker": "exists only while the broker is away",
    "outage:database": "exists only while the database is away",
    "payments_certificate_shown": "no door speaks TLS in a deployment without containers",
    "payments_certificate_begins_timestamp_seconds": "the same",
    "payments_certificate_ends_timestamp_seconds": "the same",
    'payments_http_requests_total{route="/api/payments/webhook",status=~"5.."}': "no webhook fails",
    'payments_http_requests_total{route="/api/payments/checkout-session",status=~"5.."}': "no checkout fails",
    'payments_http_requests_total{route!~"/readyz|/healthz|/metrics",status=~"5.."}': "no request fails",
    'payments_stripe_calls_total{outcome=~"unknown|rested"}': "Stripe answers",
    'caddy_http_request_duration_seconds_count{code=~"5..",handler="subroute"}': "the front door finds everybody",
    'caddy_http_response_duration_seconds_count{code=~"5..",handler="subroute"}': "no request fails",
    'ALERTS{alertstate="firing"}': "Prometheus' own, while an alert fires",
}
"""Selectors, or whole metrics, that have no series while all is well."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A Prometheus, and the shopper who was watched."""

    prometheus: Prometheus
    shopper: Shopper

    async def bought_within(self, *, seconds: float) -> int:
        """How many orders are paid meanwhile."""
        sql = "SELECT count(*) FROM checkout.orders WHERE state = 'paid'"
        before = await self.shopper.count(sql)
        await asyncio.sleep(seconds)  # the time that is measured
        return await self.shopper.count(sql) - before

    async def is_known(self, selector: str) -> bool:
        """Whether the metric exists, if not its series: it is described here, recorded by a rule, Prometheus' own, or
        somebody else's, who shows others of it."""
        metric = metric_of(selector)
        name = re.sub(r"_(bucket|count|sum)$", "", metric)
        ours = name in {described.name for described in DESCRIBED.values()} | RECORDED | {"ALERTS"}
        return ours or bool(await self.prometheus.query(metric))

    def is_asked(self, expression: str) -> bool:
        """Whether what an expression asks is within reach: the broker's metrics are not published by every backend."""
        of_broker = any(name in expression for name in ("rabbitmq_", 'job="rabbitmq'))
        return not of_broker or self.shopper.deployment.servers.backend != "docker"

    def say_what_was_not_asked(self, expressions: Iterable[str]) -> None:
        """End the test, loudly, if some of them could not be asked."""
        if missed := [expression for expression in expressions if not self.is_asked(expression)]:
            left_out(f"RabbitMQ's own metrics, which a broker in Docker does not publish: {len(missed)} expressions")


async def buy(shopper: Shopper) -> None:
    """One of everything that a good day has, and a little of what a bad one has."""
    sku = await shopper.offer(stock=50)
    orders = [await shopper.placed(sku, currency=currency) for currency in ("usd", "eur", "jpy", "usd")]
    assert await shopper.pay(orders[0], card="4000000000009995") == 402
    for order in orders:
        assert await shopper.pay(order) == 303
    for order in orders:
        await shopper.until(order, "paid")
    assert (await shopper.checkout(sku, quantity=9999)).status in (409, 422)
    url = shopper.deployment.front_door_url + "/api/payments/webhook"
    assert (await shopper.call("POST", url, {}, **{"Stripe-Signature": "t=1,v1=0"})).status == 400

    async def refunded() -> bool:  # refunds may not have heard of the order yet
        return (await refund(shopper, orders[0], amount_minor=100)).status == 201

    await eventually(refunded, every=0.5, what="a refund is taken")
    await shopper.order(orders[0])


@contextlib.asynccontextmanager
async def people_who_buy(shopper: Shopper) -> AsyncIterator[None]:
    """One order after another of each of them, for as long as the block runs."""
    sku, ended = await shopper.offer(stock=10_000), asyncio.Event()

    async def one() -> None:
        while not ended.is_set():
            await shopper.bought(sku)
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for _ in range(BUYERS):
            group.create_task(one())
        try:
            yield
        finally:
            ended.set()


@contextlib.asynccontextmanager
async def guests_at(door: FrontDoor, shopper: Shopper) -> AsyncIterator[None]:
    """Somebody who reads at the front door, for as long as the block runs."""
    ended = asyncio.Event()

    async def reads() -> None:
        while not ended.is_set():
            assert (await shopper.call("GET", f"{door.url}/api/payments/openapi.json")).status == 200
            await asyncio.sleep(PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        group.create_task(reads())
        try:
            yield
        finally:
            ended.set()


def ways_to(deployment: Deployment) -> dict[str, str]:
    """Who is behind the front door, by where the demo's containers have him."""
    services = ("webhook-ingest", "checkout", "refunds", "notifications")
    found = {f"{name}:8000": urlsplit(deployment.public_url(name)).netloc for name in services}
    return {**found, "shop:8090": urlsplit(deployment.internal_url("shop")).netloc}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    """After people have bought for a while, and while some still do."""
    async with Shopper.of(deployment) as shopper:
        folder, beside = tmp_path_factory.mktemp("prometheus"), tmp_path_factory.mktemp("front-door")
        caddy = containers(made_variables(beside))["front-door"]
        async with (
            front_door_before(caddy, ways_to(shopper.deployment), beside, shopper.http) as door,
            prometheus_of(shopper.deployment, shopper.http, folder, rules(LAST_TIER_MS), door.exposition) as prometheus,
            people_who_buy(shopper),
            guests_at(door, shopper),
        ):
            for _ in range(3):
                await buy(shopper)
                await asyncio.sleep(3)  # two looks between, so that what rises is seen to

            async def measured() -> bool:
                return bool(await prometheus.query("increase(payments_refunded_minor_total[1m]) > 0"))

            await eventually(measured, within=60, what="the refunds in Prometheus")
            yield Watched(prometheus, shopper)


async def silent(watched: Watched, expression: str) -> list[str]:
    """The selectors in an expression that have no series and no reason for that, and those whose metric nobody knows."""
    found = []
    for selector in selectors(expression):
        excused = selector in TROUBLE or metric_of(selector) in TROUBLE
        if excused and await watched.is_known(selector):
            continue
        if not await watched.prometheus.query(selector):
            found.append(selector)
    return found


async def test_every_query_of_every_panel_has_an_answer(watched: Watched) -> None:
    missing: dict[str, object] = {}
    assert (await watched.bought_within(seconds=5)) > 0, "nobody buys any more"
    for name, panel in PANELS.items():
        for target in panel["targets"]:
            expression = asked(target["expr"])
            if not watched.is_asked(expression):
                continue
            if lacking := await silent(watched, expression):
                missing[f"{name} {target['refId']}"] = lacking
                continue
            series = await watched.prometheus.query(expression)
            excused = any(metric_of(one) in TROUBLE for one in selectors(expression))
            if not excused and all(math.isnan(float(one["value"][1])) for one in series):
                missing[f"{name} {target['refId']}"] = f"{len(series)} series without a number: {expression}"

    assert missing == {}
    watched.say_what_was_not_asked(asked(target["expr"]) for panel in PANELS.values() for target in panel["targets"])


async def test_every_selector_of_every_rule_has_series(watched: Watched) -> None:
    missing: dict[str, object] = {}
    for rule in RULES:
        expression = rule["expr"].replace("600000", str(LAST_TIER_MS))
        if watched.is_asked(expression):
            await watched.prometheus.query(expression)
            if lacking := await silent(watched, expression):
                missing[rule.get("alert") or f"{rule['record']} {rule.get('labels')}"] = lacking

    assert missing == {}
    watched.say_what_was_not_asked(rule["expr"] for rule in RULES)


async def test_every_rule_is_judged_without_an_error_and_nobody_is_woken_on_a_good_day(watched: Watched) -> None:
    groups = (await watched.prometheus.ask("rules"))["groups"]
    judged = [rule for group in groups for rule in group["rules"]]

    assert len(judged) == len(RULES)
    assert {rule["name"]: rule.get("lastError") for rule in judged if rule["health"] != "ok"} == {}
    critical = {rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "critical"}
    firing = {rule["name"] for rule in judged if rule["type"] == "alerting" and rule["state"] == "firing"}
    assert firing & critical == set()
    assert "Watchdog" in firing


async def test_an_alert_leads_to_where_the_installation_keeps_its_runbooks(watched: Watched) -> None:
    alerts = (await watched.prometheus.ask("alerts"))["alerts"]

    found = [one["annotations"]["runbook_url"] for one in alerts if one["labels"]["alertname"] == "Watchdog"]

    assert found == [f"{RUNBOOKS_URL}docs/runbooks/alerting.md"]


async def test_a_metric_that_nobody_shows_would_be_noticed(watched: Watched) -> None:
    assert await silent(watched, "sum(rate(payments_orders_totals[5m]))") == ["payments_orders_totals"]
    assert await silent(watched, 'payments_orders_total{outcome="lost"}') == ['payments_orders_total{outcome="lost"}']
    assert not await watched.is_known("payments_dept")
    assert not await watched.is_known("caddy_http_requests_durations_count")


async def test_what_has_no_series_on_a_good_day_is_named_for_a_query_that_there_is(watched: Watched) -> None:
    expressions = [rule["expr"] for rule in RULES] + [t["expr"] for panel in PANELS.values() for t in panel["targets"]]
    named = {selector for expression in expressions for selector in selectors(expression)}

    assert [one for one in TROUBLE if one not in named | {metric_of(selector) for selector in named}] == []


async def test_every_label_is_of_its_set(watched: Watched) -> None:
    """Where all that a label can be is listed."""
    strangers: dict[str, set[str]] = {}
    for described in DESCRIBED.values():
        name = described.name + ("_count" if described.kind == "histogram" else "")
        for label in described.labels:
            if label.values:
                known = f"exported_{label.name}" if label.name == "service" else label.name
                seen = {series["metric"][known] for series in await watched.prometheus.query(name)}
                if seen - set(label.values):
                    strangers[f"{name} {label.name}"] = seen - set(label.values)

    assert strangers == {}
