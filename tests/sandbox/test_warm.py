"""What is forked off a warm process is a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sandbox.services import warm
from sandbox.services.children import Child, clean_environment, free_ports, listening

UNSET = 78
DATABASE = "PAYMENTS_DATABASE_URL"
BROKER = "PAYMENTS_AMQP_URL"


@pytest.fixture
def _warm() -> Iterator[None]:
    with warm.kept():
        yield


def mailbox(folder: Path) -> Child:
    """A program that runs until it is told to end."""
    smtp, http = free_ports(2)
    environment = clean_environment(
        SANDBOX_MAILBOX_SMTP_PORT=str(smtp), SANDBOX_MAILBOX_HTTP_PORT=str(http), SANDBOX_MAILBOX_DATA_DIR=str(folder)
    )
    child = warm.run("mailbox", "sandbox.mailbox", log=folder / "mailbox.log", environment=environment)
    child.wait_until(lambda: listening(http), timeout_seconds=30)
    return child


@pytest.mark.usefixtures("_warm")
def test_each_has_an_environment_and_a_log_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BROKER, "amqp://ours/")  # what stands in our environment is none of its business
    given = clean_environment(**{DATABASE: "postgresql://inventory@127.0.0.1/none"})

    with_one = warm.run("one", "inventory", log=tmp_path / "one.log", environment=given)
    with_none = warm.run("two", "inventory", log=tmp_path / "two.log", environment=clean_environment())

    assert (with_one.popen.wait(30), with_none.popen.wait(30)) == (UNSET, UNSET)
    assert DATABASE not in with_one.tail()
    assert BROKER in with_one.tail()
    assert DATABASE in with_none.tail()


@pytest.mark.usefixtures("_warm")
def test_it_runs_until_it_is_told_to_end_and_how_it_ended_is_known(tmp_path: Path) -> None:
    first, second = mailbox(tmp_path), mailbox(tmp_path)
    assert first.running
    assert first.popen.args == [sys.executable, "-m", "sandbox.mailbox"]
    with pytest.raises(subprocess.TimeoutExpired):
        first.popen.wait(0.01)

    second.kill()

    assert first.stop() == 0
    assert first.popen.wait() == 0
    assert second.popen.poll() == -signal.SIGKILL
    assert not second.running


def test_it_outlives_neither_the_process_that_forked_it_nor_us(tmp_path: Path) -> None:
    with warm.kept():
        child = mailbox(tmp_path)
        process = psutil.Process(child.pid)

    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(timeout=10)
    assert child.popen.wait(1) == -signal.SIGKILL


@pytest.mark.usefixtures("_warm")
def test_it_is_no_child_of_ours_and_leads_a_session_of_its_own(tmp_path: Path) -> None:
    child = mailbox(tmp_path)

    assert psutil.Process(child.pid).ppid() != os.getpid()
    assert os.getsid(child.pid) == child.pid
    assert child.stop() == 0


@pytest.mark.usefixtures("_warm")
def test_another_version_of_a_program_is_found_where_its_environment_says(tmp_path: Path) -> None:
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/__init__.py").touch()
    (tmp_path / "inventory/__main__.py").write_text("raise SystemExit(7)")
    given = clean_environment(PYTHONPATH=str(tmp_path))

    child = warm.run("one", "inventory", log=tmp_path / "one.log", environment=given)

    assert child.popen.wait(30) == 7


def test_without_a_warm_process_it_is_started_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "_warm", None)

    child = warm.run("one", "inventory", log=tmp_path / "one.log", environment=clean_environment())

    assert child.popen.wait(30) == UNSET
    assert not isinstance(child.popen, warm.Forked)
