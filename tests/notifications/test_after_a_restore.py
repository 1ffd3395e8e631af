"""After the restore of a backup nobody is written to twice, and nobody is forgotten."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest

from operations.payctl.restored import Unready, begin_restore
from payments_shared.clock import utc_now
from payments_shared.ids import new_id
from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.notifications.words import order_paid
from tests.support.deadline import eventually
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers


@pytest.fixture
async def restored(servers: Servers) -> AsyncIterator[OneService]:
    """One whose mails may be held."""
    async with running("notifications", servers, beside=("mailbox",)) as service:
        yield service


async def states(service: OneService, *orders: UUID) -> list[str]:
    sql = "SELECT state FROM notifications.mails WHERE order_id = ANY($1) ORDER BY array_position($1, order_id)"
    return [row["state"] for row in await service.owner.fetch(sql, list(orders))]


def payctl(service: OneService, *arguments: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "payctl"), *arguments], capture_output=True, text=True, check=False,
        env={
            "PATH": os.environ["PATH"],
            "PAYMENTS_OWNER_DATABASE_URL": service.deployment.provisioned.owner_database_url,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_mail_that_the_mail_server_took_is_not_sent_again_and_any_other_is(
    restored: OneService, tmp_path: Path
) -> None:
    url = restored.deployment.provisioned.owner_database_url
    taken, fresh = new_id(), new_id()
    with pytest.raises(Unready, match="notifications"):
        await begin_restore(url, utc_now(), actor="olga", reason="a test")
    restored.deployment.stop("notifications")
    payctl(restored, "restore", "begin", "--to", utc_now().isoformat(), "--reason", "a test")
    restored.deployment.start("notifications")
    restored.deployment.wait_ready("notifications")
    await restored.tell(order_paid(taken), order_paid(fresh))
    assert await states(restored, taken, fresh) == ["unknown", "unknown"]

    message_id = await restored.owner.fetchval("SELECT message_id FROM notifications.mails WHERE order_id = $1", taken)
    log = tmp_path / "mail.log"
    log.write_text(f"Nov 24 22:00:01 mx postfix/cleanup[7]: 4F1: message-id={message_id}\n")
    payctl(restored, "restore", "mails", "--taken", str(log), "--reason", "a test")

    async def all_sent() -> bool:
        return await states(restored, taken, fresh) == ["sent", "sent"]

    await eventually(all_sent, within_seconds=40, what="both recorded as sent")
    async with aiohttp.ClientSession(restored.deployment.mailbox_url) as http:
        mailbox = Mailbox(http)
        assert [len(await mailbox.about(order_id)) for order_id in (taken, fresh)] == [0, 1]
    told = await restored.owner.fetch("SELECT act, reason FROM operations.restores ORDER BY id")
    assert [tuple(row) for row in told] == [("begin", "a test"), ("mails", "a test")]


async def test_what_the_broker_lost_is_said_again_and_what_was_heard_is_not(restored: OneService) -> None:
    """A command of notifications to itself, which was said and never heard, beside one that was heard."""
    lost, heard = new_id(), new_id()
    await restored.tell(order_paid(lost), order_paid(heard))

    async def said_and_heard() -> bool:
        return await states(restored, lost, heard) == ["sent", "sent"]

    await eventually(said_and_heard, within_seconds=40, what="both sent")
    restored.deployment.stop("notifications")
    command = "SELECT message_id FROM notifications.outbox WHERE type LIKE '%cmd%' AND partition_key LIKE $1"
    lost_id, heard_id = [await restored.owner.fetchval(command, f"%{one.hex}%") for one in (lost, heard)]
    await restored.owner.execute("DELETE FROM notifications.inbox WHERE message_id = $1", lost_id)

    counts = await begin_restore(
        restored.deployment.provisioned.owner_database_url, utc_now(), actor="olga", reason="a test"
    )

    waiting = "SELECT published_at IS NULL FROM notifications.outbox WHERE message_id = $1"
    assert [await restored.owner.fetchval(waiting, one) for one in (lost_id, heard_id)] == [True, False]
    assert counts["to say again: notifications"] >= 1
