"""A mail server that answers each step in time and yet takes for ever."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from notifications import gateway
from notifications.gateway import MailServer
from notifications.model import Mail, Tls
from payments_shared.clock import monotonic_seconds
from payments_shared.errors import Retryable
from payments_shared.ids import new_id

STEP_SECONDS = 0.2
MAIL = Mail(new_id(), "test", "1", None, "ada@example.com", "<1@shop.example>", "Hello", "<p>", "Hello", "sending", 1)


@contextlib.asynccontextmanager
async def answering(*, slow_from: str) -> AsyncIterator[MailServer]:
    """A server that takes `STEP_SECONDS` for each answer from the command `slow_from` on, and never answers QUIT."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slow = False
        writer.write(b"220 hello\r\n")
        while line := (await reader.readline()).strip():
            slow = slow or line.startswith(slow_from.encode())
            if line.startswith(b"QUIT"):
                continue
            if slow:
                await asyncio.sleep(STEP_SECONDS)
            if line == b"DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write(b"250 fine\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield MailServer("127.0.0.1", server.sockets[0].getsockname()[1], "orders@shop.example", Tls.OFF)


async def test_a_conversation_ends_in_time_however_slowly_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step had a deadline and the whole had none, so that a server could keep a sender for as long as it liked."""
    monkeypatch.setattr(gateway, "DEADLINE_SECONDS", 2.5 * STEP_SECONDS)
    started = monotonic_seconds()

    async with answering(slow_from="EHLO") as server:
        with pytest.raises(Retryable, match="smtp_unavailable"):
            await server.send(MAIL)

    assert monotonic_seconds() - started < 10 * STEP_SECONDS


async def test_a_mail_that_was_taken_is_sent_though_the_server_never_says_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway, "QUIT_SECONDS", STEP_SECONDS)

    async with answering(slow_from="nothing") as server:
        await server.send(MAIL)
