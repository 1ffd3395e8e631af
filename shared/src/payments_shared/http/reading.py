"""Reading requests: bounded in bytes and seconds, and strict about JSON."""

import asyncio
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from payments_shared.errors import FieldError, Refused
from payments_shared.strict_json import MalformedJson, strict_json_loads

BODY_DEADLINE_SECONDS = 10.0

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
