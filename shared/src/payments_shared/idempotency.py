"""Idempotency keys: a request repeated with its key gets the first answer, and never a second effect.

Source: the IETF draft "The Idempotency-Key HTTP Header Field": 400 without a key, 422 for another payload under the
same key, 409 while the first request is at work. The value may be bare or a quoted structured-field string.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from aiohttp import web

from payments_shared.errors import FieldError, Refused
from payments_shared.postgres import Connection

KEY_MIN, KEY_MAX = 8, 255
LEASE_SECONDS: Final = 20  # by default; longer than the total deadline of the outward calls made under it
_PRINTABLE: Final = re.compile(r"^[\x21-\x7e]+$")

_CLAIM: Final = """
INSERT INTO idempotency_keys AS k (principal, route, key, fingerprint, locked_until, resource_id)
VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5), $6)
ON CONFLICT (principal, route, key) DO UPDATE -- takes the row lock: of two repeats at once, one goes on
   SET locked_until = CASE
           WHEN k.state = 'started' AND k.locked_until < now() AND k.fingerprint = excluded.fingerprint
           THEN excluded.locked_until ELSE k.locked_until END
RETURNING fingerprint, state, resource_id, response_status, response_body,
          xmax = 0 AS inserted, locked_until = now() + make_interval(secs => $5) AS taken
"""
_ATTACH: Final = "UPDATE idempotency_keys SET resource_id = $4 WHERE principal = $1 AND route = $2 AND key = $3"
_FINISH: Final = """
UPDATE idempotency_keys
   SET state = 'finished', response_status = $4, response_body = $5
 WHERE principal = $1 AND route = $2 AND key = $3 AND state = 'started' -- the first answer stays
"""
_RENEW: Final = """
UPDATE idempotency_keys AS k SET locked_until = now() + make_interval(secs => $4)
  FROM unnest($1::text[], $2::text[], $3::text[]) AS held (principal, route, key)
 WHERE k.principal = held.principal AND k.route = held.route AND k.key = held.key AND k.state = 'started'
   AND k.locked_until > clock_timestamp() -- not now(), which may lie before a release that came meanwhile
"""
_RELEASE: Final = """
UPDATE idempotency_keys SET locked_until = now()
 WHERE principal = $1 AND route = $2 AND key = $3 AND state = 'started'
"""
_FORGET: Final = """
DELETE FROM idempotency_keys -- SKIP LOCKED: a request that is repeated at this moment keeps its key
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM idempotency_keys
                          WHERE created_at < now() - make_interval(days => $1) ORDER BY created_at LIMIT $2
                            FOR UPDATE SKIP LOCKED))
"""


@dataclass(frozen=True, slots=True)
class Key:
    """Whose key it is, for which route, and for which payload."""

    principal: str
    route: str
    value: str
    fingerprint: bytes

    @property
    def scope(self) -> tuple[str, str, str]:
        return self.principal, self.route, self.value


@dataclass(frozen=True, slots=True)
class Claimed:
    """Nobody used the key before: do the work."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """An earlier request died over it. `resource_id` is what it had made, None when it got nowhere."""

    resource_id: UUID | None


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that was given before, byte for byte."""

    status: int
    body: bytes


def parse_key(request: web.Request) -> str:
    """The key of a request.

    Raises:
        Refused: 400, when it is missing, given twice, too short, too long or not printable ASCII.
    """
    given = request.headers.getall("Idempotency-Key", [])
    if len(given) != 1:
        raise _bad_key("Send exactly one Idempotency-Key header.")
    value = given[0].strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not KEY_MIN <= len(value) <= KEY_MAX or not _PRINTABLE.match(value):
        raise _bad_key(f"The key must be {KEY_MIN} to {KEY_MAX} printable ASCII characters.")
    return value


def _bad_key(detail: str) -> Refused:
    return Refused(
        "idempotency_key_invalid",
        detail,
        status=400,
        errors=[FieldError("/headers/Idempotency-Key", detail, "invalid")],
    )


def fingerprint(payload: object) -> bytes:
    """A hash of `payload` (JSON values) that does not depend on the order of keys or on white space."""
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).digest()


async def claim(
    connection: Connection, key: Key, *, lease_seconds: float = LEASE_SECONDS, resource_id: UUID | None = None
) -> Claimed | Resumed | Replay:
    """Take the key inside the caller's transaction. `resource_id` is what the request makes if the key is new; to a key
    that is resumed it must be attached.

    Raises:
        Refused: 409 `idempotency_in_flight` while another request holds its lease, 422 `idempotency_mismatch`.
    """
    row = await connection.fetchrow(_CLAIM, *key.scope, key.fingerprint, lease_seconds, resource_id)
    assert row is not None  # noqa: S101 - an upsert with RETURNING always returns a row
    if row["inserted"]:
        return Claimed()
    if bytes(row["fingerprint"]) != key.fingerprint:
        raise Refused("idempotency_mismatch", "The key was used with another request before.", status=422)
    if row["state"] == "finished":
        return Replay(row["response_status"], bytes(row["response_body"]))
    if row["taken"]:
        return Resumed(row["resource_id"])
    raise Refused("idempotency_in_flight", "A request with this key is at work.", status=409)


async def attach(connection: Connection, key: Key, resource_id: UUID) -> None:
    """Remember what the request made, in the transaction that makes it."""
    await connection.execute(_ATTACH, *key.scope, resource_id)


async def finish(connection: Connection, key: Key, *, status: int, body: bytes) -> None:
    """Keep the answer for every later repeat."""
    await connection.execute(_FINISH, *key.scope, status, body)


async def renew(connection: Connection, keys: Sequence[Key], *, lease_seconds: float) -> None:
    """Keep the leases of requests that are still at work. One that ran out or was given back stays so."""
    columns = [list(column) for column in zip(*(key.scope for key in keys), strict=True)]
    await connection.execute(_RENEW, *columns, lease_seconds)


async def release(connection: Connection, key: Key) -> None:
    """Give the lease back before its end: the next repeat may go on at once."""
    await connection.execute(_RELEASE, *key.scope)


async def forget(connection: Connection, *, older_than_days: int, at_most: int) -> int:
    """Delete keys that old, and say how many were deleted. A request under one of them would be a new request."""
    return int((await connection.execute(_FORGET, older_than_days, at_most)).rpartition(" ")[2])
