"""The restore drill in its short form: database and broker are lost, and nothing of it is seen afterwards."""

import os
import re
import subprocess
import sys
from typing import Final

import pytest

pytestmark = [pytest.mark.servers, pytest.mark.faults]

STORY: Final = (
    "retry tiers here: ", "dealt with: before the backup", "base backup", "dealt with: after the backup", "the moment: ",
    "dealt with: after the moment", "lost: ", "database: restored", "broker: empty", "payctl restore begin",
    "services: ready", "payctl stripe backfill", "payctl restore mails",
    "payctl lost-payments refund", "payctl dlq replay", "restored and healed in", "All of it holds.",
)  # fmt: skip


def test_a_restored_shop_heals_and_repeats_no_mail() -> None:
    """Its table checks the audit, mails that went out twice, and one mail for each order."""
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.drill", "--orders", "80", "--hasty"],
        capture_output=True, text=True, check=False, env={**os.environ, "CI": "true"},
    )  # fmt: skip

    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    places = [told.find(line) for line in STORY]
    assert -1 not in places, STORY[places.index(-1)]
    assert places == sorted(places), "the story is told in its order"
    assert "mails repeated" in told
    assert "store credit that paid for an order that nobody knows" in told
    looked_at_nothing = set(re.findall(r"^ +(I\d\d)_\w+ +(?:holds|not run) +examined +0$", told, re.MULTILINE))
    assert looked_at_nothing <= {"I17", "I18", "I19", "I32"}, told
    assert "WRONG" not in told
