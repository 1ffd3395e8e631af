"""The envelope of every message: structured-mode CloudEvents 1.0, so that it survives dead-lettering byte for byte."""

import re
import zlib
from datetime import UTC, date, datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from payments_shared import tracing
from payments_shared.contracts.message import is_command

CONTENT_TYPE: Final = "application/cloudevents+json"
BODY_MAX_BYTES: Final = 1024 * 1024
TAIL: Final = b"}"
_SAID: Final = re.compile(rb'"traceparent":"([0-9a-f-]{55})","data":')  # as `head` writes it
_HEAD_BYTES: Final = 2048
BUCKETS: Final = 64  # routing keys carry a bucket, so that a service can move to partitioned queues by re-binding


class Undecodable(Exception):
    """The bytes are not an envelope that we understand; no retry can help."""


class Envelope(NamedTuple):
    """The attributes of one message, without its data. `time` is when the fact was recorded, in UTC."""

    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    partitionkey: str
    livemode: bool = False
    sequence: int | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None

    @property
    def trace(self) -> str:
        """Its trace context. What was said outside any, as all that Stripe starts, begins one for all its hearers."""
        return self.traceparent or tracing.rooted_in(self.id)

    @property
    def cause_of_others(self) -> str | None:
        """What messages name as their cause that are said because of this one: itself. In the place of a command, of
        which nobody else ever heard, stands what it was said because of; its trace goes on through it."""
        return self.causationid if is_command(self.type) else str(self.id)

    @property
    def day(self) -> date:
        """The UTC day of `time`: the partition in which the message is remembered."""
        return self.time.astimezone(UTC).date()


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore")

    specversion: str
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    partitionkey: str
    livemode: bool = False
    sequence: int | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    data: Any  # Any: typed by the message's own model in the next step


def wire_schema() -> dict[str, Any]:  # Any: JSON Schema
    """What every body holds, as JSON Schema; `data` is anything."""
    return _Wire.model_json_schema() | {
        "title": "Envelope",
        "description": "Structured CloudEvents 1.0.",
    }


def head(envelope: Envelope) -> str:
    """What stands before the data on the wire, in ASCII; after the data comes `TAIL`.

    Written out by hand: this runs once for every message, and a general encoder takes three times as long.
    """
    optional = "" if envelope.sequence is None else f'"sequence":{envelope.sequence:d},'
    if envelope.correlationid:
        optional += f'"correlationid":{_quoted(envelope.correlationid)},'
    if envelope.causationid:
        optional += f'"causationid":{_quoted(envelope.causationid)},'
    if envelope.traceparent:
        optional += f'"traceparent":{_quoted(envelope.traceparent)},'
    return (
        f'{{"specversion":"1.0","id":"{envelope.id}","source":{_quoted(envelope.source)},'
        f'"type":{_quoted(envelope.type)},"subject":{_quoted(envelope.subject)},'
        f'"time":"{envelope.time.astimezone(UTC).isoformat()}","datacontenttype":"application/json",'
        f'"partitionkey":{_quoted(envelope.partitionkey)},'
        f'"livemode":{"true" if envelope.livemode else "false"},{optional}"data":'
    )


def encode(envelope: Envelope, data: bytes) -> bytes:
    """The body on the wire. `data` is JSON already and is carried untouched.

    Raises:
        ValueError: the body is larger than `BODY_MAX_BYTES`.
    """
    body = head(envelope).encode() + data + TAIL
    if len(body) > BODY_MAX_BYTES:
        raise ValueError(f"message {envelope.id} of type {envelope.type} exceeds {BODY_MAX_BYTES} bytes")
    return body


def decode(body: bytes) -> tuple[Envelope, Any]:  # Any: see _Wire.data
    """The envelope and its still untyped data.

    Raises:
        Undecodable: not JSON, not an envelope, too large, or a time without a zone.
    """
    if len(body) > BODY_MAX_BYTES:
        raise Undecodable(f"body of {len(body)} bytes")
    try:
        wire = _Wire.model_validate_json(body)
    except (ValidationError, ValueError, RecursionError) as error:
        raise Undecodable(f"not an envelope: {type(error).__name__}") from error
    if wire.specversion != "1.0" or wire.time.tzinfo is None:
        raise Undecodable("specversion is not 1.0, or time has no zone")
    return (
        Envelope(
            id=wire.id,
            source=wire.source,
            type=wire.type,
            subject=wire.subject,
            time=wire.time,
            partitionkey=wire.partitionkey,
            livemode=wire.livemode,
            sequence=wire.sequence,
            correlationid=wire.correlationid,
            causationid=wire.causationid,
            traceparent=wire.traceparent,
        ),
        wire.data,
    )


def traceparent_in(body: bytes) -> str | None:
    """The trace context in which a message was said, found without reading the rest of its body."""
    found = _SAID.search(body, 0, _HEAD_BYTES)
    return tracing.well_formed(found[1].decode()) if found else None


def routing_key(message_type: str, partition_key: str) -> str:
    """`order.paid.v1.b07`: the type and the bucket of the key."""
    return f"{message_type}.b{zlib.crc32(partition_key.encode()) % BUCKETS:02d}"
