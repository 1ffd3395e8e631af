"""Operations of an HTTP API as data: what each takes, answers and refuses, and who may call it.

A service declares an operation beside its handler, registers the two together, and its OpenAPI document is made of the
same declaration: see `payments_shared.http.openapi`. Texts are plain; `code` stands in backquotes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NotRequired

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field, with_config
from typing_extensions import TypedDict

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
JSON: Final = "application/json"
_VARIABLE: Final = re.compile(r"\{([a-z_]+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")


# -- who may call ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Scheme:
    """A way to show who calls; `document` is its Security Scheme Object. Source: OpenAPI 3.1.1, 4.8.27."""

    name: str
    document: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller shows. With `roles`, a token that bears one of them. Without a scheme: nothing at all."""

    scheme: Scheme | None
    roles: tuple[str, ...] = ()


PEOPLE: Final = Scheme(
    "bearer",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A person's token for the audience `payments`, `typ` at+jwt, at most an hour long.",
    },
)
SERVICES: Final = Scheme(
    "serviceToken",
    {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that another service made for the audience of this one.",
    },
)
ANYONE: Final = Credential(None)


def people(*roles: str) -> Credential:
    """The bearer token of a person with one of `roles`; without any, of any person."""
    return Credential(PEOPLE, roles)


# -- what is taken ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path or in a header. `type` is what pydantic makes a schema of."""

    name: str
    where: Literal["path", "header"]
    description: str
    type: Any = str  # Any: a type as pydantic takes it, annotated or not
    required: bool = False


RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{8,64}$")]
REQUEST_ID: Final = Parameter(
    "X-Request-Id",
    "header",
    "Eight to 64 letters, digits, dots, dashes and underscores are kept and given back. One is made when it is missing "
    "or malformed.",
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    "Made by the caller, one per wish; printable ASCII, bare or in quotes.",
    Annotated[str, Field(min_length=8, max_length=255, pattern=r"^[\x21-\x7e]+$")],
    required=True,
)


# -- what is answered ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer. `always`: it is never missing there."""

    name: str
    description: str
    type: Any = str  # Any: a type as pydantic takes it
    always: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no refusal. `shape` is the type of its body, None when it has none; of JSON it is the shape, of
    other media types a type of text."""

    status: int
    description: str
    shape: Any = None  # Any: a type as pydantic takes it
    media_type: str = JSON
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal by its stable code, and the headers that come with it."""

    status: int
    code: str
    description: str
    headers: tuple[Header, ...] = ()


@with_config(extra="forbid")
class FieldProblem(TypedDict):
    """A part of the request that cannot be accepted."""

    pointer: Annotated[
        str, Field(pattern=r"^(/|$)", description="JSON pointer into the body; `/headers/…` for headers.")
    ]
    detail: str
    code: str


@with_config(extra="forbid")
class Available(TypedDict):
    """How much there is of a line that cannot be had."""

    sku: str
    requested: Annotated[int, Field(ge=1)]
    available: Annotated[int, Field(ge=0)]


@with_config(extra="allow")
class Problem(TypedDict):
    """Why a request was refused, by RFC 9457. Members that are not listed here may be added."""

    type: Annotated[str, Field(pattern=r"^urn:payments:problem:[a-z0-9_]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    request_id: RequestId
    errors: NotRequired[Annotated[list[FieldProblem], Field(min_length=1)]]
    available: NotRequired[list[Available]]


REQUEST_ID_SHOWN: Final = Header("X-Request-Id", "Names the request in our logs.", RequestId, always=True)
RETRY_AFTER: Final = Header(
    "Retry-After", "Seconds after which a repeat makes sense.", Annotated[str, Field(pattern="^[0-9]+$")], always=True
)
REPLAYED: Final = Header("Idempotency-Replayed", "Present on an answer that was given before.", Literal["true"])
AUTHENTICATE: Final = Header("WWW-Authenticate", "By RFC 6750.", always=True)

_UNAUTHORIZED: Final = Refusal(401, "unauthorized", "the bearer token is missing or does not verify.", (AUTHENTICATE,))
_FORBIDDEN: Final = Refusal(403, "forbidden", "this needs another role.")
READ_AS_BYTES: Final = (
    Refusal(408, "body_timeout", "the body took over ten seconds."),
    Refusal(413, "request_entity_too_large", "the body is too large."),
    Refusal(415, "unsupported_media_type", "send `application/json`."),
    Refusal(415, "unsupported_content_encoding", "send the body without a content coding."),
)
_INVALID: Final = Refusal(422, "validation_failed", "`errors` point at what cannot be accepted.")
READ_AS_JSON: Final = (
    Refusal(400, "malformed_json", "the body is no JSON, or not strictly so."),
    *READ_AS_BYTES,
    _INVALID,
)
_OF_KEYS: Final = (
    Refusal(400, "idempotency_key_invalid", "there is no key, more than one, or it is odd."),
    Refusal(409, "idempotency_in_flight", "a request with this key is at work."),
    Refusal(422, "idempotency_mismatch", "the key was used with another request before."),
)
_NOT_ROUTED: Final = Refusal(404, "not_found", "nothing can have such a name.")
DATABASE_AWAY: Final = Refusal(503, "database_unavailable", "the same request may succeed in a moment.", (RETRY_AFTER,))
NOT_FOUND: Final = Refusal(404, "not_found", "there is none, or it is not yours.")


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """A JSON body. `example` is one that is taken, `refusals` follow from how it is read."""

    model: Any  # Any: a type as pydantic takes it
    example: Mapping[str, object] | None = None
    description: str = ""
    refusals: tuple[Refusal, ...] = READ_AS_JSON


# -- operations ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """One operation. `path` is as aiohttp takes it; `refusals` are those that do not follow from the rest."""

    method: Method
    path: str
    id: str
    summary: str
    callers: tuple[Credential, ...]
    answers: tuple[Answer, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    query: type[BaseModel] | None = None
    body: Body | None = None
    refusals: tuple[Refusal, ...] = ()

    def to(self, handler: Handler, **options: bool) -> web.RouteDef:
        """The route to `handler`; `options` are aiohttp's own."""
        return web.route(self.method, self.path, handler, **options)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that may call, when it needs one."""
        return tuple(role for credential in self.callers for role in credential.roles)

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return _VARIABLE.sub(r"{\1}", self.path)

    @property
    def patterns(self) -> Mapping[str, str]:
        """What the route itself demands of the path's variables."""
        return {name: f"^{pattern}$" for name, pattern in _VARIABLE.findall(self.path) if pattern}

    def every_refusal(self) -> list[Refusal]:
        """All refusals, by status: those of its own behind those that follow from what it takes and who may call."""
        found: list[Refusal] = []
        if any(credential.scheme in (PEOPLE, SERVICES) for credential in self.callers):
            found.append(_UNAUTHORIZED)
        if self.roles:
            found.append(_FORBIDDEN)
        if self.patterns:
            found.append(_NOT_ROUTED)
        if self.body is not None:
            found += self.body.refusals
        elif self.query is not None:
            found.append(_INVALID)
        if IDEMPOTENCY_KEY in self.parameters:
            found += _OF_KEYS
        return sorted([*found, *self.refusals], key=lambda refusal: refusal.status)


@dataclass(frozen=True, slots=True)
class Section:
    """Operations that belong together, under one tag."""

    name: str
    description: str
    operations: tuple[Operation, ...]
