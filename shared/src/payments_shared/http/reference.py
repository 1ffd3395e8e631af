"""A service's OpenAPI document as a page for people: one file, no script, nothing from elsewhere."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from payments_shared.http.openapi import as_text
from payments_shared.http.operations import JSON, Operation

Json = Mapping[str, Any]  # Any: JSON
_CODE: Final = re.compile(r"`([^`]+)`")
_AS_CODE: Final = r"<code>\1</code>"
_REFERENCE: Final = re.compile(r"#/components/schemas/(.+)")


def routes(
    document: Operation, reference: Operation, make: Callable[[], dict[str, Any]], *, path: str
) -> list[web.RouteDef]:
    """The routes of a document and its page, made when first asked for. `path` is where the page finds the document."""

    @cache
    def told() -> tuple[bytes, bytes]:
        made = make()
        return as_text(made).encode(), page(made, path).encode()

    def answer(part: int, media_type: str) -> Handler:
        async def handler(_: web.Request) -> web.Response:
            body = (await asyncio.to_thread(told))[part]
            return web.Response(body=body, content_type=media_type, charset="utf-8", headers=_HEADERS)

        return handler

    return [document.to(answer(0, JSON)), reference.to(answer(1, "text/html"))]


def page(document: Json, path: str) -> str:
    """The page of a document that is itself at `path`."""
    about = document["info"]
    operations = [
        (tag["name"], method, template, operation)
        for tag in document["tags"]
        for template, item in document["paths"].items()
        for method, operation in item.items()
        if method != "servers" and tag["name"] in operation["tags"]
    ]
    told = "".join(
        f"<h2 id='{escape(tag['name'])}'>{escape(tag['name'].capitalize())}</h2>{_prose(tag['description'])}"
        + "".join(
            _operation(method, template, operation, document)
            for name, method, template, operation in operations
            if name == tag["name"]
        )
        for tag in document["tags"]
    )
    shapes = "".join(_shape(name, schema) for name, schema in document["components"]["schemas"].items())
    title = escape(about["title"])
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{_STYLE}</style></head><body><div class='page'>"
        f"<header><h1>{title}</h1><p>{escape(about['summary'])}</p>{_prose(about.get('description', ''))}"
        f"<p><a href='{escape(path)}'>The document for programs</a>, OpenAPI {document['openapi']}.</p></header>"
        f"{_contents(document, operations)}<main>{told}{_credentials(document['components']['securitySchemes'])}"
        f"<h2 id='shapes'>Shapes</h2>{shapes}<footer>Version {escape(about['version'])}</footer></main>"
        "</div></body></html>\n"
    )


def _contents(document: Json, operations: Iterable[tuple[str, str, str, Json]]) -> str:
    listed = list(operations)
    parts = []
    for tag in document["tags"]:
        links = "".join(
            f"<li><a href='#{escape(operation['operationId'])}'>{escape(operation['summary'].rstrip('.'))}</a></li>"
            for name, _, _, operation in listed
            if name == tag["name"]
        )
        parts.append(f"<h2>{escape(tag['name'])}</h2><ul>{links}</ul>")
    more = "<li><a href='#credentials'>Credentials</a></li>" if document["components"]["securitySchemes"] else ""
    more += "<li><a href='#shapes'>Shapes</a></li>"
    return f"<nav aria-label='Operations'>{''.join(parts)}<h2>more</h2><ul>{more}</ul></nav>"


# -- operations ------------------------------------------------------------------------------------------------------


def _operation(method: str, template: str, operation: Json, document: Json) -> str:
    name = escape(operation["operationId"])
    parts = [
        f"<article id='{name}'><h3>{escape(operation['summary'])}</h3>",
        f"<p class='call'><b class='{method}'>{method.upper()}</b><code>{escape(template)}</code></p>",
        _prose(operation.get("description", "")),
        f"<h4>Who may call</h4><p>{_callers(operation['security'])}</p>",
    ]
    if given := [_named(one, document) for one in operation["parameters"]]:
        parts.append(f"<h4>Parameters</h4><dl>{''.join(_parameter(one) for one in given)}</dl>")
    if "requestBody" in operation:
        parts.append(_body(operation["requestBody"]))
    parts.append("<h4>Answers</h4><dl>")
    parts += [_answer(status, answer) for status, answer in operation["responses"].items()]
    return "".join([*parts, "</dl></article>"])


def _callers(security: Iterable[Json]) -> str:
    roles: dict[str, list[str]] = {}
    for requirement in security:
        for scheme, needed in requirement.items() or {"": []}.items():
            roles.setdefault(scheme, []).extend(needed)
    told = []
    for scheme, needed in roles.items():
        if not scheme:
            told.append("anyone")
        else:
            told.append(
                f"<a href='#credential-{escape(scheme)}'>{escape(scheme)}</a>"
                + (f" of {_either(map(escape, needed))}" if needed else "")
            )
    return _either(told).capitalize() if roles.keys() == {""} else _either(told)


def _credentials(schemes: Json) -> str:
    if not schemes:
        return ""
    rows = [
        f"<div id='credential-{escape(name)}'><dt><code>{escape(name)}</code></dt><dd>"
        f"<span class='type'>{_place(scheme)}</span>{_prose(scheme['description'])}</dd></div>"
        for name, scheme in schemes.items()
    ]
    return f"<h2 id='credentials'>Credentials</h2><dl>{''.join(rows)}</dl>"


def _place(scheme: Json) -> str:
    if scheme["type"] == "http":
        return "<code>Authorization: Bearer …</code>"
    return f"{escape(scheme['in'])} <code>{escape(scheme['name'])}</code>"


def _parameter(one: Json) -> str:
    return _row(
        f"<code{_needed(required=one.get('required', False))}>{escape(one['name'])}</code> "
        f"<span class='type'>{one['in']}</span>",
        one["schema"],
        one.get("description", ""),
    )


def _body(body: Json) -> str:
    parts = ["<h4>Body</h4>", _prose(body.get("description", ""))]
    for media_type, content in body["content"].items():
        parts.append(f"<p><code>{escape(media_type)}</code>: {_type(content['schema'])}</p>")
        if "example" in content:
            parts.append(f"<pre>{escape(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre>")
    return "".join(parts)


def _answer(status: str, answer: Json) -> str:
    parts = [_prose(answer["description"])]
    for media_type, content in answer.get("content", {}).items():
        schema = content["schema"]
        if "allOf" in schema:  # a problem: its codes are told above
            continue
        parts.append(f"<p class='type'><code>{escape(media_type)}</code>: {_type(schema)}</p>")
    if names := [name for name in answer.get("headers", {}) if name != "X-Request-Id"]:
        parts.append(f"<p class='type'>with {', '.join(f'<code>{escape(name)}</code>' for name in names)}</p>")
    return f"<div><dt><code>{escape(status)}</code></dt><dd>{''.join(parts)}</dd></div>"


# -- shapes ----------------------------------------------------------------------------------------------------------


def _shape(name: str, schema: Json) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        _row(f"<code{_needed(required=field in needed)}>{escape(field)}</code>", given, given.get("description", ""))
        for field, given in schema.get("properties", {}).items()
    )
    told = _prose(schema.get("description", ""))
    body = f"<dl>{rows}</dl>" if rows else f"<p class='type'>{_type(schema)}</p>"
    return f"<article id='shape-{escape(name)}'><h3>{escape(name)}</h3>{told}{body}</article>"


def _row(name: str, schema: Json, description: str) -> str:
    return f"<div><dt>{name}</dt><dd><span class='type'>{_type(schema)}</span>{_prose(description)}</dd></div>"


def _type(schema: Json) -> str:  # noqa: PLR0911 - a row for each kind of schema
    """What a schema allows, in a few words."""
    match schema:
        case {"$ref": reference}:
            name = escape(_REFERENCE.sub(r"\1", reference))
            return f"<a href='#shape-{name}'>{name}</a>"
        case {"anyOf": several} | {"oneOf": several} | {"allOf": several}:
            return _either(map(_type, several))
        case {"const": value}:
            return f"<code>{escape(json.dumps(value))}</code>"
        case {"enum": values}:
            return _either(f"<code>{escape(str(value))}</code>" for value in values)
        case {"type": "array"}:
            return f"list of {_type(schema.get('items', {}))}{_limits(schema)}"
        case {"type": "object"}:
            of = schema.get("additionalProperties")
            return f"object of {_type(of)}{_limits(schema)}" if isinstance(of, dict) else "object"
        case {"type": kind}:
            return f"{escape(str(kind))}{_limits(schema)}"
    return "anything"


def _limits(schema: Json) -> str:
    words = (
        ("format", "{}"), ("minimum", "at least {}"), ("exclusiveMinimum", "above {}"), ("maximum", "at most {}"),
        ("minLength", "{} characters or more"), ("maxLength", "{} characters at most"), ("minItems", "{} or more"),
        ("maxItems", "{} at most"), ("maxProperties", "{} at most"), ("default", "by default {}"),
    )  # fmt: skip
    told = [escape(word.format(schema[name])) for name, word in words if schema.get(name) not in (None, "")]
    if "pattern" in schema:
        told.append(f"<code>{escape(schema['pattern'])}</code>")
    return "".join(f", {one}" for one in told)


# -- text ------------------------------------------------------------------------------------------------------------


def _prose(text: str) -> str:
    """Paragraphs, with `code`."""
    paragraphs = [one.strip() for one in text.split("\n\n") if one.strip()]
    return "".join(f"<p>{_CODE.sub(_AS_CODE, escape(one, quote=False))}</p>" for one in paragraphs)


def _either(words: Iterable[str]) -> str:
    *before, last = list(words)
    return f"{', '.join(before)} or {last}" if before else last


def _needed(*, required: bool) -> str:
    return " class='needed'" if required else ""


def _named(one: Json, document: Json) -> Json:
    if "$ref" not in one:
        return one
    found: Json = document["components"]["parameters"][one["$ref"].rpartition("/")[2]]
    return found


def _style() -> Iterator[str]:
    for line in files("payments_shared.http").joinpath("reference.css").read_text(encoding="utf-8").splitlines():
        yield line.strip()


_STYLE: Final = "\n".join(_style())
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
