"""What counts as breaking a reader, tried on the schema of a real message."""

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from payments_shared.contracts.compatibility import breaks
from payments_shared.contracts.documents import as_text, documents
from tests.contracts.snapshots import CONTRACTS, Json, committed

Change = Callable[[Json], object]


def _changed(change: Change) -> Json:
    schema = copy.deepcopy(committed("order.paid.v1"))
    change(schema)
    return schema


def _rename(schema: Json) -> None:
    schema["properties"]["paid_on"] = schema["properties"].pop("paid_at")
    schema["required"] = [*(set(schema["required"]) - {"paid_at"}), "paid_on"]


def _new_required(schema: Json) -> None:
    schema["properties"]["channel"] = {"type": "string"}
    schema["required"].append("channel")


BREAKING: dict[str, tuple[Change, str]] = {
    "removed": (lambda s: s["properties"].pop("coupon"), "/coupon was removed; a renamed field is a removed one"),
    "renamed": (_rename, "/paid_at was removed; a renamed field is a removed one"),
    "retyped": (
        lambda s: s["properties"]["total_minor"].update(type="string"),
        "/total_minor changed its type from integer to string",
    ),
    "retyped inside a part": (
        lambda s: s["$defs"]["Line"]["properties"]["quantity"].update(type="number"),
        "/lines/*/quantity changed its type from integer to number",
    ),
    "may now be null": (
        lambda s: s["$defs"]["Line"]["properties"].update(sku={"anyOf": [{"type": "string"}, {"type": "null"}]}),
        "/lines/*/sku changed its type from string to null | string",
    ),
    "new and required": (_new_required, "/channel is new and required; messages that wait from before lack it"),
    "became required": (
        lambda s: s["required"].append("coupon"),
        "/coupon became required; messages that wait from before may lack it",
    ),
    "no longer required": (
        lambda s: s["required"].remove("customer"),
        "/customer is no longer required; readers from before refuse messages without it",
    ),
    "narrower": (
        lambda s: s["properties"]["currency"].update(pattern="^(usd|eur)$"),
        "/currency changed pattern from '^[a-z]{3}$' to '^(usd|eur)$'",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_readers_is_named_with_its_field(name: str) -> None:
    change, expected = BREAKING[name]

    found = [str(one) for one in breaks(committed("order.paid.v1"), _changed(change))]

    assert expected in found


def test_a_closed_choice_may_not_change_either_way() -> None:
    before = committed("order.canceled.v1")
    after = copy.deepcopy(before)
    after["properties"]["reason"]["enum"].append("bored")

    (found,) = breaks(before, after)

    assert found.where == "/reason"
    assert found.what.startswith("changed enum")


def test_an_optional_addition_and_other_words_break_nobody() -> None:
    def change(schema: Json) -> None:
        schema["properties"]["gift_note"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
        schema["$defs"]["Line"]["properties"]["weight_grams"] = {"type": "integer", "default": 0}
        schema["description"] = "Other words."

    assert breaks(committed("order.paid.v1"), _changed(change)) == []


def _a_copy(folder: Path) -> Path:
    for name, document in documents().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(document), encoding="utf-8")
    return folder


def _generate(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "payments_shared.contracts", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_generator_refuses_what_would_break_readers_and_leaves_the_snapshot(tmp_path: Path) -> None:
    folder = _a_copy(tmp_path)
    path = folder / "schemas" / "order.paid.v1.json"
    before = committed("order.paid.v1")
    before["properties"]["gift_wrapped"] = {"type": "boolean"}  # said until yesterday, gone from the code today
    path.write_text(as_text(before), encoding="utf-8")

    done = _generate(folder)

    assert done.returncode == 1
    assert "order.paid.v1: /gift_wrapped was removed" in done.stderr
    assert path.read_text(encoding="utf-8") == as_text(before)


def test_the_generator_refuses_to_forget_a_type(tmp_path: Path) -> None:
    folder = _a_copy(tmp_path)
    (folder / "schemas" / "order.vanished.v1.json").write_text('{"type": "object"}', encoding="utf-8")

    done = _generate(folder)

    assert done.returncode == 1
    assert "order.vanished.v1: the type is no longer in the catalogue" in done.stderr


def test_the_generator_adds_what_is_new(tmp_path: Path) -> None:
    folder = _a_copy(tmp_path)
    (folder / "schemas" / "stock.low.v1.json").unlink()

    done = _generate(folder)

    assert done.returncode == 0
    assert done.stdout == "wrote schemas/stock.low.v1.json\n"
    assert (folder / "schemas" / "stock.low.v1.json").read_text() == (
        CONTRACTS / "schemas/stock.low.v1.json"
    ).read_text()
