"""Who is told of an alert: the routes are accepted, lead where they should, and end in a mail."""

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from sandbox.services.children import Child, clean_environment, free_ports, spawn
from tests.deploy.composed import DEPLOY, ROOT
from tests.deploy.monitored import ALERTS
from tests.deploy.tools import program, with_its_share
from tests.support.shopping import eventually

FILE = DEPLOY / "alertmanager/alertmanager.yaml"
ROUTES = FILE.read_text(encoding="utf-8")
PACKAGE = "prometheus-alertmanager"
Json = dict[str, Any]  # Any: YAML and JSON


def amtool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [program("amtool", package=PACKAGE), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def with_webhooks(text: str) -> str:
    """The file as whoever has a pager and a dead man's switch writes it: with what is told for that uncommented."""
    return re.sub(
        r"^    # (webhook_configs:|  - url_file: \S+|    send_resolved: \w+)$", r"    \1", text, flags=re.MULTILINE
    )


def receivers(text: str) -> dict[str, Json]:
    return {one["name"]: one for one in yaml.safe_load(text)["receivers"]}


# -- the file --------------------------------------------------------------------------------------------------------


def test_amtool_accepts_the_routes_and_would_not_accept_others(tmp_path: Path) -> None:
    damaged = tmp_path / "alertmanager.yaml"
    damaged.write_text(ROUTES.replace("receiver: wake", "receiver: nobody"))

    accepted, refused = amtool("check-config", str(FILE)), amtool("check-config", str(damaged))

    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert refused.returncode != 0


def test_a_pager_and_a_dead_mans_switch_are_told_by_addresses_out_of_files(tmp_path: Path) -> None:
    text = with_webhooks(ROUTES)
    found = receivers(text)

    assert found["wake"]["webhook_configs"] == [{"url_file": "/etc/alertmanager/pager-url", "send_resolved": True}]
    assert found["watchdog"]["webhook_configs"] == [
        {"url_file": "/etc/alertmanager/watchdog-url", "send_resolved": False}
    ]
    assert found["wake"]["email_configs"] == receivers(ROUTES)["wake"]["email_configs"], "and mails go on"
    # Releases before 0.26 know the same receiver with its address in the file itself.
    older = tmp_path / "alertmanager.yaml"
    older.write_text(re.sub(r"url_file: \S+", "url: https://pager.example/x", text))
    checked = amtool("check-config", str(older))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_an_alert_goes_to_who_is_there_for_its_severity(rule: Json) -> None:
    wanted = {"critical": "wake", "warning": "by-day", "none": "watchdog"}[rule["labels"]["severity"]]

    labels = [f"{name}={value}" for name, value in {"alertname": rule["alert"], **rule["labels"]}.items()]
    found = amtool("config", "routes", "test", f"--config.file={FILE}", *labels)

    assert (found.returncode, found.stdout.strip()) == (0, wanted), found.stderr


def test_who_is_woken_is_told_sooner_and_more_often_than_who_is_not() -> None:
    route = yaml.safe_load(ROUTES)["route"]
    critical, watchdog = route["routes"]

    assert critical["group_wait"] == watchdog["group_wait"] == "0s"
    assert (critical["repeat_interval"], route["repeat_interval"]) == ("15m", "12h")
    assert "severity" in route["group_by"], "all warnings of a time are one mail"


# -- one that runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sending:
    """An Alertmanager with the deployed routes, and the mailbox to which it sends."""

    http: aiohttp.ClientSession
    url: str
    mailbox: str

    async def tell(self, **labels: str) -> None:
        """As Prometheus does."""
        annotations = {"summary": "checkout does not answer at all.", "runbook_url": "https://git.example/readiness.md"}
        alert = {"labels": labels, "annotations": annotations, "startsAt": datetime.now(UTC).isoformat()}
        async with self.http.post(f"{self.url}/api/v2/alerts", json=[alert]) as answer:
            assert answer.status == 200, await answer.text()

    async def mails(self) -> list[Json]:
        async with self.http.get(f"{self.mailbox}/api/messages") as answer:
            return list((await answer.json())["messages"])

    async def raw(self, mail: Json) -> str:
        async with self.http.get(f"{self.mailbox}/mail/{mail['id']}/raw") as answer:
            return await answer.text()


def with_server(port: int) -> str:
    """The routes, with the mail server there."""
    config = yaml.safe_load(ROUTES)
    config["global"]["smtp_smarthost"] = f"127.0.0.1:{port}"
    return yaml.safe_dump(config)


def _mailbox(folder: Path, smtp: int, http: int) -> Child:
    settings = {"SMTP_PORT": str(smtp), "HTTP_PORT": str(http), "DATA_DIR": str(folder)}
    environment = clean_environment(**{f"SANDBOX_MAILBOX_{name}": value for name, value in settings.items()})
    command = [sys.executable, "-m", "sandbox.mailbox"]
    return spawn("mailbox", command, log=folder / "mailbox.log", environment=environment, cwd=ROOT)


@pytest_asyncio.fixture
async def sending(tmp_path: Path) -> AsyncIterator[Sending]:
    smtp, inbox, port = free_ports(3)
    (tmp_path / "alertmanager.yaml").write_text(with_server(smtp))
    command = [
        *with_its_share(PACKAGE, package=PACKAGE),
        f"--config.file={tmp_path / 'alertmanager.yaml'}",
        f"--storage.path={tmp_path / 'data'}",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    children = [
        _mailbox(tmp_path, smtp, inbox),
        spawn("alertmanager", command, log=tmp_path / "alertmanager.log", environment=clean_environment()),
    ]
    try:
        async with aiohttp.ClientSession() as http:
            for url in (f"http://127.0.0.1:{inbox}/healthz", f"http://127.0.0.1:{port}/-/ready"):
                await eventually(lambda url=url: _answers(http, url), within=30, what=url)  # type: ignore[misc] # bound now
            yield Sending(http, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{inbox}")
    finally:
        for child in reversed(children):
            child.stop(timeout_seconds=20)


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.timeout(120)
async def test_a_critical_alert_is_a_mail_at_once_and_warnings_and_the_watchdog_wake_nobody(sending: Sending) -> None:
    await sending.tell(alertname="Watchdog", severity="none")
    await sending.tell(alertname="OutboxOld", severity="warning", service="checkout")
    await sending.tell(alertname="ServiceDown", severity="critical", service="checkout")

    (mail,) = await eventually(sending.mails, within=30, what="a mail")

    text = await sending.raw(mail)
    assert (mail["recipient"], mail["subject"]) == ("on-call@shop.example", "[firing] critical: ServiceDown")
    for told in ("checkout does not answer at all.", "https://git.example/readiness.md"):
        assert told in text
    assert "OutboxOld" not in text
