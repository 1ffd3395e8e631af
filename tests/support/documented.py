"""Answers judged by the OpenAPI document of the service that gave them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from multidict import CIMultiDict

Json = dict[str, Any]
DOCUMENTS: Final = Path(__file__).parents[2] / "docs/openapi"
_TEXT: Final = ("text/event-stream", "text/html", "text/plain")


@cache
def document(service: str) -> Json:
    """A service's document, as it stands in the tree."""
    found: Json = json.loads((DOCUMENTS / f"{service}.json").read_text(encoding="utf-8"))
    return found


def faults(service: str, method: str, template: str, answer: Any) -> list[str]:
    """What of an answer the document does not promise. The body of one that is no JSON is its text, or {raw: text}."""
    responses = document(service)["paths"][template][method.lower()]["responses"]
    if str(answer.status) not in responses:
        return [f"{method} {template} answers {answer.status} {str(answer.body)[:300]}, which is not documented"]
    return list(_departures(service, responses[str(answer.status)], answer.headers, answer.body))


def _departures(service: str, promised: Json, headers: "CIMultiDict[str]", body: Any) -> Iterator[str]:
    for name, given in promised.get("headers", {}).items():
        header = _resolved(service, given)
        if name in headers:
            yield from errors(service, header["schema"], headers[name], f"header {name}")
        elif header.get("required"):
            yield f"header {name} is missing"
    content = promised.get("content", {})
    media_type = headers.get("Content-Type", "").partition(";")[0]
    if content and media_type not in content:
        yield f"media type {media_type!r}, not one of {list(content)}"
    elif content:
        told = body["raw"] if media_type in _TEXT and isinstance(body, dict) else body
        yield from errors(service, content[media_type]["schema"], told, "body")


def errors(service: str, schema: Json, value: object, what: str) -> list[str]:
    """What of a value its schema does not allow."""
    found = _validator(service, json.dumps(schema, sort_keys=True)).iter_errors(value)
    return [f"{what} at {error.json_path}: {error.message[:300]}" for error in found]


@cache
def _validator(service: str, schema: str) -> Draft202012Validator:
    whole = {**json.loads(schema), "components": document(service)["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def _resolved(service: str, value: Json) -> Json:
    while "$ref" in value:
        target: Any = document(service)
        for part in value["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        value = target
    return value


# -- any answer ------------------------------------------------------------------------------------------------------


def template_of(service: str, method: str, url: str) -> str | None:
    """The operation that a call was for; None when there is none."""
    path = urlsplit(url).path
    for pattern, template in _patterns(service):
        if pattern.fullmatch(path) and method.lower() in document(service)["paths"][template]:
            return template
    return None


@cache
def _patterns(service: str) -> list[tuple[re.Pattern[str], str]]:
    # What is spelt out wins over what may be anything, as `…/bulks` over `…/{id}`.
    templates = sorted(document(service)["paths"], key=lambda template: template.count("{"))
    return [(re.compile(re.sub(r"\{[^}]*\}", "[^/]+", template)), template) for template in templates]
