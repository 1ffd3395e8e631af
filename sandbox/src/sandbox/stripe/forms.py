"""Stripe's form encoding: `a[b][0][c]=x`, with `[]` for a next element."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from sandbox.stripe.errors import invalid

_KEY: Final = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
DEPTH_MAX: Final = 8


def parse_form(text: str) -> dict[str, Any]:  # Any: nested parameters
    """The nested parameters of a query string or body. Lists come from `[0]` and `[]` alike; values stay strings."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, strict_parsing=False):
        match = _KEY.match(name)
        if not match:
            raise invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        if len(path) > DEPTH_MAX:
            raise invalid("Parameters are nested too deeply.", param=name)
        _put(root, path, value)
    return _groups(root)


def _put(node: dict[str, Any], path: list[str], value: str) -> None:
    for step in path[:-1]:
        node = node.setdefault(_slot(node, step), {})
        if not isinstance(node, dict):
            raise invalid("A parameter is both a value and a group.")
    node[_slot(node, path[-1])] = value


def _slot(node: dict[str, Any], step: str) -> str:
    return step or str(len(node))


def _groups(node: dict[str, Any]) -> dict[str, Any]:
    # The keys of metadata are the caller's own: numbers among them do not make it a list.
    return {name: value if name == "metadata" else _lists(value) for name, value in node.items()}


def _lists(value: Any) -> Any:  # Any: nested parameters
    if not isinstance(value, dict):
        return value
    converted = _groups(value)
    if converted and all(name.isdigit() for name in converted):
        return [converted[name] for name in sorted(converted, key=int)]
    return converted
