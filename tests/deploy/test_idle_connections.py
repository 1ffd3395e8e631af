"""Whoever is in front closes a connection that nobody uses before the service does, which would lose a request that is
being sent into it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from payments_shared.contracts.catalog import SERVICES
from payments_shared.http import internal_app, public_app, serve
from payments_shared.http.api import Api
from sandbox.frontdoor.app import KEPT_SECONDS
from tests.deploy.clustered import workloads
from tests.deploy.composed import DEPLOY, containers, front_door, made_variables
from tests.deploy.tools import of_environment

INGRESS_NGINX_SECONDS: Final = 60.0  # its `upstream-keepalive-timeout` unless it is told otherwise


def _proxies(config: Any) -> Iterator[dict[str, Any]]:  # Any: JSON
    """All of them, however deep."""
    if isinstance(config, dict):
        if config.get("handler") == "reverse_proxy":
            yield config
        config = list(config.values())
    for part in config if isinstance(config, list) else []:
        yield from _proxies(part)


def _kept_by_the_front_door(file: Path) -> dict[str, float]:
    """Seconds by what it leads to, as Caddy itself reads the file."""
    command = [of_environment("caddy"), "adapt", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return {
        proxy["upstreams"][0]["dial"]: proxy["transport"]["keep_alive"]["idle_timeout"] / 1e9
        for proxy in _proxies(json.loads(done.stdout))
    }


async def _kept_by_services() -> set[float]:
    found = set()
    for app in (public_app(service="test"), internal_app(api=Api("test", "A test."), checks={})):
        server = await serve(app, host="127.0.0.1", port=0)
        assert server.runner.server is not None
        found.add(float(server.runner.server().keepalive_timeout))
        await server.stop()
    return found


async def test_every_way_through_a_front_door_is_given_up_before_the_service_gives_it_up(tmp_path: Path) -> None:
    demo = containers(made_variables(tmp_path))["front-door"]
    ours, doors = await _kept_by_services(), _kept_by_the_front_door(front_door(demo, tmp_path))

    assert doors.keys() == {
        "webhook-ingest:8000", "notifications:8000", "refunds:8000", "checkout:8000", "shop:8090",
    }  # fmt: skip
    assert max(doors.values()) < min(ours)
    assert min(ours) > KEPT_SECONDS
    assert min(ours) > INGRESS_NGINX_SECONDS


@pytest.mark.parametrize("service", SERVICES)
def test_the_front_door_gives_it_up_within_the_leave_of_a_cluster(service: str) -> None:
    given = workloads("production")[service].environment({})["PAYMENTS_LEAVE_SECONDS"]

    assert max(*_kept_by_the_front_door(DEPLOY / "frontdoor/Caddyfile").values(), KEPT_SECONDS) < float(given.text)
