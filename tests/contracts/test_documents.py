"""The documents in the tree are those that the code makes."""

import importlib
import inspect
import json
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from payments_shared.contracts import catalog
from payments_shared.contracts.catalog import CATALOG, CONSUMERS, WORKERS, commands_of, heard_by, schema_name
from payments_shared.contracts.documents import as_text, documents, incompatibilities
from sandbox.services.debian_packages import cache_home
from tests.contracts.snapshots import CONTRACTS, Json, check_schema
from tests.support.left_out import left_out
from tests.support.npm import Unavailable, packed

ASYNCAPI_SPECS = "@asyncapi/specs@6.11.1"


def test_no_contract_changed_in_a_way_that_breaks_readers() -> None:
    found = incompatibilities(CONTRACTS)

    assert not found, "\n".join(found)


def test_the_snapshots_are_what_the_code_makes() -> None:
    made = {name: as_text(document) for name, document in documents().items()}
    kept = {str(p.relative_to(CONTRACTS)): p.read_text(encoding="utf-8") for p in CONTRACTS.rglob("*.json")}

    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))

    assert not stale, f"run `make contracts` and review the change of {', '.join(stale)}"


@pytest.mark.parametrize("name", sorted(documents().keys() - {"asyncapi.json"}))
def test_every_snapshot_is_a_schema(name: str) -> None:
    check_schema(documents()[name])


def test_everything_heard_is_said_and_everything_said_is_heard() -> None:
    wanted = {name for heard in catalog._HEARD.values() for name in heard}

    assert wanted - CATALOG.keys() == set(), "heard, and nobody says it"
    assert [name for name, entry in CATALOG.items() if not entry.speakers] == []
    assert [name for name, entry in CATALOG.items() if not entry.hearers] == []


def _bindings(service: str, kind: str) -> set[str]:
    """The types that a service's own table of handlers answers."""
    module = importlib.import_module(f"{schema_name(service)}.consumers")

    class Anything(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:  # Any: stands for every handler; none is called
            return lambda *_: None

    function = getattr(module, kind, None) or getattr(module, "bindings", None) if kind == "events" else module.work
    assert function is not None
    handlers = {name: Anything() for name in inspect.signature(function).parameters}
    return {one.message_type for one in function(**handlers)}


@pytest.mark.parametrize("service", CONSUMERS)
def test_a_service_has_a_handler_for_exactly_what_the_catalogue_says_it_hears(service: str) -> None:
    assert _bindings(service, "events") == {entry.name for entry in heard_by(service)}


@pytest.mark.parametrize("service", WORKERS)
def test_a_service_has_a_handler_for_each_command_to_itself(service: str) -> None:
    assert _bindings(service, "work") == {entry.name for entry in commands_of(service)}


# -- AsyncAPI --------------------------------------------------------------------------------------------------------


def _asyncapi() -> Json:
    found: Json = json.loads((CONTRACTS / "asyncapi.json").read_text(encoding="utf-8"))
    return found


def test_the_asyncapi_document_says_who_says_and_hears_what() -> None:
    told: dict[str, set[tuple[str, str]]] = {"send": set(), "receive": set()}
    for operation in _asyncapi()["operations"].values():
        type_ = operation["channel"]["$ref"].removeprefix("#/channels/")
        told[operation["action"]].add((operation["tags"][0]["name"], type_))

    assert told["send"] == {(who, name) for name, entry in CATALOG.items() for who in entry.speakers}
    assert told["receive"] == {(who, name) for name, entry in CATALOG.items() for who in entry.hearers}


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = _asyncapi()

    def references(value: object) -> list[str]:
        match value:
            case dict():
                here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
                return here + [ref for inner in value.values() for ref in references(inner)]
            case list():
                return [ref for inner in value for ref in references(inner)]
        return []

    def leads(ref: str) -> bool:
        if ref.startswith("./"):
            return (CONTRACTS / ref).is_file()
        target: Any = document
        for part in ref.removeprefix("#/").split("/"):
            target = target.get(part, {})
        return bool(target)

    found = references(document)
    assert len(found) > 200
    assert [ref for ref in found if not leads(ref)] == []


def _official_schema() -> Json:
    """AsyncAPI's own schema of version 3, fetched once through npm and kept in the user's cache."""
    kept = cache_home() / (ASYNCAPI_SPECS.replace("/", "-") + ".json")
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            try:
                archived = packed(ASYNCAPI_SPECS, Path(folder))
            except Unavailable as error:
                left_out(str(error))
            with tarfile.open(archived) as archive:
                member = archive.extractfile("package/schemas/3.0.0.json")
                assert member is not None
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(member.read())
    found: Json = json.loads(kept.read_text(encoding="utf-8"))
    return found


@pytest.mark.node
def test_asyncapis_own_schema_accepts_the_document_and_refuses_a_damaged_one() -> None:
    validator = jsonschema.Draft7Validator(_official_schema())
    damaged = _asyncapi()
    damaged["operations"]["checkout.says.order.paid.v1"]["action"] = "publish"

    found = [f"/{'/'.join(map(str, e.path))}: {e.message[:300]}" for e in validator.iter_errors(_asyncapi())]

    assert found == []
    assert not validator.is_valid(damaged)
