"""`python -m bench.browsers`: people at open consoles, each browser with a session and a connection of its own.

Every open page asks for its parts again and again, and beside that people click at a constant rate, whatever the
answers do: each request has a moment at which it is due, and its time counts from then, also while its browser still
waits for another answer. One JSON order on standard input; `ready`; a line; then figures.
"""

import gc
import json
import random
import resource
import select
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from bench.connections import complete

PATIENCE_SECONDS: Final = 30.0
SLOW_SECONDS: Final = 0.3
COOKIE: Final = "__Host-payments-session"


@dataclass(frozen=True, slots=True)
class Part:
    """What an open page asks for by itself every so many seconds."""

    path: str
    every: float


@dataclass(frozen=True, slots=True)
class Click:
    """A page that somebody wants. `shows` stands in it, or it is another page."""

    kind: str
    path: str
    shows: str


@dataclass(frozen=True, slots=True)
class Order:
    """`rate` of `clicks` a second for `seconds`, after `warm` seconds that are not counted; a browser for each of
    `tokens`. What is drawn follows from `seed`."""

    port: int
    seed: str
    tokens: Sequence[str]
    parts: Sequence[Part]
    clicks: Sequence[Click]
    rate: float
    seconds: float
    warm: float


@dataclass(frozen=True, slots=True)
class Played:
    """What came back, by the kind of a click or the path of a part: times in seconds, and bytes in all. `slow`: of
    those that were due in each second how many waited too long. `wrong`: what was no page, or another one. `late`: how
    long after its moment the client came to a request at worst."""

    times: dict[str, list[float]]
    sizes: dict[str, int]
    slow: dict[int, int]
    wrong: dict[str, int]
    late: float
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Wish:
    """One request: when it is due, by which browser, what it is called, and what its answer shows."""

    due: float
    browser: int
    kind: str
    path: str
    shows: bytes
    by_itself: bool = False


@dataclass(slots=True)
class Browser:
    """A connection, what waits for it, and what it waits for."""

    token: str
    connection: socket.socket
    wishes: deque[Wish] = field(default_factory=deque)
    asked: Wish | None = None
    data: bytes = b""


def wishes_of(order: Order) -> list[Wish]:
    """Everything that is asked, in the order in which it is due."""
    drawn = random.Random(order.seed)  # noqa: S311 - a load, no secret
    end, browsers = order.warm + order.seconds, len(order.tokens)
    return sorted((*_polls(order, end, browsers), *_clicks(order, end, drawn)), key=lambda wish: wish.due)


def _polls(order: Order, end: float, browsers: int) -> Iterator[Wish]:
    for part in order.parts:
        for browser in range(browsers):
            due = part.every * browser / browsers  # people came one after the other
            while due < end:
                yield Wish(due, browser, part.path, part.path, b"", by_itself=True)
                due += part.every


def _clicks(order: Order, end: float, drawn: random.Random) -> Iterator[Wish]:
    for number in range(int(order.rate * end)):
        click = drawn.choice(order.clicks)
        browser = drawn.randrange(len(order.tokens))
        yield Wish(number / order.rate, browser, click.kind, click.path, click.shows.encode())


class Crowd:
    """All browsers."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._poll = select.epoll()
        self._browsers = [Browser(token, self._connect()) for token in order.tokens]
        self._by_number = {one.connection.fileno(): one for one in self._browsers}
        self._started = 0.0
        self.answers = 0
        self.late = 0.0
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.sizes: Counter[str] = Counter()
        self.slow: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()

    def play(self, wishes: Sequence[Wish]) -> None:
        """Ask for everything when it is due, and wait for all answers."""
        self._started = started = time.perf_counter()
        position, give_up = 0, wishes[-1].due + PATIENCE_SECONDS
        while self.answers < len(wishes):
            now = time.perf_counter() - started
            if now > give_up:
                raise SystemExit(f"{len(wishes) - self.answers} answers never came")
            while position < len(wishes) and wishes[position].due <= now:
                wish = wishes[position]
                self.late = max(self.late, now - wish.due)
                self._browsers[wish.browser].wishes.append(wish)
                self._ask(self._browsers[wish.browser])
                position += 1
            pause = wishes[position].due - (time.perf_counter() - started) if position < len(wishes) else 1.0
            for number, _ in self._poll.poll(max(pause, 0)):
                self._read(self._by_number[number])

    def _connect(self) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self._order.port))
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(one.fileno(), select.EPOLLIN)
        return one

    def _ask(self, browser: Browser) -> None:
        if browser.asked is not None or not browser.wishes:
            return
        browser.asked = wish = browser.wishes.popleft()
        itself = f"HX-Request: true\r\nHX-Current-URL: http://127.0.0.1:{self._order.port}/console\r\n"
        head = (
            f"GET {wish.path} HTTP/1.1\r\nHost: 127.0.0.1:{self._order.port}\r\nAccept: text/html\r\n"
            f"Cookie: {COOKIE}={browser.token}\r\n{itself if wish.by_itself else ''}\r\n"
        )
        browser.connection.sendall(head.encode())

    def _read(self, browser: Browser) -> None:
        fresh = browser.connection.recv(262_144)
        if not fresh:
            self._connect_again(browser)
            return
        browser.data += fresh
        if not complete(browser.data):
            return
        wish, data, browser.data, browser.asked = browser.asked, browser.data, b"", None
        assert wish is not None
        self._keep(wish, data)
        self._ask(browser)

    def _keep(self, wish: Wish, data: bytes) -> None:
        self.answers += 1
        if data[9:12] != b"200" or wish.shows not in data:
            self.wrong[f"{wish.kind}: {data[9:12].decode()} {wish.path}"] += 1
        if wish.due >= self._order.warm:
            took = time.perf_counter() - self._started - wish.due
            self.times[wish.kind].append(took)
            self.sizes[wish.kind] += len(data)
            if took > SLOW_SECONDS:
                self.slow[int(wish.due - self._order.warm)] += 1

    def _connect_again(self, browser: Browser) -> None:
        """The server may close what lay idle, also at the moment when it is used again."""
        if browser.data:
            raise SystemExit(f"the server broke off an answer: {browser.data[:200]!r}")
        self._poll.unregister(browser.connection.fileno())
        del self._by_number[browser.connection.fileno()]
        browser.connection.close()
        browser.connection = self._connect()
        self._by_number[browser.connection.fileno()] = browser
        if browser.asked is not None:
            browser.wishes.appendleft(browser.asked)
            browser.asked = None
            self._ask(browser)


def play(order: Order, wishes: Sequence[Wish]) -> Played:
    """Open all browsers, and play."""
    crowd = Crowd(order)
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    crowd.play(wishes)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return Played(
        times=dict(crowd.times),
        sizes=dict(crowd.sizes),
        slow=dict(crowd.slow),
        wrong=dict(crowd.wrong),
        late=crowd.late,
        seconds=time.perf_counter() - started,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )


def _read_order(line: str) -> Order:
    given = json.loads(line)
    parts = [Part(**one) for one in given.pop("parts")]
    clicks = [Click(**one) for one in given.pop("clicks")]
    return Order(parts=parts, clicks=clicks, **given)


def main() -> None:
    """Serve orders until standard input ends."""
    gc.disable()  # nothing here makes cycles, and a collection over the bodies would show as latency
    for line in sys.stdin:
        order = _read_order(line)
        wishes = wishes_of(order)
        print("ready", flush=True)
        sys.stdin.readline()
        print(json.dumps(asdict(play(order, wishes))), flush=True)


if __name__ == "__main__":
    main()
