"""A second process of checkout beside the deployment's own."""

import asyncio
import contextlib
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sandbox.services import warm
from sandbox.services.children import Child, clean_environment, free_ports
from sandbox.services.deployment import Deployment
from tests.support.deadline import eventually


@dataclass(frozen=True, slots=True)
class Instance:
    """A running process and the URLs of its two ports."""

    child: Child
    public_url: str
    internal_url: str


@contextlib.asynccontextmanager
async def another_checkout(deployment: Deployment, name: str, **environment: str) -> AsyncIterator[Instance]:
    """One more instance of checkout, on ports of its own; `environment` adds to its settings. It must end with 0."""
    inside, outside = free_ports(2)
    settings = {
        **deployment._service_settings("checkout"),
        **deployment.extra,
        "PAYMENTS_INTERNAL_PORT": str(inside),
        "PAYMENTS_PUBLIC_PORT": str(outside),
    }
    log = deployment.folder / f"{name}.log"
    child = warm.run(name, "checkout", log=log, environment=clean_environment(**{**settings, **environment}))
    made = Instance(child, f"http://127.0.0.1:{outside}", f"http://127.0.0.1:{inside}")

    async def ready() -> bool:
        assert child.running, child.tail()
        return await asyncio.to_thread(_answers, f"{made.internal_url}/readyz")

    try:
        await eventually(ready, within_seconds=60, what=f"{name} is ready")
        yield made
    finally:
        status = await asyncio.to_thread(child.stop)
    assert status == 0, child.tail()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback processes
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
