"""Reading requests: bounded in bytes and seconds, and strict about JSON."""

import asyncio
import json
import re
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from payments_shared.errors import FieldError, Refused

BODY_DEADLINE_SECONDS = 10.0
DEPTH_MAX = 64
INTEGER_MAX = 2**53

M = TypeVar("M", bound=BaseModel)


class MalformedJson(ValueError):
    """The bytes are not JSON that every parser reads alike."""


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


def refusal_of(error: ValidationError) -> Refused:
    """A validation error as a 422 that names each field by its JSON pointer, without echoing its value."""
    errors = [
        FieldError(
            "".join(f"/{_escaped(part)}" for part in problem["loc"]),
            problem["msg"].removeprefix("Value error, "),
            problem["type"],
        )
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return Refused("validation_failed", "Some fields cannot be accepted.", status=422, errors=errors)


def _escaped(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def strict_json_loads(raw: bytes) -> Any:  # Any: JSON
    """Parse JSON, refusing what parsers disagree on: duplicate keys, NaN, NUL, lone surrogates, huge integers.

    Raises:
        MalformedJson: any of those, or no JSON at all.
    """
    try:
        text = raw.decode("utf-8")
        # Looking at each number costs more than looking once whether there can be one that matters.
        value = (_STRICT if _EXTREME.search(text) else _UNIQUE).decode(text)
    except RecursionError:
        raise MalformedJson("nested too deeply") from None
    except MalformedJson:
        raise
    except ValueError as error:
        raise MalformedJson("not JSON in UTF-8") from error
    if "\\u" in text or "\x00" in text:
        _check_strings(value, 0)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedJson("a key stands twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) < 16:
        return int(digits)
    if len(digits) > 17 or not -INTEGER_MAX <= int(digits) <= INTEGER_MAX:
        raise MalformedJson("an integer beyond 2^53")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise MalformedJson("a number beyond all bounds")
    return value


def _check_strings(value: Any, depth: int) -> None:  # Any: JSON
    if depth > DEPTH_MAX:
        raise MalformedJson("nested too deeply")
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
                raise MalformedJson("a string holds NUL or half a surrogate pair")
        case list():
            for item in value:
                _check_strings(item, depth + 1)
        case dict():
            for key, item in value.items():
                _check_strings(key, depth + 1)
                _check_strings(item, depth + 1)
        case _:
            return


_EXTREME: Final = re.compile(r"[0-9]{16}|[0-9][eE][+-]?[0-9]{2}")
_UNIQUE: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_number
)
