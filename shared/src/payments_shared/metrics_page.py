"""`python -m payments_shared.metrics_page FILE`: write the table of all metrics, as a page.

Made of `payments_shared.metrics`. Who records a metric is read off the code: a service does when its own modules name
it, or when it uses a part of the chassis that does.
"""

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from payments_shared import metrics
from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.metrics import DESCRIBED, Described, Label
from payments_shared.writing import write_page

_HEARING: Final = frozenset({"breaker", "consumer", "deciding", "drain", "settling", "subscription"})
"""Modules of messaging whose metrics only those have who hear something."""
_NAMED: Final = re.compile(r"\bmetrics\.([A-Z][A-Z_]+)\b")
_PART: Final = re.compile(r"(?:from|import) payments_shared(?:\.(\w+)| import ([\w, ]+))")

HEAD: Final = """\
# Metrics

Written by `make contracts` from `payments_shared.metrics`; a test fails when it is not. Each service shows its metrics
at `GET /metrics` of its second port; Prometheus adds `service` and `instance`. A label of the same name is then called
`exported_service`. Histograms have `_bucket`, `_sum` and `_count`. Beside these, every process shows Python's own
(`process_*`, `python_*`), RabbitMQ those of its plugin (`rabbitmq_*`), and the compose file's front door Caddy's own
(`caddy_*`), of which the rules and dashboards use what their expressions name.

What is counted inside a transaction is counted again when that is rolled back and repeated: counters tell how things
go, and the audit what is true.

| name | type | unit | labels | meaning | services |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The page."""
    rows = [_row(described, recorded_by()[name]) for name, described in _by_name().items()]
    return HEAD + "".join(rows)


@cache
def recorded_by() -> Mapping[str, tuple[str, ...]]:
    """The services that record a metric, by the metric's name in the code."""
    parts = _parts_of_the_chassis()
    found: dict[str, tuple[str, ...]] = {}
    for name in _by_name():
        users = {service for service in SERVICES if name in _named_in(_text_of(service))}
        for part, texts in parts.items():
            for module, text in texts.items():
                if name in _named_in(text):
                    audience = CONSUMERS if part == "messaging" and module in _HEARING else SERVICES
                    users |= {service for service in audience if part in _used_by(service)}
        found[name] = tuple(service for service in SERVICES if service in users)
    return found


def _by_name() -> dict[str, Described]:
    return {name: DESCRIBED[value] for name, value in vars(metrics).items() if _is_described(value)}


def _is_described(value: object) -> bool:
    return any(value is metric for metric in DESCRIBED)


def _row(described: Described, services: tuple[str, ...]) -> str:
    labels = "<br>".join(_label(label) for label in described.labels) or "–"
    who = "all" if services == SERVICES else ", ".join(services)
    return (
        f"| `{described.name}` | {described.kind} | {_unit(described.name)} | {labels} | {described.text} | {who} |\n"
    )


def _label(label: Label) -> str:
    return f"`{label.name}`: " + (label.bound or ", ".join(f"`{value}`" for value in label.values))


def _unit(name: str) -> str:
    stem = name.removesuffix("_total")
    units = {"_timestamp_seconds": "Unix seconds", "_seconds": "seconds", "_bytes": "bytes", "_minor": "minor units"}
    return next((unit for ending, unit in units.items() if stem.endswith(ending)), "count")


# -- who records what ------------------------------------------------------------------------------------------------


def _named_in(text: str) -> frozenset[str]:
    return frozenset(_NAMED.findall(text))


@cache
def _text_of(service: str) -> str:
    folder = Path(str(files(schema_name(service))))
    return "\n".join(module.read_text(encoding="utf-8") for module in sorted(folder.rglob("*.py")))


@cache
def _parts_of_the_chassis() -> Mapping[str, Mapping[str, str]]:
    """The text of each module by its stem, by the module or package of `payments_shared` that it is in."""
    folder = Path(str(files("payments_shared")))
    found: dict[str, dict[str, str]] = {}
    for module in sorted(folder.rglob("*.py")):
        part = module.relative_to(folder).parts[0].removesuffix(".py")
        if part not in ("__init__", "metrics", "metrics_page"):
            found.setdefault(part, {})[module.stem] = module.read_text(encoding="utf-8")
    return found


@cache
def _used_by(service: str) -> frozenset[str]:
    """The parts of the chassis that a service uses, and those which they use."""
    parts = _parts_of_the_chassis()
    used, waiting = set[str](), _imported(_text_of(service))
    while waiting:
        part = waiting.pop()
        if part in parts and part not in used:
            used.add(part)
            waiting |= _imported("\n".join(parts[part].values()))
    return frozenset(used)


def _imported(text: str) -> set[str]:
    return {name.strip() for one, several in _PART.findall(text) for name in (one or several).split(",")}


def main(arguments: list[str]) -> int:
    """The exit status: 0 written or current, 2 wrong usage."""
    return write_page(arguments, "payments_shared.metrics_page", page)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
