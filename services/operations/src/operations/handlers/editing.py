"""Whether an edited copy is still the message that it stands for, and one that its service understands."""

import json
from dataclasses import dataclass

from pydantic import ValidationError

from operations.decide import editing
from operations.store import Row
from payments_shared.contracts.catalog import CATALOG
from payments_shared.errors import FieldError, Refused
from payments_shared.messaging.envelope import Undecodable, decode


@dataclass(frozen=True, slots=True)
class Copy:
    """A body that may be sent, and its changes as {pointer, from, to}."""

    body: bytes
    changes: list[Row]


def checked(letter: Row, edited: Row) -> Copy:
    """The copy, if it may go.

    Raises:
        Refused: 422 with a pointer for each field.
    """
    editing.refuse_type(letter["type"], letter["service"])
    original = _readable(letter["body"])
    whole: Row = edited if original is None else editing.restored(original, edited)
    changes = editing.refuse_locked(original, whole, message_id=letter["message_id"], type_=letter["type"])
    body = editing.written(whole)
    _refuse_invalid(letter["type"], body)
    return Copy(body, changes)


def _readable(body: bytes) -> Row | None:
    try:
        decode(body)
    except Undecodable:
        return None
    original: Row = json.loads(body)
    return original


def _refuse_invalid(type_: str, body: bytes) -> None:
    try:
        envelope, data = decode(body)
        message = CATALOG[type_].model.model_validate(data)
    except Undecodable as error:
        raise Refused("validation_failed", f"The copy is no message: {error}.", status=422) from error
    except ValidationError as error:
        raise Refused("validation_failed", "The copy breaks its contract.", status=422, errors=_fields(error)) from None
    if (message.subject(), message.partition_key()) != (envelope.subject, envelope.partitionkey):
        locked = FieldError("/data", f"must stay about {envelope.subject}", "locked_field")
        raise Refused(
            "locked_field", "The copy is about something else than its envelope.", status=422, errors=[locked]
        )


def _fields(error: ValidationError) -> list[FieldError]:
    return [
        FieldError("/data" + "".join(f"/{part}" for part in problem["loc"]), problem["msg"], problem["type"])
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
