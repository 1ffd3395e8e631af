"""What PromQL expressions select, and what programs really expose."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

TARGET_LABELS = frozenset({"job", "instance", "service", "le", "__name__"})
"""Labels that Prometheus itself attaches, or that belong to the shape of a histogram."""


def selectors(expression: str) -> list[tuple[str, frozenset[str]]]:
    """(metric, labels matched) of every selector in an expression; raises when it is not PromQL."""
    expression = expression.replace("$__rate_interval", "5m")
    found: list[tuple[str, frozenset[str]]] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((str(node.name), frozenset(matcher.name for matcher in node.matchers.matchers)))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


def grouped_by(expression: str) -> frozenset[str]:
    """Labels in `by (...)` and `on (...)`."""
    return frozenset(
        name for names in re.findall(r"\b(?:by|on) \(([a-z_, ]+)\)", expression) for name in names.split(", ")
    )


@dataclass(slots=True)
class Exposed:
    """Metric names, and the labels seen on their samples; a metric with labels may have no samples yet."""

    names: set[str] = field(default_factory=set)
    labels: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, text: str) -> None:
        """Read one exposition."""
        for family in text_string_to_metric_families(text):
            suffixes: Mapping[str, Iterable[str]] = {
                "counter": ("_total",),
                "histogram": ("_bucket", "_sum", "_count"),
            }
            self.names |= {family.name + suffix for suffix in suffixes.get(family.type, ("",))}
            for sample in family.samples:
                self.names.add(sample.name)
                self.labels[sample.name] |= sample.labels.keys()

    def missing(self, expression: str) -> list[str]:
        """Metrics and labels that an expression names and nobody exposes."""
        wanted = selectors(expression)
        lacking = [f"no metric {name}" for name, _ in wanted if name not in self.names]
        for name, matched in wanted:
            seen = self.labels.get(name)
            if seen and name not in ("up", "ALERTS"):
                # The service's own label gives way to Prometheus' and is then called exported_service.
                known = seen | TARGET_LABELS | {f"exported_{label}" for label in seen & TARGET_LABELS}
                lacking += [f"no label {label} on {name}" for label in (matched | grouped_by(expression)) - known]
        return lacking
