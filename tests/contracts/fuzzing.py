"""Schemathesis upon a service's document: what it sends, to whom, and what it makes of the answers."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from payments_shared.auth import ServiceTokens
from sandbox.services.deployment import Deployment
from sandbox.services.keys import ISSUER
from tests.support.documented import DOCUMENTS

Port = Literal["public", "internal"]
ROLES: Final = ("customer", "support", "admin", "approver", "operator")
PUBLIC: Final = "^/api/payments/"
# An order's own token opens it without the bearer's, which is chained from the answer that placed it and reads as an
# authentication ignored; who may see what is judged by the matrix of callers. And a stream has no end to wait for.
UNJUDGED: Final[Mapping[tuple[str, Port], Sequence[str]]] = {
    ("checkout", "public"): ("--exclude-checks", "ignored_auth", "--exclude-path-regex", "/events$"),
}
CONFIGURATION: Final = """
headers = { Authorization = "Bearer ${PERSON}" }
generation.allow-x00 = false # no JSON of ours holds NUL

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "408", "411", "413", "415", "422"]

# What is well formed may still be refused: there is no such product, no stock, no such order.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "422", "429", "503"]

[checks.missing_required_header]
expected-statuses = ["400", "401", "415", "422"]

[[operations]]
include-path-regex = "^/internal/"
headers = { Authorization = "Bearer ${SERVICE}" }

[[operations]]
include-path = "/api/payments/webhook"
[operations.checks.positive_data_acceptance]
expected-statuses = ["400"] # only Stripe can sign

[[operations]]
include-path = "/admin/dead-letters/{id}/edit"
[operations.checks.positive_data_acceptance]
expected-statuses = ["202", "400", "404", "409", "422"] # a message of any shape, and yet no number beyond 2^53
"""


def run(
    deployment: Deployment, service: str, port: Port, examples: int, folder: Path
) -> subprocess.CompletedProcess[str]:
    """All checks upon the operations of one port, with at most `examples` requests of each kind for each of them."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    base = deployment.public_url(service) if port == "public" else deployment.internal_url(service)
    chosen = ("--include-path-regex" if port == "public" else "--exclude-path-regex", PUBLIC)
    command = (
        str(Path(sys.executable).parent / "schemathesis"),
        "--config-file", str(configuration), "--no-color",
        "run", str(DOCUMENTS / f"{service}.json"), "--url", base, *chosen, *UNJUDGED.get((service, port), ()),
        "--checks", "all", "--seed", "1", "--max-examples", str(examples), "--continue-on-failure",
        "--report", "json", "--report-json-path", str(folder / "report.json"),
    )  # fmt: skip
    environment = {**os.environ, **_tokens(deployment)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=1800
    )


def report(folder: Path) -> Any:  # Any: JSON
    """What came of the run."""
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def _tokens(deployment: Deployment) -> dict[str, str]:
    keys = deployment.keys
    service = ServiceTokens(keys.checkout_key_file, "checkout", ISSUER, "checkout", "inventory")
    person = keys.token("fuzz-" + secrets.token_hex(4), *ROLES, email="fuzz@example.com")
    return {"PERSON": person, "SERVICE": service.token()}
