"""What connections speak, as far as a fault must understand it. `up` goes to the server, `down` to the client.

Each method takes bytes as they come off the network, cut anywhere, and returns those to pass on.
"""

import re
import struct
from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from tests.faults.proxy.faults import (
    InForce,
    SwallowAnswer,
    SwallowCommit,
    SwallowConfirm,
    SwallowReceipt,
    SwallowReply,
)


class Swallowed(Exception):
    """A reply was dropped; the connection is to be reset."""


class Wire(Protocol):
    """One connection's protocol."""

    def up(self, data: bytes) -> bytes: ...

    def down(self, data: bytes) -> bytes:
        """Raises: Swallowed."""


class Plain:
    """Bytes that nobody here understands."""

    def up(self, data: bytes) -> bytes:
        return data

    def down(self, data: bytes) -> bytes:
        return data


# -- PostgreSQL ----------------------------------------------------------------------------------------------------

_STARTUP: Final = 196608  # protocol 3.0
_ENCRYPTION: Final = (80877103, 80877104)  # TLS and GSS: the server answers one byte, here always a refusal
_CANCEL: Final = 80877102
_WRITES: Final = (b"INSERT", b"UPDATE", b"DELETE", b"WITH", b"MERGE")
_ENDS_TRANSACTION: Final = (b"COMMIT", b"END")


@dataclass(slots=True)
class _Reply:
    """What the server is expected to say up to its next ReadyForQuery; `held` when nobody is to hear it."""

    held: bytearray | None
    failed: bool = False
    wrote: bool = False


class PostgresWire:
    """Finds what commits: COMMIT itself, and a write outside of a transaction, in both protocols.

    Source: PostgreSQL documentation, "Message Formats".
    """

    def __init__(self, force: InForce) -> None:
        self._force = force
        self._from_client = bytearray()
        self._from_server = bytearray()
        self._started = False
        self._refusals = 0
        self._statements: dict[bytes, bytes] = {}
        self._portals: dict[bytes, bytes] = {}
        self._commits = False
        self._replies: deque[_Reply] = deque()
        self._idle = True

    def up(self, data: bytes) -> bytes:
        self._from_client += data
        while not self._started and len(self._from_client) >= 8:
            size, code = struct.unpack_from("!II", self._from_client)
            if len(self._from_client) < size:
                break
            del self._from_client[:size]
            self._started = code in (_STARTUP, _CANCEL)
            self._refusals += code in _ENCRYPTION
        while self._started and len(self._from_client) >= 5:
            (size,) = struct.unpack_from("!I", self._from_client, 1)
            if len(self._from_client) < size + 1:
                break
            self._said(self._from_client[0], bytes(self._from_client[5 : size + 1]))
            del self._from_client[: size + 1]
        return data

    def _said(self, kind: int, body: bytes) -> None:
        match chr(kind):
            case "Q":
                self._commits = self._ends(body.rstrip(b"\0"))
                self._expect()
            case "P":
                name, query, _ = body.split(b"\0", 2)
                self._statements[name] = query
            case "B":
                portal, name, _ = body.split(b"\0", 2)
                self._portals[portal] = self._statements.get(name, b"")
            case "E":
                self._commits |= self._ends(self._portals.get(body.split(b"\0", 1)[0], b""))
            case "S":
                self._expect()
            case _:
                pass

    def _ends(self, query: bytes) -> bool:
        words = query.lstrip().upper()
        return words.startswith(_ENDS_TRANSACTION) or (self._idle and words.startswith(_WRITES))

    def _expect(self) -> None:
        doomed = self._commits and self._force.drawn(SwallowCommit)
        self._replies.append(_Reply(bytearray() if doomed else None))
        self._commits = False

    def down(self, data: bytes) -> bytes:
        self._from_server += data
        passed = bytearray()
        while self._refusals and self._from_server:
            passed += self._from_server[:1]
            del self._from_server[:1]
            self._refusals -= 1
        while len(self._from_server) >= 5:
            (size,) = struct.unpack_from("!I", self._from_server, 1)
            if len(self._from_server) < size + 1:
                break
            message = bytes(self._from_server[: size + 1])
            del self._from_server[: size + 1]
            passed += self._heard(message)
        return bytes(passed)

    def _heard(self, message: bytes) -> bytes:
        kind, ended = message[:1], message[:1] == b"Z"
        reply = self._replies[0] if self._replies else _Reply(None)
        reply.failed |= kind == b"E"
        reply.wrote |= kind == b"C" and not message[5:].startswith((b"SELECT", b"ROLLBACK"))
        if ended:
            self._idle = message[5:6] == b"I"
            if self._replies:
                self._replies.popleft()
        if reply.held is None:
            return message
        reply.held += message
        if not ended:
            return b""
        if reply.failed or not reply.wrote or not self._idle:
            return bytes(reply.held)  # nothing was committed, and that may be said
        self._force.strike(SwallowCommit)
        raise Swallowed


# -- AMQP ----------------------------------------------------------------------------------------------------------

_METHOD_FRAME: Final = 1
_BASIC_ACK: Final = (60, 80)


class AmqpWire:
    """Finds the broker's confirmations: it says `basic.ack` for nothing else.

    Source: AMQP 0-9-1 specification, 2.3.5 "Frame Details".
    """

    def __init__(self, force: InForce) -> None:
        self._force = force
        self._from_server = bytearray()

    def up(self, data: bytes) -> bytes:
        return data

    def down(self, data: bytes) -> bytes:
        self._from_server += data
        passed = bytearray()
        while len(self._from_server) >= 7:
            kind, _, size = struct.unpack_from("!BHI", self._from_server)
            if len(self._from_server) < size + 8:
                break
            frame = bytes(self._from_server[: size + 8])
            del self._from_server[: size + 8]
            if self._is_doomed(kind, frame):
                self._force.strike(SwallowConfirm)
                if self._cuts():
                    raise Swallowed
            else:
                passed += frame
        return bytes(passed)

    def _is_doomed(self, kind: int, frame: bytes) -> bool:
        is_ack = kind == _METHOD_FRAME and struct.unpack_from("!HH", frame, 7) == _BASIC_ACK
        return is_ack and self._force.drawn(SwallowConfirm)

    def _cuts(self) -> bool:
        fault = self._force.get(SwallowConfirm)
        return fault is not None and fault.cuts


# -- HTTP ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class HttpWire:
    """One request at a time, as clients send them: a turn begins when the client speaks after the server did."""

    force: InForce
    _answering: bool = True
    _doomed: bool = False
    _unread: bytes = field(default=b"")

    def up(self, data: bytes) -> bytes:
        if self._answering:
            self._answering = False
            fault = self.force.get(SwallowAnswer)
            meant = fault is not None and data.startswith(fault.prefix.encode())
            self._doomed = meant and self.force.drawn(SwallowAnswer)
        return data

    def down(self, data: bytes) -> bytes:
        self._answering = True
        if self._doomed:
            self.force.strike(SwallowAnswer)
            raise Swallowed
        return data


# -- SMTP ----------------------------------------------------------------------------------------------------------

_MESSAGE_ID: Final = re.compile(rb"^Message-ID:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


class SmtpWire:
    """Finds replies, and among them the one by which a mail is taken: 250 after the mail itself.

    Source: RFC 5321, 4.1.1.4 "DATA" and 4.2 "SMTP Replies".
    """

    def __init__(self, force: InForce) -> None:
        self._force = force
        self._from_server = bytearray()
        self._reply = bytearray()
        self._mail: bytearray | None = None

    def up(self, data: bytes) -> bytes:
        if self._mail is not None:
            self._mail += data
        return data

    def down(self, data: bytes) -> bytes:
        self._from_server += data
        passed = bytearray()
        while (end := self._from_server.find(b"\r\n") + 2) >= 2:
            line = bytes(self._from_server[:end])
            del self._from_server[:end]
            self._reply += line
            if line[3:4] != b"-":  # the last line of this reply
                passed += self._heard(bytes(self._reply))
                self._reply.clear()
        return bytes(passed)

    def _heard(self, reply: bytes) -> bytes:
        mail, self._mail = self._mail, bytearray() if reply.startswith(b"354") else None
        if mail is not None and reply.startswith(b"250"):
            if self._force.drawn(SwallowReceipt):
                self._force.strike(SwallowReceipt)
                named = _MESSAGE_ID.search(mail)
                self._force.untold[named[1].decode() if named else ""] += 1
                raise Swallowed
        elif self._force.drawn(SwallowReply):
            self._force.strike(SwallowReply)
            raise Swallowed
        return reply


def wire_of_server(first: bytes, force: InForce) -> Wire:
    """What a server speaks who is the first to speak, and begins with `first`."""
    return SmtpWire(force) if first.startswith((b"220 ", b"220-")) else Plain()


def wire_of(first: bytes, force: InForce) -> Wire:
    """What a client speaks who begins with `first`."""
    if first.startswith(b"AMQP"):
        return AmqpWire(force)
    if first.split(b" ", 1)[0] in (b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS"):
        return HttpWire(force)
    if len(first) >= 8 and struct.unpack_from("!I", first, 4)[0] in (_STARTUP, *_ENCRYPTION, _CANCEL):
        return PostgresWire(force)
    return Plain()
