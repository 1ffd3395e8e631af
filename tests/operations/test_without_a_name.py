"""Whose number has no name where he types acts all the same, and is written down by his number."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
import structlog
from typer.testing import CliRunner

from operations import payctl
from operations.model.letters import DeadLetter
from operations.payctl import moving, restored
from payments_shared.clock import utc_now
from payments_shared.ids import new_id

NAMELESS: Final = 3_000_000_000
NOWHERE: Final = "postgresql://payments@localhost/nowhere"
LETTER: Final = DeadLetter(
    id=new_id(), message_id="m", service="fulfillment", queue="fulfillment.events", type="order.paid.v1",
    correlation_id=None, reason="exhausted", fingerprint="f", exception_type=None, exception_message=None, handler=None,
    stack=None, attempts=1, first_failed_at=None, last_failed_at=utc_now(), headers={}, body=b"{}", replay_id=None,
)  # fmt: skip


@pytest.fixture(autouse=True)
def nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under somebody's number from outside; pytest makes its folder before."""
    assert tmp_path.exists()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: NAMELESS)


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who is said to restore."""
    said: list[str] = []

    async def done(dsn: str, what: object, *, actor: str, reason: str) -> Mapping[str, int]:
        said.append(actor)
        return {"mails held": 0}

    monkeypatch.setattr(restored, "begin_restore", done)
    monkeypatch.setattr(restored, "release_mails", done)
    return said


def typed(*arguments: str) -> None:
    done = CliRunner().invoke(payctl.app, [*arguments, "--reason", "a test"], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("words", ["begin --to 2026-01-01T00:00Z", f"mails --taken {os.devnull}"])
def test_a_restore(words: str, actors: list[str]) -> None:
    typed("restore", *words.split(), "--dsn", NOWHERE)

    assert actors == [f"uid:{NAMELESS}"]


def test_a_restore_by_who_has_a_name(actors: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "nora")

    typed("restore", "mails", "--taken", os.devnull, "--dsn", NOWHERE)

    assert actors == ["nora"]


def test_a_drain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drained(amqp_url: str, job: moving.Job, keep: moving.Keep | None) -> moving.Drained:
        assert keep is not None
        keep(LETTER, new_id())
        return moving.Drained()

    monkeypatch.setattr(moving, "drained", drained)
    monkeypatch.setattr(logging, "disable", lambda _: None)
    monkeypatch.setattr(structlog, "configure", lambda **_: None)
    file = tmp_path / "drained.jsonl"

    typed("dlq", "drain", "--service", "fulfillment", "--file", str(file), "--amqp-url", "amqp://localhost")

    assert json.loads(file.read_text())["actor"] == f"uid:{NAMELESS}"
