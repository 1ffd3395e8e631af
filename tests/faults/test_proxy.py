"""The proxy itself: each fault does what it says to the real thing, counts it, and ends when it is cleared."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import aio_pika
import aiohttp
import aiormq
import aiosmtplib
import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from sandbox.services.resolver import Servers
from tests.faults.proxy import (
    Blackhole,
    CutNew,
    Delay,
    FaultProxy,
    Refuse,
    SwallowAnswer,
    SwallowCommit,
    SwallowConfirm,
    SwallowReceipt,
    SwallowReply,
    Throttle,
)
from tests.support.deadline import eventually

pytestmark = pytest.mark.faults


def before(url: str) -> FaultProxy:
    """A proxy in front of the server that `url` names."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return FaultProxy(parts.hostname, parts.port)


def by_way_of(proxy: FaultProxy, url: str) -> str:
    """`url`, with the proxy where the server was."""
    parts = urlsplit(url)
    return url.replace(f"{parts.hostname}:{parts.port}", proxy.address)


# -- any connection --------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def echo() -> AsyncIterator[FaultProxy]:
    """A proxy in front of a server that says everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def connected(proxy: FaultProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def said_back(ends: tuple[asyncio.StreamReader, asyncio.StreamWriter], said: bytes) -> bytes:
    ends[1].write(said)
    return await asyncio.wait_for(ends[0].readexactly(len(said)), timeout=20)


async def test_nothing_is_changed_without_a_fault_and_an_end_is_passed_on_after_the_last_byte(echo: FaultProxy) -> None:
    reader, writer = await connected(echo)
    said = secrets.token_bytes(3_000_000)

    writer.write(said)
    writer.write_eof()

    assert await asyncio.wait_for(reader.read(-1), timeout=30) == said
    assert not echo.struck


async def test_a_delay_holds_each_direction_back(echo: FaultProxy) -> None:
    ends = await connected(echo)
    echo.set(Delay(up_seconds=0.3, down_seconds=0.2))
    started = time.monotonic()

    assert await said_back(ends, b"late") == b"late"

    assert time.monotonic() - started >= 0.5
    assert echo.struck == {"Delay": 2}


async def test_a_cleared_delay_holds_nothing_back_that_is_under_way(echo: FaultProxy) -> None:
    ends = await connected(echo)
    echo.set(Delay(up_seconds=3600))
    saying = asyncio.create_task(said_back(ends, b"late"))

    async def held() -> bool:
        return echo.struck["Delay"] == 1

    await eventually(held)
    echo.clear(Delay)

    assert await saying == b"late"


async def test_a_throttle_lets_so_many_bytes_through_a_second(echo: FaultProxy) -> None:
    ends = await connected(echo)
    echo.set(Throttle(bytes_per_second=1000))
    started = time.monotonic()

    assert len(await said_back(ends, b"x" * 700)) == 700

    assert time.monotonic() - started >= 0.6
    assert echo.struck["Throttle"] >= 7


async def test_a_blackhole_takes_all_and_answers_nothing_and_what_lost_bytes_is_cut_at_its_end(
    echo: FaultProxy,
) -> None:
    old = await connected(echo)
    assert await said_back(old, b"hello") == b"hello"
    echo.set(Blackhole())
    new = await connected(echo)
    for _, writer in (old, new):
        writer.write(b"anyone?")

    async def both_lost() -> bool:
        return echo.struck["Blackhole"] == 2

    await eventually(both_lost)
    assert not old[0].at_eof()
    echo.clear()

    for reader, _ in (old, new):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), timeout=20)
    assert await said_back(await connected(echo), b"again") == b"again"


async def test_half_a_blackhole_lets_the_server_hear(echo: FaultProxy) -> None:
    ends = await connected(echo)
    echo.set(Blackhole(up=False))

    ends[1].write(b"heard")

    async def answered() -> bool:
        return echo.struck["Blackhole"] == 1

    await eventually(answered, what="the server's answer, lost on its way back")


async def test_a_cut_resets_what_is_open_and_takes_new_ones(echo: FaultProxy) -> None:
    ends = await connected(echo)
    await said_back(ends, b"hello")

    seen = echo.cut()

    assert (seen.cut, seen.open) == (1, 0)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(ends[0].read(1), timeout=20)
    assert await said_back(await connected(echo), b"again") == b"again"


async def test_new_connections_are_reset_or_refused_while_old_ones_go_on(echo: FaultProxy) -> None:
    old = await connected(echo)
    await said_back(old, b"hello")

    echo.set(CutNew())
    with pytest.raises(ConnectionError):
        await said_back(await connected(echo), b"?")
    echo.clear(CutNew)
    echo.set(Refuse())
    with pytest.raises(ConnectionRefusedError):
        await connected(echo)
    assert await said_back(old, b"still") == b"still"
    echo.clear(Refuse)

    assert await said_back(await connected(echo), b"again") == b"again"
    assert echo.struck == {"CutNew": 1, "Refuse": 1}


async def test_the_same_seed_draws_the_same_lots(echo: FaultProxy) -> None:
    async def fate() -> bool:
        try:
            ends = await connected(echo)
            answer = await said_back(ends, b"?")
        except (ConnectionError, asyncio.IncompleteReadError):
            return False
        ends[1].close()
        return answer == b"?"

    async def fates() -> list[bool]:
        echo.set(CutNew(probability=0.5, seed=7))
        return [await fate() for _ in range(20)]

    first = await fates()

    assert first == await fates()
    assert 0 < sum(first) < 20


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="session")
async def table(servers: Servers) -> AsyncIterator[str]:
    """A table of its own, in which each round writes a row."""
    name = f"swallowed_{secrets.token_hex(6)}"
    owner = await asyncpg.connect(servers.admin_dsn)
    await owner.execute(f"CREATE TABLE {name} (n int PRIMARY KEY)")
    yield name
    await owner.execute(f"DROP TABLE {name}")
    await owner.close()


async def rows_of(servers: Servers, table: str) -> list[int]:
    owner = await asyncpg.connect(servers.admin_dsn)
    try:
        return [row["n"] for row in await owner.fetch(f"SELECT n FROM {table} ORDER BY n")]
    finally:
        await owner.close()


async def test_what_was_committed_is_there_and_nobody_was_told(servers: Servers, table: str) -> None:
    with before(servers.admin_dsn) as proxy:
        url = by_way_of(proxy, servers.admin_dsn)
        transacting = await asyncpg.connect(url)
        alone = await asyncpg.connect(url)
        simple = await asyncpg.connect(url)
        proxy.set(SwallowCommit())

        begun = transacting.transaction()
        await begun.start()
        assert await transacting.fetchval(f"INSERT INTO {table} VALUES (1) RETURNING n") == 1
        assert await transacting.fetchval(f"SELECT count(*) FROM {table}") == 1
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await begun.commit()
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await alone.execute(f"INSERT INTO {table} VALUES ($1)", 2)
        with pytest.raises((asyncpg.PostgresConnectionError, ConnectionError)):
            await simple.execute(f"INSERT INTO {table} VALUES (3)")

        assert proxy.look().struck == {"SwallowCommit": 3}
    assert await rows_of(servers, table) == [1, 2, 3]


async def test_only_what_commits_is_swallowed(servers: Servers, table: str) -> None:
    """Reading, rolling back, and what the server refuses: all this may be heard."""
    with before(servers.admin_dsn) as proxy:
        connection = await asyncpg.connect(by_way_of(proxy, servers.admin_dsn))
        await connection.execute(f"INSERT INTO {table} VALUES (1)")
        proxy.set(SwallowCommit())

        assert await connection.fetchval("SELECT $1::int", 5) == 5
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(f"INSERT INTO {table} VALUES ($1)", 1)
        undone = connection.transaction()
        await undone.start()
        await connection.execute(f"INSERT INTO {table} VALUES (2)")
        await undone.rollback()
        async with connection.transaction(readonly=True):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 1
            proxy.clear()

        assert not proxy.struck
        await connection.close()
    assert await rows_of(servers, table) == [1]


# -- AMQP ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broker(servers: Servers) -> Iterator[tuple[FaultProxy, str]]:
    with before(servers.amqp_url) as proxy:
        yield proxy, by_way_of(proxy, servers.amqp_url)


@pytest.mark.parametrize("cuts", [True, False])
async def test_what_was_published_is_there_and_not_confirmed(
    servers: Servers, broker: tuple[FaultProxy, str], cuts: bool
) -> None:
    proxy, url = broker
    name = f"swallowed.{secrets.token_hex(4)}"
    async with await aio_pika.connect(servers.amqp_url) as direct, await aio_pika.connect(url) as connection:
        queue = await (await direct.channel()).declare_queue(name, exclusive=True)
        channel = await connection.channel()
        ended = asyncio.Event()
        connection.close_callbacks.add(lambda *_: ended.set())
        proxy.set(SwallowConfirm(cuts=cuts))

        publishing = channel.default_exchange.publish(aio_pika.Message(b"one"), name, timeout=2)
        with pytest.raises((TimeoutError, aiormq.exceptions.AMQPError, RuntimeError, ConnectionError)):
            await publishing

        assert proxy.struck == {"SwallowConfirm": 1}
        if cuts:
            await asyncio.wait_for(ended.wait(), timeout=20)
        assert ended.is_set() is cuts

        async def arrived() -> bytes | None:
            message = await queue.get(no_ack=True, fail=False)
            return message.body if message else None

        assert await eventually(arrived) == b"one"


# -- HTTP ------------------------------------------------------------------------------------------------------------


async def test_a_request_arrives_and_its_answer_is_lost() -> None:
    arrived: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        arrived.append(f"{request.method} {request.path}")
        return web.Response(text="x" * 200_000)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    with FaultProxy("127.0.0.1", port) as proxy:
        url = f"http://{proxy.address}/v1/refunds"
        async with aiohttp.ClientSession() as http:
            proxy.set(SwallowAnswer(prefix="POST /v1/"))
            async with http.get(url) as given:
                assert len(await given.text()) == 200_000
            with pytest.raises(aiohttp.ClientError):
                await http.post(url, data=b"y" * 300_000)
            assert proxy.clear().struck == {"SwallowAnswer": 1}
            async with http.post(url, data=b"y") as given:
                assert len(await given.text()) == 200_000
    assert arrived == ["GET /v1/refunds", "POST /v1/refunds", "POST /v1/refunds"]
    await runner.cleanup()


# -- SMTP ------------------------------------------------------------------------------------------------------------

MAIL = b"From: a@example.com\r\nTo: b@example.com\r\nMessage-ID:\r\n <one@example.com>\r\n\r\nTwo lines\r\n..\r\n"


class Postbox:
    """Takes mails, except those that hold `no`."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    async def handle_DATA(self, _: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content
        assert isinstance(content, bytes)
        if b"no" in content:
            return "554 not here"
        self.kept.append(content)
        return "250 kept"


@pytest_asyncio.fixture(loop_scope="session")
async def post() -> AsyncIterator[tuple[FaultProxy, Postbox]]:
    postbox = Postbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(postbox, loop=loop, enable_SMTPUTF8=True), "127.0.0.1", 0)
    async with server, FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        yield proxy, postbox


async def sent(proxy: FaultProxy, mail: bytes = MAIL) -> None:
    async with aiosmtplib.SMTP(hostname="127.0.0.1", port=proxy.port, timeout=20) as client:
        await client.sendmail("a@example.com", ["b@example.com"], mail)


async def test_a_mail_is_taken_and_its_sender_is_not_told(post: tuple[FaultProxy, Postbox]) -> None:
    proxy, postbox = post
    await sent(proxy)
    proxy.set(SwallowReceipt())

    for _ in range(2):
        with pytest.raises(aiosmtplib.SMTPServerDisconnected):
            await sent(proxy)
    seen = proxy.clear()
    await sent(proxy)

    assert postbox.kept[0].startswith(b"From: a@example.com")
    assert postbox.kept == [postbox.kept[0]] * 4
    assert (seen.struck, seen.untold) == ({"SwallowReceipt": 2}, {"<one@example.com>": 2})


async def test_a_refused_mail_is_told_though_receipts_are_lost(post: tuple[FaultProxy, Postbox]) -> None:
    proxy, postbox = post
    proxy.set(SwallowReceipt())

    with pytest.raises(aiosmtplib.SMTPDataError):
        await sent(proxy, MAIL + b"no\r\n")

    seen = proxy.look()
    assert (postbox.kept, dict(seen.struck), dict(seen.untold)) == ([], {}, {})


async def test_any_reply_but_the_receipt_is_lost_and_no_mail_is_taken_unsaid(post: tuple[FaultProxy, Postbox]) -> None:
    proxy, postbox = post
    told = 0
    proxy.set(SwallowReply(probability=0.3, seed=7))

    for _ in range(30):
        with contextlib.suppress(aiosmtplib.SMTPException):
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=proxy.port, timeout=20)
            await client.connect()
            await client.sendmail("a@example.com", ["b@example.com"], MAIL)
            told += 1
            await client.quit()

    seen = proxy.look()
    assert 0 < told == len(postbox.kept) < 30
    assert seen.struck["SwallowReply"] >= 30 - told
    assert seen.struck.keys() == {"SwallowReply"}
