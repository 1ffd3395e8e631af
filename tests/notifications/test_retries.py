"""One sender and one command at a time for each mail, with retry tiers that take their time."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest

from payments_shared.contracts import notifications as said
from payments_shared.ids import external_id, new_id
from payments_shared.lease import LEASE_SECONDS
from sandbox.services.resolver import Servers
from tests.notifications.mailbox import Mailbox
from tests.notifications.words import order_paid
from tests.support import one_service
from tests.support.deadline import eventually
from tests.support.exposition import Exposition
from tests.support.one_service import OneService, running

pytestmark = pytest.mark.servers

TIERS_MS = (500, 1000, 1500)


@pytest.fixture(scope="module")
async def notifications(servers: Servers) -> AsyncIterator[OneService]:
    """One whose commands come back only after seconds, and whose sweep looks far more often than that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_service, "RETRY_TIERS_MS", TIERS_MS)
        async with running(
            "notifications",
            servers,
            beside=("mailbox",),
            PAYMENTS_SWEEP_SECONDS="0.2",
            PAYMENTS_RESEND_SECONDS="0.5",
        ) as service:
            yield service


@pytest.fixture
async def mailbox(notifications: OneService) -> AsyncIterator[Mailbox]:
    """Where the mails arrive, with no fault armed afterwards."""
    async with aiohttp.ClientSession(notifications.deployment.mailbox_url) as http:
        beside = Mailbox(http)
        yield beside
        await beside.arm("none", count=0)


async def mail_of(notifications: OneService, order_id: UUID, *states: str) -> said.DeliverMail:
    """The command that delivers the confirmation of an order, once its mail is in one of `states`."""
    sql = "SELECT id, ref FROM notifications.mails WHERE order_id = $1 AND state = ANY($2)"
    row = await eventually(
        lambda: notifications.owner.fetchrow(sql, order_id, list(states)),
        within_seconds=30,
        what=f"the mail of {order_id} {states}",
    )
    assert row is not None
    return said.DeliverMail(mail_id=row["id"], kind="order_confirmation", ref=row["ref"], order_id=order_id)


async def commands(notifications: OneService, order_id: UUID) -> int:
    """How often the service told itself to deliver the mail of an order."""
    spoken = await notifications.said(external_id("ord", order_id))
    return [message.type for message in spoken].count("notifications.cmd.deliver.v1")


async def test_a_mail_that_is_being_sent_is_sent_by_nobody_else(notifications: OneService, mailbox: Mailbox) -> None:
    """A link that was lost while the mail server was talking, and a sweep: one mail went out three times."""
    order_id = new_id()
    await mailbox.arm("delay", about=order_id, count=3, seconds=1.2)
    await notifications.tell(order_paid(order_id))
    command = await mail_of(notifications, order_id, "sending")

    others = [await notifications.say(command, times=2), await notifications.say(command)]
    await notifications.heard(*others)

    assert await mailbox.struck() == 1
    assert len(await mailbox.about(order_id)) == 1
    assert [m.type for m in await notifications.said(external_id("ord", order_id))].count("notification.sent.v1") == 1
    assert await notifications.dead_letters() == 0


async def test_a_mail_server_that_takes_longer_than_a_lease_is_told_the_mail_once(
    notifications: OneService, mailbox: Mailbox
) -> None:
    """The lease is renewed while the server is talking: a second command finds the mail in the first one's hands."""
    order_id = new_id()
    await mailbox.arm("delay", about=order_id, count=1, seconds=1.5 * LEASE_SECONDS)
    await notifications.tell(order_paid(order_id))
    command = await mail_of(notifications, order_id, "sending")
    lease = "SELECT extract(epoch FROM lease_until - now())::float8 FROM notifications.mails WHERE order_id = $1"
    left = []

    async def sent() -> bool:
        seconds = await notifications.owner.fetchval(lease, order_id)
        left.extend([] if seconds is None else [seconds])
        return seconds is None

    again = await notifications.say(command)
    await eventually(sent, within_seconds=30, what="the mail is taken in the end")
    await notifications.heard(again)

    assert min(left) > 0
    assert len(await mailbox.about(order_id)) == 1
    assert await mailbox.struck() == 1


async def test_a_mail_whose_sender_died_is_sent_when_its_lease_has_run_out(
    notifications: OneService, mailbox: Mailbox
) -> None:
    order_id = new_id()
    await notifications.tell(order_paid(order_id))
    command = await mail_of(notifications, order_id, "sent")
    lease = "UPDATE notifications.mails SET state = 'sending', lease_until = now() + $2::interval WHERE order_id = $1"
    await notifications.owner.execute(lease.replace("$2", "'1 hour'"), order_id)
    log = notifications.deployment.children["notifications"].log
    refused_before = log.read_text(encoding="utf-8").count("mail_in_hand")

    await notifications.say(command)

    async def refused() -> bool:
        return log.read_text(encoding="utf-8").count("mail_in_hand") > refused_before

    await eventually(refused, what="a command that found the mail in another's hands")
    assert len(await mailbox.about(order_id)) == 1
    await notifications.owner.execute(lease.replace("$2", "'-1 second'"), order_id)
    await mail_of(notifications, order_id, "sent")
    mails = await mailbox.about(order_id)
    assert (len(mails), len({mail["message_id"] for mail in mails})) == (2, 1)


async def test_a_mail_server_that_is_away_is_asked_by_one_command_at_a_time(
    notifications: OneService, mailbox: Mailbox
) -> None:
    """The sweep said a command at each round, beside those in the retry tiers."""
    order_id = new_id()
    await mailbox.arm("refuse", about=order_id, code=451, count=1000)
    await notifications.tell(order_paid(order_id))

    async def tried_again_and_again() -> bool:
        return await mailbox.struck() >= len(TIERS_MS) + 3

    await eventually(tried_again_and_again, within_seconds=30, what="attempts for longer than all tiers together")
    said_so_far = await commands(notifications, order_id)
    await mailbox.arm("none", count=0)
    await mail_of(notifications, order_id, "sent")

    assert said_so_far == 1
    assert len(await mailbox.about(order_id)) == 1


async def test_a_mail_that_cannot_be_marked_keeps_no_other_from_the_sweep(
    notifications: OneService, mailbox: Mailbox
) -> None:
    """One row that refuses every change ended the sweep, and the process with it."""
    odd, lost = new_id(), new_id()
    await notifications.tell(order_paid(odd), order_paid(lost))
    for order_id in (odd, lost):
        await mail_of(notifications, order_id, "sent")
    overdue = (
        "UPDATE notifications.mails SET state = 'queued', asked_at = now() - interval '1 hour', "
        "updated_at = now() - interval '1 hour' WHERE order_id = $1"
    )
    refuse = f"ALTER TABLE notifications.mails ADD CONSTRAINT odd CHECK (order_id <> '{odd}') NOT VALID"
    await notifications.owner.execute(f"{overdue.replace('$1', repr(str(odd)))}; {refuse}")
    await notifications.owner.execute(overdue, lost)
    seen = Exposition(mailbox.http, notifications.url)

    async def failed() -> float:
        return await seen.of("payments_sweeps_total", sweep="notifications:resend", outcome="failed")

    try:
        await mail_of(notifications, lost, "sent")
        await eventually(failed, what="a round that failed")
    finally:
        await notifications.owner.execute("ALTER TABLE notifications.mails DROP CONSTRAINT odd")

    assert await commands(notifications, lost) == 2
    await asyncio.wait_for(mail_of(notifications, odd, "sent"), timeout=30)
