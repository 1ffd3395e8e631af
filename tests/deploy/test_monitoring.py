"""Alerts fire when they should, for what they name alone; dashboards are orderly."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from payments_shared.contracts.catalog import SERVICES
from payments_shared.metrics import DESCRIBED
from tests.deploy.composed import DEPLOY, ROOT
from tests.deploy.expressions import metric_of, selectors
from tests.deploy.monitored import ALERTS, DASHBOARDS, PANELS, RULES, RULES_FILE
from tests.deploy.outages import OUTAGES, STEP_SECONDS, Outage
from tests.deploy.rendered import deciding, quickened, seconds
from tests.deploy.tools import promtool
from tests.support.deadline import eventually
from tests.support.shopping import Shopper

BY_HAND = ("rules_test.yaml", "hours_test.yaml")
RUNBOOKS = ROOT / "docs/runbooks"


# -- rules -----------------------------------------------------------------------------------------------------------


def test_promtool_accepts_rules_and_configuration(tmp_path: Path) -> None:
    damaged = tmp_path / "rules.yaml"
    damaged.write_text(RULES_FILE.read_text().replace("by (service", "by service", 1))

    config = promtool("check", "config", str(DEPLOY / "prometheus/prometheus.yaml"))

    assert config.returncode == 0, config.stderr
    assert f"{len(RULES)} rules found" in config.stdout
    assert promtool("check", "rules", str(damaged)).returncode != 0


def _fired(folder: Path, rules: str, name: str, *alerts: str) -> tuple[int, str]:
    """Each case of a file, or each about `alerts`, is judged by the rules that decide about it: all of them take long."""
    whole = yaml.safe_load(Path(__file__).with_name(name).read_text())
    cases = []
    for number, case in enumerate(whole["tests"]):
        about = {test["alertname"] for test in case["alert_rule_test"]}
        if alerts and about.isdisjoint(alerts):
            continue
        (folder / f"{number}.rules.yaml").write_text(deciding(rules, about))
        cases.append(f"{number}.yaml")
        apart = {**whole, "rule_files": [f"{number}.rules.yaml"], "tests": [case]}
        (folder / cases[-1]).write_text(yaml.safe_dump(apart, width=1000))
    assert cases
    done = promtool("test", "rules", *cases, cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", BY_HAND)
def test_alerts_fire_when_they_should_and_not_before(name: str, tmp_path: Path) -> None:
    status, output = _fired(tmp_path, RULES_FILE.read_text(), name)

    assert status == 0, output


def test_every_alert_is_seen_to_fire() -> None:
    tried = {
        case["alertname"]
        for name in BY_HAND
        for test in yaml.safe_load(Path(__file__).with_name(name).read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }

    assert tried == {rule["alert"] for rule in ALERTS}
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)


def test_a_rule_with_another_threshold_would_be_noticed(tmp_path: Path) -> None:
    text = RULES_FILE.read_text()
    other = text.replace("(payments_outbox_oldest_seconds) > 60\n", "(payments_outbox_oldest_seconds) > 600\n")

    status, output = _fired(tmp_path, other, BY_HAND[0], "OutboxOld")

    assert status != 0
    assert "OutboxOld" in output


# -- outages ---------------------------------------------------------------------------------------------------------


def _outage(folder: Path, outage: Outage, rules: str, factor: int = 1) -> tuple[int, str]:
    every = f"{STEP_SECONDS // factor}s"
    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": [outage.test(factor)]}
    (folder / "outage.yaml").write_text(yaml.safe_dump(whole, width=1000))
    (folder / "rules.yaml").write_text(rules)
    done = promtool("test", "rules", "outage.yaml", cwd=folder)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("outage", OUTAGES, ids=[outage.name for outage in OUTAGES])
def test_an_outage_wakes_somebody_in_time_and_for_its_cause_alone(outage: Outage, tmp_path: Path) -> None:
    status, output = _outage(tmp_path, outage, RULES_FILE.read_text())

    assert status == 0, output


def test_what_merely_follows_from_an_outage_would_be_noticed(tmp_path: Path) -> None:
    text = RULES_FILE.read_text().replace("unless on () outage:broker\n", "\n")

    status, output = _outage(tmp_path, OUTAGES[0], text)

    assert status != 0
    assert "ServiceNotReady" in output
    assert "ConsumerMissing" in output


@pytest.mark.parametrize("outage", OUTAGES, ids=[outage.name for outage in OUTAGES])
def test_quickened_rules_judge_a_day_that_goes_by_faster_alike(outage: Outage, tmp_path: Path) -> None:
    status, output = _outage(tmp_path, outage, quickened(RULES_FILE.read_text(), 15), factor=15)

    assert status == 0, output


def test_a_warning_is_due_in_its_own_time_and_not_when_the_last_alert_of_its_outage_is() -> None:
    named = {outage.name: outage for outage in OUTAGES}
    fors = {rule["alert"]: seconds(rule.get("for", "0s")) / 60 for rule in ALERTS}

    assert named["no mail server answers"].due("ConsumerPaused") == 6
    assert named["the broker is down"].due("BrokerDown") == 2
    for outage in OUTAGES:
        for alert, minute in outage.tells.items():
            assert fors[alert] < outage.due(alert) == minute < max(outage.wakes)


def test_rules_that_are_not_quickened_would_be_noticed_on_a_faster_day(tmp_path: Path) -> None:
    status, output = _outage(tmp_path, OUTAGES[0], RULES_FILE.read_text(), factor=15)

    assert status != 0
    assert "BrokerDown" in output


def test_no_service_is_missed_by_the_alert_that_counts_them() -> None:
    (rule,) = (rule for rule in ALERTS if rule["alert"] == "ServicesUnwatched")

    assert rule["expr"].endswith(f" < {len(SERVICES)}")
    assert f" of {len(SERVICES)} services " in rule["annotations"]["summary"]


def test_outages_speak_of_metrics_that_exist() -> None:
    named = {metric_of(str(entry["series"])) for outage in OUTAGES for entry in outage.series()}
    known = {described.name for described in DESCRIBED.values()}

    ours = {name for name in named if name.startswith("payments_")}
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in ours} <= known
    assert len(OUTAGES) == 8


# -- what is exposed -------------------------------------------------------------------------------------------------


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        assert answer.status == 200, url
        return await answer.text()


@pytest.mark.servers
async def test_readiness_is_a_metric_for_each_check(shopper: Shopper) -> None:
    url = shopper.deployment.internal_url("checkout")

    async def ready() -> bool:  # a test before may have ended the broker under it
        lines = (await _text(shopper.http, url + "/metrics")).splitlines()
        return {line for line in lines if line.startswith("payments_ready{")} == {
            f'payments_ready{{check="{check}"}} 1.0'
            for check in ("database", "migrations", "broker", "consumers", "topology", "listener")
        }

    await eventually(ready, within_seconds=60, what="every check of checkout to be ready")


@pytest.mark.servers
async def test_dead_letters_are_counted_for_every_service_also_where_there_are_none(shopper: Shopper) -> None:
    text = await _text(shopper.http, shopper.deployment.internal_url("operations") + "/metrics")

    counted = set(re.findall(r'^payments_dead_letters_open\{service="([a-z]+)"\}', text, re.MULTILINE))

    assert counted == set(SERVICES) - {"webhook-ingest"}


# -- dashboards ------------------------------------------------------------------------------------------------------


def test_dashboards_are_those_that_the_boards_describe(tmp_path: Path) -> None:
    maker = DEPLOY / "grafana/make_dashboards.py"

    done = subprocess.run([sys.executable, str(maker), str(tmp_path)], capture_output=True, text=True, check=True)

    assert done.stdout.count("wrote ") == len(DASHBOARDS) == 5
    for made in tmp_path.iterdir():
        kept = DEPLOY / "grafana/dashboards" / made.name
        assert kept.read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), "run: make dashboards"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_fill_their_rows(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    panels = DASHBOARDS[name]["panels"]
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)


def test_dashboards_have_names_of_their_own_and_say_what_they_are_about() -> None:
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert len({board["title"] for board in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert all(board["description"].endswith(".") for board in DASHBOARDS.values())


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_asks_the_provisioned_source_and_says_its_unit_and_what_it_is_about(panel: dict[str, Any]) -> None:
    (source,) = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]

    assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith(".")
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["legendFormat"]
        assert selectors(target["expr"])
    named = re.search(r"Runbooks? ([a-z, -]+)\.$", panel["description"])
    for runbook in named[1].split(", ") if named else ():
        assert (RUNBOOKS / f"{runbook}.md").exists()


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/payments.yaml").read_text())["providers"]
    grafana = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["grafana"]
    folder = provider["options"]["path"]

    assert f"./grafana/dashboards:{folder}:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == f"{folder}/payments.json"
    assert "payments" in DASHBOARDS
