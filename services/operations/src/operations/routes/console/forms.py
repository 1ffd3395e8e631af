"""What forms and addresses of pages say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ValidationError

from operations.model.letters import Position
from operations.routes.wishes import ReasonRequest
from payments_shared.errors import FieldError, Refused
from payments_shared.http import read_bytes, read_query
from payments_shared.http.reading import refusal_of

FIELDS_MAX: Final = 2000
NUL: Final = "\x00"  # no text of the database holds it
FORM: Final = "application/x-www-form-urlencoded"
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, in their order. A field may stand several times."""

    fields: Sequence[tuple[str, str]] = ()

    def first(self, name: str) -> str:
        """The value of a field; empty when it is not there."""
        return next((value for found, value in self.fields if found == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for found, value in self.fields if found == name and value]


FORM_KEY: Final = web.RequestKey("form", Form)


async def read_form(request: web.Request) -> Form:
    """The form of a request.

    Raises:
        Refused: 415 for another media type, 400 for what is no form, 408.
        web.HTTPRequestEntityTooLarge: larger than the application allows.
    """
    if request.content_type != FORM:
        raise Refused("unsupported_media_type", "Send the form of the page.", status=415)
    raw = await read_bytes(request)
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise Refused("malformed_form", "That is no form.", status=400) from None
    if any(NUL in text for pair in pairs for text in pair):
        raise Refused("malformed_form", "That is no form.", status=400)
    # A browser ends lines of a text area as the network does.
    return Form([(name, value.replace("\r\n", "\n")) for name, value in pairs])


def query_of(request: web.Request, model: type[M]) -> M:
    """The query of a page. A field that was left empty says nothing.

    Raises:
        Refused: 422 with a pointer for each parameter.
    """
    given = [(name, value.strip()) for name, value in request.query.items() if value.strip() and name != "said"]
    return read_query(request.clone(rel_url=request.rel_url.with_query(given)), model)


def checked(model: type[M], given: object) -> M:
    """What a form says, as the model that the same request has as JSON.

    Raises:
        Refused: 422 with a pointer for each field.
    """
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise refusal_of(error) from None


def reason_in(form: Form) -> str:
    """Why somebody does what the form asks for.

    Raises:
        Refused: 422.
    """
    return checked(ReasonRequest, {"reason": form.first("reason").strip()}).reason


def number(text: str, name: str) -> float:
    """A number that somebody typed.

    Raises:
        Refused: 422.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        fault = FieldError(f"/{name}", "must be a number")
        raise Refused("validation_failed", "Some fields cannot be accepted.", status=422, errors=[fault])
    return found


def written_position(position: Position) -> str:
    """Where a page ended, as it stands in an address."""
    return f"{position.last_failed_at.isoformat()}~{position.id}"


def read_position(text: str) -> Position:
    """Read back what `written_position` wrote.

    Raises:
        ValueError: it is none.
    """
    at, _, letter_id = text.partition("~")
    time = datetime.fromisoformat(at)
    if time.tzinfo is None:
        raise ValueError("must name its offset")
    try:
        return Position(time.astimezone(UTC), UUID(letter_id))
    except OverflowError:
        raise ValueError("must be a time that there is") from None
