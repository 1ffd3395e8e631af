"""Only what the database's network says counts as an unavailable database."""

import errno
import socket

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from jinja2 import TemplateNotFound

from payments_shared.http import public_app, serve
from payments_shared.postgres import acquire, is_unavailable, open_connection, open_pool
from sandbox.services.children import free_ports
from sandbox.services.resolver import Servers


@pytest.mark.parametrize(
    "error",
    [
        TemplateNotFound("order_confirmation.mjml"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "not allowed"),
        OSError(errno.ENOSPC, "no space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_handler_misses_on_its_own_machine_is_not_the_database_being_away(error: OSError) -> None:
    """Its queue would wait for the database for ever."""
    assert not is_unavailable(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(), ConnectionResetError(), BrokenPipeError(), TimeoutError(),
        asyncpg.ConnectionDoesNotExistError(), asyncpg.DeadlockDetectedError(), asyncpg.LockNotAvailableError(),
        asyncpg.SerializationError(), asyncpg.TooManyConnectionsError(), asyncpg.DiskFullError(),
        asyncpg.OutOfMemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_a_lost_connection_is_and_a_door_says_so_wherever_it_was_noticed(error: Exception) -> None:
    async def fails(_: web.Request) -> web.Response:
        raise error

    app = public_app(service="test")
    app.add_routes([web.get("/", fails)])
    server = await serve(app, host="127.0.0.1", port=0)
    async with aiohttp.ClientSession() as http, http.get(server.url) as answer:
        body = await answer.json(content_type="application/problem+json")
    await server.stop()

    assert is_unavailable(error)
    assert (answer.status, body["code"], answer.headers["Retry-After"]) == (503, "database_unavailable", "2")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid"])
async def test_each_way_in_which_a_server_cannot_be_reached_is(host: str) -> None:
    """Refused at one address, refused at each of several, and a name that nobody knows."""
    dsn = f"postgresql://nobody@{host}:{free_ports(1)[0]}/nothing"
    pool = await open_pool(dsn, schema="public", application_name="test")

    with pytest.raises(Exception) as pooled:  # noqa: PT011 - which one is the question
        async with acquire(pool):
            pass
    with pytest.raises(Exception) as alone:  # noqa: PT011
        await open_connection(dsn, schema="public", application_name="test")

    assert is_unavailable(pooled.value), repr(pooled.value)
    assert is_unavailable(alone.value), repr(alone.value)
    await pool.close()


async def test_an_error_of_the_caller_inside_a_connection_stays_what_it_is(servers: Servers) -> None:
    pool = await open_pool(servers.admin_dsn, schema="public", application_name="test")

    with pytest.raises(TemplateNotFound):
        async with acquire(pool):
            raise TemplateNotFound("order_confirmation.mjml")

    await pool.close()


async def test_several_addresses_that_all_fail_differently_are_one_bare_error_and_still_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """asyncio sums them up as an OSError without a number."""

    async def fails(*_: object, **__: object) -> None:
        raise OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 101] Network is unreachable")

    monkeypatch.setattr(asyncpg, "connect", fails)

    with pytest.raises(ConnectionError) as caught:
        await open_connection("postgresql://nobody@127.0.0.1:1/nothing", schema="public", application_name="test")

    assert is_unavailable(caught.value)
    assert not isinstance(caught.value.__cause__, socket.gaierror)
