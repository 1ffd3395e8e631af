"""The committed documents, and validation against them."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import jsonschema
from jsonschema import Draft202012Validator, FormatChecker

Json = dict[str, Any]  # Any: JSON
CONTRACTS: Final = Path(__file__).parents[2] / "docs" / "contracts"


def committed(name: str) -> Json:
    """The schema of a message type as it stands in the tree."""
    found: Json = json.loads((CONTRACTS / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def closed(schema: Json) -> Json:
    """`schema` with no room for fields it does not name: readers would ignore them, so they'd be lost unseen."""
    shut = copy.deepcopy(schema)
    for part in (shut, *shut.get("$defs", {}).values()):
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
    return shut


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = committed(name)
    # Stripe's own objects carry far more than we read; ours carry nothing but what the snapshot names.
    return Draft202012Validator(
        schema if name.startswith("stripe.") or name == "envelope" else closed(schema), format_checker=FormatChecker()
    )


def faults(name: str, value: object) -> list[str]:
    """What is wrong with `value` as a message of type `name`, a line each."""
    errors = sorted(_validator(name).iter_errors(value), key=lambda error: list(map(str, error.path)))
    return [f"{name} at /{'/'.join(map(str, error.path))}: {error.message}" for error in errors]


def check_schema(schema: Json) -> None:
    """Raise when `schema` is no valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(schema)
