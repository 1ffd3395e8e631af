"""The process that stands between: it accepts, connects onwards, and passes bytes on as the faults in force allow."""

import asyncio
import contextlib
import json
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tests.faults.proxy.faults import Blackhole, CutNew, Delay, InForce, Refuse, Throttle, from_json
from tests.faults.proxy.wires import Swallowed, Wire, wire_of, wire_of_server

PIECE_BYTES: Final = 65536
CONNECT_SECONDS: Final = 10.0
BACKLOG: Final = 512
Direction = Literal["up", "down"]
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True, eq=False)
class Through:
    """One connection: the client's end and, once it is made, the server's."""

    force: InForce
    ends: list[Ends]
    wire: Wire | None = None
    lost_bytes: bool = False

    async def run(self, host: str, port: int) -> None:
        """Pass on until both sides have said all; an end by force on one side is one on the other."""
        try:
            if not self._hole("up"):
                async with asyncio.timeout(CONNECT_SECONDS):
                    self.ends.append(await asyncio.open_connection(host, port, limit=PIECE_BYTES))
            client, server = self.ends[0], self.ends[-1]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(client[0], server[1], "up"))
                if server is not client:
                    group.create_task(self._pump(server[0], client[1], "down"))
        except* (OSError, TimeoutError, Swallowed):
            self.reset()
        else:
            for _, writer in self.ends:
                writer.close()

    def reset(self) -> None:
        """End both sides with a RST."""
        for _, writer in self.ends:
            end = writer.get_extra_info("socket")
            if end is not None and not writer.transport.is_closing():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _hole(self, direction: Direction) -> bool:
        hole = self.force.get(Blackhole)
        return hole is not None and getattr(hole, direction)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction) -> None:
        while data := await source.read(PIECE_BYTES):
            if len(self.ends) == 1 or self._hole(direction):
                self.lost_bytes = True
                self.force.strike(Blackhole)
            elif passed := self._understood(data, direction):
                await self._send(sink, passed, direction)
        if len(self.ends) > 1:
            sink.write_eof()

    def _understood(self, data: bytes, direction: Direction) -> bytes:
        if self.wire is None:
            self.wire = (wire_of if direction == "up" else wire_of_server)(data, self.force)
        return self.wire.up(data) if direction == "up" else self.wire.down(data)

    async def _send(self, sink: asyncio.StreamWriter, data: bytes, direction: Direction) -> None:
        delay = self.force.get(Delay)
        seconds = 0.0 if delay is None else delay.up_seconds if direction == "up" else delay.down_seconds
        if delay is not None and seconds:
            self.force.strike(Delay)
            await self._rest(seconds + self.force.jitter(delay))
        while data and (throttle := self.force.get(Throttle)):
            self.force.strike(Throttle)
            piece = max(1, throttle.bytes_per_second // 10)
            sink.write(data[:piece])
            data = data[piece:]
            await self._rest(piece / throttle.bytes_per_second)
        sink.write(data)
        await sink.drain()

    async def _rest(self, seconds: float) -> None:
        """Wait, but no longer than the faults stay as they are."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.force.changed.wait(), timeout=seconds)


@dataclass(slots=True)
class Relaying:
    """The proxy itself: its door, and what is open."""

    host: str
    port: int
    door: socket.socket
    force: InForce = field(default_factory=InForce)
    open: set[Through] = field(default_factory=set)
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    cut: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def accept(self) -> None:
        """Take connections for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self.listening.wait()
            try:
                accepted, _ = await loop.sock_accept(self.door)
            except OSError:
                await asyncio.sleep(0.01)  # the door was closed under us, or a client has left it again
                continue
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.ensure_future(self._serve(accepted))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        through = Through(self.force, [await asyncio.open_connection(sock=accepted, limit=PIECE_BYTES)])
        if self.force.drawn(CutNew):
            self.force.strike(CutNew)
            through.reset()
            return
        self.open.add(through)
        try:
            await through.run(self.host, self.port)
        finally:
            self.open.discard(through)

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
        """Carry out one order of the other process, and say what was seen so far."""
        match order:
            case {"set": given}:
                fault = from_json(given)
                self.force.set(fault)
                if isinstance(fault, Refuse):
                    self._close_door()
            case {"clear": kinds}:
                self.force.clear(*kinds)
                self._open_door()
                self._cut([one for one in self.open if one.lost_bytes and self.force.get(Blackhole) is None])
            case {"cut": _}:
                self._cut(list(self.open))
            case _:
                pass
        return {
            "struck": self.force.struck, "chances": self.force.chances, "open": len(self.open), "cut": self.cut,
            "untold": self.force.untold,
        }  # fmt: skip

    def _close_door(self) -> None:
        if self.listening.is_set():
            self.listening.clear()
            self.door.shutdown(socket.SHUT_RD)  # it stays bound, so that nobody takes the port
            self.force.strike(Refuse)

    def _open_door(self) -> None:
        if not self.listening.is_set() and self.force.get(Refuse) is None:
            self.door.listen(BACKLOG)
            self.listening.set()

    def _cut(self, ones: list[Through]) -> None:
        for one in ones:
            one.reset()
            self.open.discard(one)
            self.cut += 1


async def serve(host: str, port: int) -> None:
    """Relay to the server at `host` and `port`, and obey the orders on standard input until it ends."""
    door = _own_port()
    door.listen(BACKLOG)
    relaying = Relaying(host, port, door)
    relaying.listening.set()
    accepting = asyncio.ensure_future(relaying.accept())
    orders = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    _say({"port": door.getsockname()[1]})
    while line := await orders.readline():
        _say(relaying.obey(json.loads(line)))
    accepting.cancel()


def _own_port() -> socket.socket:
    """A socket with a port of the loopback that it keeps while it does not listen: a port that the kernel chose by
    itself is lost then."""
    chosen, door = socket.socket(), socket.socket()
    with chosen:
        for one, port in ((chosen, lambda: 0), (door, lambda: chosen.getsockname()[1])):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port()))
    door.setblocking(False)
    return door


def _say(answer: dict[str, Any]) -> None:  # Any: JSON
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
