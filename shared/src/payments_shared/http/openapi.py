"""The OpenAPI 3.1 document of a service, made of its operations. Source: the OpenAPI Specification 3.1.1.

Schemas are those that pydantic makes of the very types with which requests are read and answers are built.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from payments_shared.http.api import Api
from payments_shared.http.operations import (
    JSON,
    REQUEST_ID,
    REQUEST_ID_SHOWN,
    Answer,
    Body,
    Credential,
    Header,
    Operation,
    Parameter,
    Problem,
    Refusal,
    Scheme,
    Section,
)
from payments_shared.http.problems import CONTENT_TYPE as PROBLEM_JSON

Json = dict[str, Any]  # Any: JSON
VERSION: Final = "1.0.0"
FRONT_DOOR: Final = {"url": "http://127.0.0.1:8080", "description": "The front door of the demo."}
SECOND_PORT: Final = {"url": "/", "description": "The service's second port, which no front door routes."}


def document(api: Api) -> Json:
    """The document of everything that the service answers. Operations of the front door name it as their server."""
    return _document(api, [(section, FRONT_DOOR) for section in api.public] + [(s, SECOND_PORT) for s in api.inside])


def public_document(api: Api) -> Json:
    """The document of what the front door routes to the service."""
    return _document(api, [(section, FRONT_DOOR) for section in api.public])


def as_text(made: Mapping[str, Any]) -> str:
    """A document as it stands in its file."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _document(api: Api, sections: Sequence[tuple[Section, Mapping[str, str]]]) -> Json:
    schemas = _Schemas([operation for section, _ in sections for operation in section.operations])
    paths: Json = {}
    servers = [server for server in (FRONT_DOOR, SECOND_PORT) if any(server is given for _, given in sections)]
    for section, server in sections:
        for operation in section.operations:
            item = paths.setdefault(operation.template, {"servers": [dict(server)]} if len(servers) > 1 else {})
            item[operation.method.lower()] = {"tags": [section.name], **_operation(operation, schemas)}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": f"Payments: {api.service}",
            "version": VERSION,
            "summary": api.summary,
            **_described(api.description),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [dict(server) for server in servers],
        "tags": [{"name": section.name, "description": section.description} for section, _ in sections],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "parameters": {"RequestId": _parameter(REQUEST_ID, schemas)},
            "headers": {"RequestId": _header(REQUEST_ID_SHOWN, schemas)},
            "securitySchemes": _schemes(sections),
        },
    }


def _schemes(sections: Sequence[tuple[Section, object]]) -> Json:
    found: dict[str, Scheme] = {}
    for section, _ in sections:
        for operation in section.operations:
            for credential in operation.callers:
                if credential.scheme is not None:
                    found[credential.scheme.name] = credential.scheme
    return {name: dict(scheme.document) for name, scheme in sorted(found.items())}


def _operation(operation: Operation, schemas: "_Schemas") -> Json:
    made: Json = {"operationId": operation.id, "summary": operation.summary, **_described(operation.description)}
    made["security"] = [one for credential in operation.callers for one in _security(credential)]
    made["parameters"] = list(_parameters(operation, schemas))
    if operation.body is not None:
        made["requestBody"] = _body(operation.body, schemas)
    refusals = {status: list(of) for status, of in groupby(operation.every_refusal(), key=lambda one: one.status)}
    made["responses"] = {
        **{str(answer.status): _answer(answer, schemas) for answer in operation.answers},
        **{str(status): _refused(of, schemas) for status, of in refusals.items()},
    }
    return made


def _security(credential: Credential) -> list[Json]:
    """Requirements, of which one is enough. All roles of one would be needed together, so each role has its own."""
    if credential.scheme is None:
        return [{}]
    return [{credential.scheme.name: [role]} for role in credential.roles] or [{credential.scheme.name: []}]


def _parameters(operation: Operation, schemas: "_Schemas") -> Iterator[Json]:
    for given in operation.parameters:
        made = _parameter(given, schemas)
        if given.where == "path" and given.name in operation.patterns:
            made["schema"]["pattern"] = operation.patterns[given.name]
        yield made
    if operation.query is not None:
        yield from _query(schemas.queries[operation.query])
    yield {"$ref": "#/components/parameters/RequestId"}


def _parameter(given: Parameter, schemas: "_Schemas") -> Json:
    return {
        "name": given.name,
        "in": given.where,
        **({"required": True} if given.required or given.where == "path" else {}),
        **_described(given.description),
        "schema": schemas.of(given.type),
    }


def _body(body: Body, schemas: "_Schemas") -> Json:
    example = {"example": dict(body.example)} if body.example is not None else {}
    content = {JSON: {"schema": schemas.of(body.model), **example}}
    return {"required": True, **_described(body.description), "content": content}


def _answer(answer: Answer, schemas: "_Schemas") -> Json:
    made: Json = {"description": answer.description, "headers": _headers(answer.headers, schemas)}
    if answer.shape is not None:
        made["content"] = {answer.media_type: {"schema": schemas.of(answer.shape, answered=True)}}
    return made


def _refused(refusals: Sequence[Refusal], schemas: "_Schemas") -> Json:
    """One response for all refusals of a status. A header is promised when each of them has it."""
    told = "\n\n".join(f"`{refusal.code}`: {refusal.description}" for refusal in refusals)
    headers = {
        header.name: header if all(header in other.headers for other in refusals) else _sometimes(header)
        for refusal in refusals
        for header in refusal.headers
    }
    codes = {"properties": {"code": {"enum": list(dict.fromkeys(refusal.code for refusal in refusals))}}}
    schema = {"allOf": [schemas.of(Problem, answered=True), codes]}
    return {
        "description": told,
        "headers": _headers(headers.values(), schemas),
        "content": {PROBLEM_JSON: {"schema": schema}},
    }


def _sometimes(header: Header) -> Header:
    return Header(header.name, header.description, header.type)


def _headers(headers: Iterable[Header], schemas: "_Schemas") -> Json:
    made: Json = {header.name: _header(header, schemas) for header in headers}
    return {**made, REQUEST_ID_SHOWN.name: {"$ref": "#/components/headers/RequestId"}}


def _header(header: Header, schemas: "_Schemas") -> Json:
    required = {"required": True} if header.always else {}
    return {**required, "description": header.description, "schema": schemas.of(header.type)}


def _unwrapped(text: str) -> str:
    """A docstring without the line breaks that only its width made."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _described(text: str) -> Json:
    return {"description": text} if text else {}


class _Generator(GenerateJsonSchema):
    """Schemas without a title for each field. What is answered is all there, also where our code has a default, and
    nothing beside it."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 # Any: pydantic's own
        return False

    def field_is_required(
        self, field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField, total: bool
    ) -> bool:
        if self.mode == "serialization" and field["type"] != "typed-dict-field":
            return True
        return super().field_is_required(field, total)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"]) if self.mode == "serialization" else super().default_schema(schema)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        return {"additionalProperties": False, **made} if "patternProperties" in made else made

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        return self._closed(super().typed_dict_schema(schema))

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return self._closed(super().dataclass_schema(schema))

    def _closed(self, made: JsonSchemaValue) -> JsonSchemaValue:
        return {"additionalProperties": False, **made} if self.mode == "serialization" else made


class _Schemas:
    """The schemas of all types that operations speak of. Those with a name of their own become components."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        wanted: dict[tuple[str, JsonSchemaMode], TypeAdapter[Any]] = {}
        for type_, mode in (one for operation in operations for one in _types(operation)):
            if (repr(type_), mode) not in wanted:
                wanted[repr(type_), mode] = TypeAdapter(type_)
        inputs = [(key, mode, adapter) for (key, mode), adapter in wanted.items()]
        self._made, rest = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Generator
        )
        self.components: Json = dict(sorted(rest.get("$defs", {}).items()))
        for component in self.components.values():
            if "description" in component:
                component["description"] = _unwrapped(component["description"])
        # A query is no shape of its own: its fields are parameters.
        self.queries: dict[type[BaseModel], Json] = {
            operation.query: self.components.pop(operation.query.__name__)
            for operation in operations
            if operation.query
        }

    def of(self, type_: Any, *, answered: bool = False) -> Json:  # Any: a type as pydantic takes it
        """The schema of a type that is taken, or answered."""
        return dict(self._made[repr(type_), "serialization" if answered else "validation"])


def _types(operation: Operation) -> Iterator[tuple[Any, JsonSchemaMode]]:
    """All types of an operation, and whether they are read or written."""
    answers = [answer for answer in operation.answers if answer.shape is not None]
    headers = [header for answer in operation.answers for header in answer.headers]
    headers += [header for refusal in operation.every_refusal() for header in refusal.headers]
    for parameter in (*operation.parameters, REQUEST_ID):
        yield parameter.type, "validation"
    for header in (*headers, REQUEST_ID_SHOWN):
        yield header.type, "validation"
    if operation.query is not None:
        yield operation.query, "validation"
    if operation.body is not None:
        yield operation.body.model, "validation"
    for shape in (*(answer.shape for answer in answers), Problem):
        yield shape, "serialization"


def _query(schema: Json) -> Iterator[Json]:
    """The parameters of a query. None stands for one that is not there, and is none to be sent."""
    for name, made in schema["properties"].items():
        given = {key: value for key, value in made.items() if key != "description" and value is not None}
        if "anyOf" in given:
            [given] = [one for one in given["anyOf"] if one != {"type": "null"}]
        required = {"required": True} if name in schema.get("required", ()) else {}
        yield {"name": name, "in": "query", **required, **_described(made.get("description", "")), "schema": given}
