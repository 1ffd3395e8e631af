"""The demo, run as a stranger runs it where nobody is at the terminal."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psutil
import pytest

from sandbox.services.resolver import Servers

STORY: Final = (
    "order placed", "stock held", "session created", "paid on the hosted page", "webhook verified", "order paid",
    "stock committed", "shipment created", "mail delivered", "read it: http://127.0.0.1:", "sent 5 more times",
    "nothing happened twice", "predicates hold", "What was checked", "All of it holds.",
)  # fmt: skip


@pytest.mark.timeout(240)
def test_the_demo_tells_a_purchase_ends_by_itself_and_leaves_nothing_running(servers: Servers, tmp_path: Path) -> None:
    output = tmp_path / "demo"
    with output.open("w") as log:
        demo = subprocess.Popen(
            [sys.executable, "-m", "sandbox.demo"], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            env={**os.environ, "CI": "true"},
        )  # fmt: skip
    started: set[psutil.Process] = set()
    while demo.poll() is None:
        started |= set(psutil.Process(demo.pid).children(recursive=True))
        time.sleep(0.1)

    told = output.read_text()
    assert demo.returncode == 0, told
    places = [told.find(line) for line in STORY]
    assert -1 not in places, STORY[places.index(-1)]
    mailed = places.pop(STORY.index("mail delivered"))  # the parcel and the mail do not wait for each other
    assert places == sorted(places), "the story is told in its order"
    assert told.index("order paid") < mailed < told.index("read it: ")
    assert "WRONG" not in told
    assert len(started) >= 12, "seven services and five sandbox programs"
    assert [process for process in started if process.is_running()] == []
