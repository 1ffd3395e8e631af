"""What the rules and dashboards in `deploy/` say, and a Prometheus that asks a deployment as they are written."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import yaml

from payments_shared.contracts.catalog import SERVICES
from sandbox.services.children import clean_environment, free_ports, spawn
from sandbox.services.deployment import Deployment
from tests.deploy.composed import DEPLOY
from tests.deploy.tools import program

Json = dict[str, Any]  # Any: YAML and JSON
RULES_FILE: Final = DEPLOY / "prometheus/rules.yaml"
RULES: Final[list[Json]] = [
    rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]
]
ALERTS: Final = [rule for rule in RULES if "alert" in rule]
RECORDED: Final = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARDS: Final[Mapping[str, Json]] = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
}
PANELS: Final[Mapping[str, Json]] = {
    f"{name}: {panel['title']}": panel
    for name, board in DASHBOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
}
LAST_TIER: Final = "600000"  # of the retry tiers that are deployed, in milliseconds
RUNBOOKS_URL: Final = "https://runbooks.example/"
EXPANDING: Final = "--enable-feature=expand-external-labels"  # of variables, as Prometheus 3 does by itself
SECONDS: Final = 1  # between two looks of the Prometheus of tests


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that looks at a deployment every second."""

    http: aiohttp.ClientSession
    url: str

    async def ask(self, path: str, **parameters: str) -> Any:  # Any: JSON
        """What its API answers."""
        async with self.http.get(f"{self.url}/api/v1/{path}", params=parameters) as answer:
            body = await answer.json()
        assert body["status"] == "success", (parameters, body)
        return body["data"]

    async def query(self, expression: str) -> list[Json]:
        """The series of an expression now."""
        return list((await self.ask("query", query=expression))["result"])

    async def targets(self) -> dict[str, str]:
        """The health of each target, by its address."""
        active = (await self.ask("targets", state="active"))["activeTargets"]
        return {target["scrapeUrl"]: target["health"] for target in active}


def configuration(deployment: Deployment, *, rabbitmq: str | None, door: str | None) -> Json:
    """`prometheus.yaml` with the addresses of a deployment, those of RabbitMQ and of the front door as they are given,
    everything every second, and nobody told."""
    config: Json = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    config["global"] |= dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{SECONDS}s")
    del config["alerting"]
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    for entry in jobs["payments"]["static_configs"]:
        entry["targets"] = [urlsplit(deployment.internal_url(entry["labels"]["service"])).netloc]
    kept = [jobs["payments"]]
    for name, address in (("rabbitmq", rabbitmq), ("rabbitmq-node", rabbitmq), ("front-door", door)):
        if address is not None:
            jobs[name]["static_configs"] = [{"targets": [address]}]
            kept.append(jobs[name])
    assert {entry["labels"]["service"] for entry in jobs["payments"]["static_configs"]} == set(SERVICES)
    return {**config, "scrape_configs": kept}


def of_tiers(last_tier_ms: int) -> str:
    """The rules, for a deployment with this last retry tier."""
    text = RULES_FILE.read_text(encoding="utf-8")
    assert text.count(LAST_TIER) == 1
    return text.replace(LAST_TIER, str(last_tier_ms))


def rules(last_tier_ms: int) -> str:
    """The rules, for a deployment with this last retry tier, judged every second."""
    text = of_tiers(last_tier_ms)
    assert text.count("interval: 15s") == 1
    return text.replace("interval: 15s", f"interval: {SECONDS}s")


async def exposition_of_rabbitmq(http: aiohttp.ClientSession, deployment: Deployment) -> str | None:
    """Where the broker shows its metrics; None where that is not published."""
    if deployment.servers.backend == "docker":
        return None
    parts = urlsplit(deployment.servers.management_url)
    login = {"Authorization": aiohttp.encode_basic_auth(parts.username or "", parts.password or "")}
    async with http.get(f"http://{parts.hostname}:{parts.port}/api/overview", headers=login) as answer:
        listeners = (await answer.json())["listeners"]
    port = next(listener["port"] for listener in listeners if listener["protocol"] == "http/prometheus")
    return f"{parts.hostname}:{port}"


@contextlib.asynccontextmanager
async def prometheus_of(
    deployment: Deployment, http: aiohttp.ClientSession, folder: Path, judged_by: str, door: str | None = None
) -> AsyncIterator[Prometheus]:
    """One that runs while the block does, with these rules, and has looked at every target; `door` is where the deployed
    front door shows its metrics, if it stands before the deployment."""
    rabbitmq = await exposition_of_rabbitmq(http, deployment)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration(deployment, rabbitmq=rabbitmq, door=door)))
    (folder / "rules.yaml").write_text(judged_by)
    (port,) = free_ports(1)
    child = spawn(
        "prometheus",
        [
            program("prometheus", package="prometheus"),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            EXPANDING,
        ],
        log=folder / "prometheus.log",
        environment=clean_environment(PAYMENTS_RUNBOOKS_URL=RUNBOOKS_URL),
    )
    found = Prometheus(http, f"http://127.0.0.1:{port}")
    try:
        for _ in range(120):
            assert child.running, child.tail()
            # While it starts it does not answer, or says so in words.
            with contextlib.suppress(aiohttp.ClientConnectionError, aiohttp.ContentTypeError):
                health = await found.targets()
                if health and set(health.values()) == {"up"}:
                    break
            await asyncio.sleep(0.5)
        else:
            raise AssertionError(f"some target cannot be asked: {await found.targets()}\n{child.tail()}")
        yield found
    finally:
        child.stop(timeout_seconds=20)
