"""Reading requests: bounded in bytes and seconds, and strict about JSON and queries."""

import asyncio
import re
from datetime import datetime
from typing import Annotated, Final, TypeVar, get_origin

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ValidationError

from payments_shared.errors import FieldError, Refused
from payments_shared.strict_json import MalformedJson, strict_json_loads

BODY_DEADLINE_SECONDS = 10.0
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)

M = TypeVar("M", bound=BaseModel)


async def read_bytes(request: web.Request) -> bytes:
    """The body, untouched. A body that is not all there after ten seconds answers 408, and `serving.LINGER_SECONDS`
    later the connection is closed.

    Raises:
        Refused: 408 or 415 (any content coding but identity).
        web.HTTPRequestEntityTooLarge: larger than the application allows.
    """
    coding = request.headers.get("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise Refused("unsupported_content_encoding", "Send the body without a content coding.", status=415)
    if request.content.is_eof():  # all of it is here, as with every small body: there is nothing to wait for
        return await request.read()
    try:
        async with asyncio.timeout(BODY_DEADLINE_SECONDS):
            return await request.read()
    except TimeoutError:
        raise Refused("body_timeout", "The body did not arrive in time.", status=408) from None


async def read_json(request: web.Request, model: type[M]) -> M:
    """The JSON body as `model`.

    Raises:
        Refused: 415 another media type, 400 `malformed_json`, 422 `validation_failed` with a pointer per field.
    """
    if request.content_type != "application/json":
        raise Refused("unsupported_media_type", "Send application/json.", status=415)
    raw = await read_bytes(request)
    try:
        value = strict_json_loads(raw)
    except MalformedJson as error:
        raise Refused("malformed_json", str(error), status=400) from None
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise refusal_of(error) from None


def read_query(request: web.Request, model: type[M]) -> M:
    """The query as `model`, whose fields are its parameters: each at most once, unless its field is a list.

    Raises:
        Refused: 422 `validation_failed` with a pointer per parameter; also for one that the model does not name.
    """
    given: dict[str, str | list[str]] = {}
    for name in request.query:
        values = request.query.getall(name)
        field = model.model_fields.get(name)
        may_repeat = field is not None and get_origin(field.annotation) is list
        given[name] = values if may_repeat or len(values) > 1 else values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal_of(error) from None


def _whole(value: object) -> int:
    if not isinstance(value, str) or not _WHOLE.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


def _rfc_3339(value: object) -> object:
    # Pydantic alone would also read a number of seconds, and a day without a time.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        return value
    raise ValueError("must be a time with its offset, such as 2026-08-26T12:00:00Z")


DIGITS: Final = BeforeValidator(_whole)
"""Of an int in a query: digits alone are one."""
Time = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]
"""A time in a JSON body, as RFC 3339 writes it."""


def refusal_of(error: ValidationError) -> Refused:
    """A validation error as a 422 that names each field by its JSON pointer, without echoing its value."""
    errors = [
        FieldError(
            "".join(f"/{_escaped(part)}" for part in _place(problem["loc"])),
            problem["msg"].removeprefix("Value error, "),
            problem["type"],
        )
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return Refused("validation_failed", "Some fields cannot be accepted.", status=422, errors=errors)


def _place(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where pydantic finds fault, as a place in the body: of a key that is wrong it says so with a part of its own."""
    return loc[:-1] if len(loc) > 1 and loc[-1] == "[key]" else loc


def _escaped(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
