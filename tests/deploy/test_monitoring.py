"""Alerts and dashboard speak of what really exists, fire when they should, and lead to a page that helps."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from typer.main import get_command

from operations.payctl import app as payctl
from payments_shared.contracts.catalog import SERVICES
from sandbox.services.deployment import Deployment
from tests.deploy.composed import DEPLOY, ROOT
from tests.deploy.expressions import Exposed, selectors
from tests.deploy.tools import promtool
from tests.support.shopping import Shopper, eventually

RULES: list[dict[str, Any]] = [  # Any: YAML
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/payments.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in RULES},
    **{f"panel {p['title']} {t['refId']}": t["expr"] for p in PANELS for t in p["targets"]},
}
RABBITMQ = "rabbitmq_detailed_queue_messages_ready"


# -- rules -----------------------------------------------------------------------------------------------------------


def test_promtool_accepts_rules_and_configuration(tmp_path: Path) -> None:
    damaged = tmp_path / "rules.yaml"
    damaged.write_text((DEPLOY / "prometheus/rules.yaml").read_text().replace("by (service", "by service", 1))

    config = promtool("check", "config", str(DEPLOY / "prometheus/prometheus.yaml"))

    assert config.returncode == 0, config.stderr
    assert f"{len(RULES)} rules found" in config.stdout
    assert promtool("check", "rules", str(damaged)).returncode != 0


def _fired(folder: Path, rules: str) -> tuple[int, str]:
    (folder / "rules.yaml").write_text(rules)
    shutil.copy(Path(__file__).with_name("rules_test.yaml"), folder)
    done = promtool("test", "rules", "rules_test.yaml", cwd=folder)
    return done.returncode, done.stdout + done.stderr


def test_every_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    status, output = _fired(tmp_path, (DEPLOY / "prometheus/rules.yaml").read_text())

    tried = {
        case["alertname"]
        for test in yaml.safe_load(Path(__file__).with_name("rules_test.yaml").read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert status == 0, output
    assert tried == {rule["alert"] for rule in RULES}


def test_a_rule_with_another_threshold_would_be_noticed(tmp_path: Path) -> None:
    status, output = _fired(tmp_path, (DEPLOY / "prometheus/rules.yaml").read_text().replace("> 60\n", "> 600\n", 1))

    assert status != 0
    assert "OutboxOld" in output


# -- runbooks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_leads_to_a_page_that_speaks_of_it(rule: dict[str, Any]) -> None:
    page = (ROOT / rule["annotations"]["runbook_url"]).read_text(encoding="utf-8")
    index = (ROOT / "docs/runbooks/README.md").read_text(encoding="utf-8")

    assert rule["labels"]["severity"] in ("warning", "critical")
    assert f"`{rule['alert']}`" in page or rule["alert"] in index
    assert rule["alert"] in index
    assert "**Means.**" in page
    assert "**Money.**" in page
    assert "**Do.**" in page


def _pages() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs/runbooks").glob("*.md"))


def _options() -> dict[str, set[str]]:
    """The options of each command of payctl."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        if inner := getattr(command, "commands", None):
            for name, child in inner.items():
                walk(child, f"{path} {name}".strip())
        else:
            found[path] = {option for parameter in command.params for option in parameter.opts}

    walk(get_command(payctl), "")
    return found


def test_runbooks_name_only_commands_and_options_that_exist() -> None:
    commands = _options()
    groups = {name.partition(" ")[0] for name in commands if " " in name}
    named = {" ".join(found) for found in re.findall(r"\bpayctl ([a-z]+)(?: ([a-z]+))?\b", _pages())}
    said = re.findall(r"^payctl (.*)", _pages(), re.MULTILINE)

    assert {name if name.partition(" ")[0] in groups else name.partition(" ")[0] for name in named} <= commands.keys()
    assert len(said) > 6
    for line in said:
        words = line.split()
        command = " ".join(words[:2] if words[0] in groups else words[:1])
        assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= commands[command], line


@pytest.mark.servers
async def test_runbooks_name_only_metrics_that_exist(shopper: Shopper) -> None:
    names = (await exposed_by(shopper)).names
    named = set(re.findall(r"\bpayments_[a-z_]+[a-z]", _pages())) - {"payments_shared"}

    assert len(named) > 8
    assert [name for name in named if not any(known.startswith(name) for known in names)] == []


# -- what is exposed -------------------------------------------------------------------------------------------------


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, url
        return await answer.text()


async def _broker_metrics(http: aiohttp.ClientSession, deployment: Deployment) -> str:
    """The broker's own exposition, as Prometheus is told to ask for it."""
    parts = urlsplit(deployment.servers.management_url)
    login = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    async with http.get(f"http://{parts.hostname}:{parts.port}/api/overview", headers=login) as answer:
        listeners = (await answer.json())["listeners"]
    port = next(listener["port"] for listener in listeners if listener["protocol"] == "http/prometheus")
    query = "family=queue_coarse_metrics&family=queue_consumer_count"
    return await _text(http, f"http://{parts.hostname}:{port}/metrics/detailed?{query}")


async def exposed_by(shopper: Shopper) -> Exposed:
    """What all services expose after a purchase, with the broker's names and those that Prometheus makes."""
    order = await shopper.bought(await shopper.offer(stock=3))
    await shopper.until(order, "paid")
    await shopper.quiet()
    found = Exposed(names={"up", "ALERTS", RABBITMQ})
    for service in SERVICES:
        found.add(await _text(shopper.http, shopper.deployment.internal_url(service) + "/metrics"))
    return found


@pytest.mark.servers
async def test_every_metric_and_label_of_alerts_and_dashboard_exists_in_a_running_service(shopper: Shopper) -> None:
    exposed = await exposed_by(shopper)

    missing = {name: lacking for name, text in EXPRESSIONS.items() if (lacking := exposed.missing(text))}

    assert missing == {}
    assert len(EXPRESSIONS) > 40
    assert exposed.missing("sum by (planet) (payments_outbox_depth)") == []  # its only sample has no labels
    assert exposed.missing("payments_outbox_dept") == ["no metric payments_outbox_dept"]
    assert exposed.missing('payments_http_requests_total{state="500"}') == [
        "no label state on payments_http_requests_total"
    ]


@pytest.mark.servers
async def test_the_brokers_metric_exists_per_queue(shopper: Shopper) -> None:
    if shopper.deployment.servers.backend == "docker":  # its port is not published; the image is not ours to test
        used = {name for text in EXPRESSIONS.values() for name, _ in selectors(text) if name.startswith("rabbitmq")}
        assert used == {RABBITMQ}
        return
    vhost = shopper.deployment.provisioned.vhost
    wanted = re.compile(rf'^{RABBITMQ}{{vhost="{vhost}",queue="checkout.events"}} \d+$', re.MULTILINE)

    async def seen() -> bool:
        return bool(wanted.search(await _broker_metrics(shopper.http, shopper.deployment)))

    # The broker counts at intervals.
    await eventually(seen, within=30, what="the depth of checkout.events among the broker's metrics")


@pytest.mark.servers
async def test_readiness_is_a_metric_for_each_check(shopper: Shopper) -> None:
    url = shopper.deployment.internal_url("checkout")

    lines = (await _text(shopper.http, url + "/metrics")).splitlines()

    ready = {line for line in lines if line.startswith("payments_ready{")}
    assert ready == {
        f'payments_ready{{check="{check}"}} 1.0'
        for check in ("database", "migrations", "broker", "consumers", "topology", "listener")
    }


@pytest.mark.servers
async def test_dead_letters_are_counted_for_every_service_also_where_there_are_none(shopper: Shopper) -> None:
    text = await _text(shopper.http, shopper.deployment.internal_url("operations") + "/metrics")

    counted = set(re.findall(r'^payments_dead_letters_open\{service="([a-z]+)"\}', text, re.MULTILINE))

    assert counted == set(SERVICES) - {"webhook-ingest"}


# -- the dashboard ---------------------------------------------------------------------------------------------------


def test_panels_do_not_overlap_and_fill_their_rows() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_panel_asks_the_provisioned_source_and_says_its_unit() -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]

    for panel in PANELS:
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_grafana_finds_the_dashboard_where_compose_mounts_it() -> None:
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/payments.yaml").read_text())["providers"]
    grafana = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["grafana"]
    folder = provider["options"]["path"]

    assert f"./grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/payments.json"
