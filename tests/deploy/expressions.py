"""What PromQL expressions select."""

from typing import Final

import promql_parser

WINDOW: Final = "1m"
"""In place of Grafana's `$__rate_interval`."""


def asked(expression: str) -> str:
    """An expression as Prometheus is asked."""
    return expression.replace("$__rate_interval", WINDOW)


def selectors(expression: str) -> list[str]:
    """The selectors in an expression, each as an expression of its own; raises when it is not PromQL."""
    found: list[str] = []

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node.prettify().partition(" offset ")[0])
        return True

    promql_parser.walk(promql_parser.parse(asked(expression)), visit)
    return found


def metric_of(selector: str) -> str:
    """The name that a selector selects by."""
    return selector.partition("{")[0]
