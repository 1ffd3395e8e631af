"""Requests made of the documents, lawful and not, upon running services: all checks of Schemathesis hold.

Its judgement covers what this suite's own tests cannot list: no undeclared status, header, media type or body, nothing
unlawful taken, nothing lawful refused as malformed, no answer without the credential that is declared.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from payments_shared.contracts.catalog import SERVICES
from sandbox.services.deployment import Deployment, deploy
from sandbox.services.resolver import Servers
from tests.contracts.fuzzing import Port, report, run
from tests.faults import evidence
from tests.support.shopping import Shopper

pytestmark = [pytest.mark.servers, pytest.mark.timeout(2400)]

PORTS: Final[list[tuple[str, Port]]] = [
    *((service, "internal") for service in SERVICES),
    ("webhook-ingest", "public"),
    ("notifications", "public"),
    ("refunds", "public"),
    ("checkout", "public"),
]
SWITCHES: Final = {"checkout": "checkouts", "refunds": "refunds", "notifications": "mails"}
EXAMPLES: Final = 5  # of each kind for each operation, in the suite
EXAMPLES_LONG: Final = 30
REQUESTS_LONG: Final = 5000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alone(servers: Servers) -> AsyncIterator[Deployment]:
    """A deployment where switches may be turned and tables be filled with anything."""
    names = ("stripe", "mailbox", "frontdoor", *SERVICES, "shop")
    async with deploy(servers, namespace=f"t{secrets.token_hex(4)}", names=names) as running:
        yield running


async def _judged(deployment: Deployment, service: str, port: Port, examples: int, folder: Path) -> int:
    """How many requests were sent; every failure is a failure of the test."""
    if port == "public" and (name := SWITCHES.get(service)):
        async with Shopper.of(deployment) as admin:  # whoever was judged before may have stopped it
            switch = {"state": "open", "reason": "to be judged"}
            await admin.admin("PUT", service, f"/admin/switches/{name}", switch)
    done = await asyncio.to_thread(run, deployment, service, port, examples, folder)
    told = report(folder)
    assert told["failures"] == [], done.stdout
    assert (told["errors"], told["stop_reason"], done.returncode) == ([], "completed", 0), done.stdout
    assert told["operations"]["tested"] == told["operations"]["selected"] > 0
    return int(told["test_cases"]["generated"])


@pytest.mark.parametrize(("service", "port"), PORTS)
async def test_a_service_keeps_what_its_document_promises(
    alone: Deployment, tmp_path: Path, service: str, port: Port
) -> None:
    assert await _judged(alone, service, port, EXAMPLES, tmp_path) > 0


@pytest.mark.full
async def test_thousands_of_requests_find_nothing(
    alone: Deployment, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sent = [
        await _judged(alone, service, port, EXAMPLES_LONG, tmp_path / f"{service}-{port}") for service, port in PORTS
    ]

    rows = [(service, port, count) for (service, port), count in zip(PORTS, sent, strict=True)]
    table = evidence.table(("service", "port", "requests"), rows)
    evidence.keep("Schemathesis", [f"{sum(sent)} requests, all checks hold.", *table], document=evidence.CHECKOUT)
    record_property("judged_by", f"Schemathesis, {sum(sent)} requests upon {len(SERVICES)} services")
    assert sum(sent) >= REQUESTS_LONG
