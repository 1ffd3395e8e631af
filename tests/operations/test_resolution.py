"""A replay is over when its service says so, in the transaction of its inbox, or when nobody says anything in time."""

import json
import re
import secrets
from collections.abc import AsyncIterator

import aio_pika
import pytest
from pamqp.common import FieldTable

from payments_shared.clock import utc_now
from payments_shared.contracts.checkout import Customer, PaymentMethodExpiring
from payments_shared.contracts.inventory import StockLow
from payments_shared.ids import new_id
from payments_shared.messaging.envelope import CONTENT_TYPE
from sandbox.services.resolver import Servers
from tests.operations.desk import LETTERS, Desk, Stray, desk_at, message, spoiled, unheld
from tests.support.deadline import eventually


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """Beside those who decide, one who calls: notifications, with a mailbox. A lease runs out soon."""
    async with desk_at(
        servers,
        tmp_path_factory.mktemp("desk"),
        names=("mailbox", "notifications", "fulfillment", "operations"),
        mark="t" + secrets.token_hex(4),
        PAYMENTS_REPLAY_LEASE_SECONDS="3",
    ) as made:
        yield made


async def replay(desk: Desk, letter: str) -> tuple[int, dict[str, object]]:
    return await desk.call("POST", f"{LETTERS}/{letter}/replay", {"reason": "a test"})


def warning(address: str) -> Stray:
    """Of a card that expires, to whoever pays with it."""
    card, owner = "pm_" + secrets.token_hex(8), Customer(email=address)
    return message(PaymentMethodExpiring(payment_method=card, customer=owner, last4="4242", exp_month=1, exp_year=2027))


async def announced_with(desk: Desk, service: str, stray: Stray) -> list[str]:
    """What the service announced of the message's replay in the transaction that wrote its inbox: transactions are
    told apart by their time, which both rows bear."""
    sql = f"""SELECT convert_from(o.body, 'UTF8')::jsonb -> 'data' ->> 'outcome' AS outcome
                FROM {service}.outbox AS o
                JOIN {service}.inbox AS i ON i.processed_at = o.created_at
               WHERE o.type = 'dead_letter.resolved.v1' AND o.partition_key = $1 AND i.message_id = $1::uuid"""
    return [row["outcome"] for row in await desk.owner.fetch(sql, str(stray.id))]


async def test_a_decision_and_its_resolution_are_one_transaction(desk: Desk) -> None:
    stray = unheld()
    letter = (await desk.fail([stray]))[0]

    assert (await replay(desk, letter))[0] == 202
    await desk.until_letter(letter, "resolved")

    assert await announced_with(desk, "fulfillment", stray) == ["applied"]
    assert (await replay(desk, letter))[1]["code"] == "not_open"


async def test_a_duplicate_is_resolved_as_well(desk: Desk) -> None:
    """The message took effect, and is among the dead letters all the same, as after a crash between two steps."""
    stray = unheld()
    letter = (await desk.fail([stray]))[0]
    await replay(desk, letter)
    await desk.until_letter(letter, "resolved")
    await desk.strand([stray])
    await desk.until_letter(letter, "open", failures=2)

    await replay(desk, letter)

    shown = await desk.until_letter(letter, "resolved")
    assert [row["outcome"] for row in shown["replays"]] == ["applied", "duplicate"]
    assert await desk.inboxed("fulfillment", [stray]) == 1


async def test_calls_tell_of_their_replays_too(desk: Desk) -> None:
    """A command to send a mail, among the dead letters: the mail is sent once, and a replay of it proves a duplicate."""
    low = message(StockLow(sku="SKU-" + secrets.token_hex(4), available=1, threshold=5))
    first = (await desk.fail([low], service="notifications"))[0]
    await replay(desk, first)
    await desk.until_letter(first, "resolved")
    sql = """SELECT message_id, type, body FROM notifications.outbox
              WHERE type = 'notifications.cmd.deliver.v1' ORDER BY seq DESC LIMIT 1"""
    row = await desk.owner.fetchrow(sql)
    assert row is not None
    command = Stray(row["message_id"], row["type"], row["body"])

    async def called() -> bool:
        return await desk.inboxed("notifications", [command]) == 1

    await eventually(called, within_seconds=30, what="the mail")
    again = Stray(new_id(), command.type, command.body)
    again = Stray(again.id, again.type, json.dumps({**json.loads(again.body), "id": str(again.id)}).encode())
    letters = await desk.fail([command, again], service="notifications", queue="work")

    for letter in letters:
        assert (await replay(desk, letter))[0] == 202

    shown = [await desk.until_letter(letter, "resolved") for letter in letters]
    assert [row["replays"][0]["outcome"] for row in shown] == ["duplicate", "applied"]
    assert await announced_with(desk, "notifications", again) == ["applied"]
    assert {row["queue"] for row in shown} == {"notifications.work"}


async def test_a_replay_that_fails_again_is_open_and_counted_once(desk: Desk) -> None:
    letter = (await desk.fail([spoiled()]))[0]

    await replay(desk, letter)
    shown = await desk.until_letter(letter, "open", failures=2)

    assert [row["outcome"] for row in shown["replays"]] == ["failed"]
    assert shown["reason"] == "undecodable"
    assert len(shown["attempts_made"]) == 2


async def test_a_twin_that_fails_leaves_an_outstanding_replay_alone(desk: Desk) -> None:
    """The relay may send a message twice, and both copies may fail: the second comes while the first is replayed."""
    stray = unheld()
    letter = (await desk.fail([stray], service="inventory"))[0]  # which is not here
    await replay(desk, letter)

    await desk.strand([stray], service="inventory")

    shown = await desk.until_letter(letter, "replaying", failures=2)
    assert [row["outcome"] for row in shown["replays"]] == [None]
    assert (await replay(desk, letter))[1]["code"] == "not_open"


async def test_a_replay_that_fails_within_the_second_is_another_failure(desk: Desk) -> None:
    """The broker dates its dead letters to the second. And one failure delivered twice is still one."""
    stray, at = unheld(), utc_now().replace(microsecond=0)
    await desk.strand([stray], service="inventory", at=at)
    letter = (await desk.kept([stray], service="inventory"))[0]
    replay_id = str((await replay(desk, letter))[1]["replay_id"])

    for _ in range(2):
        await desk.strand([stray], service="inventory", at=at, replay_id=replay_id)
    after = await desk.fail([unheld()], service="inventory")

    assert await desk.statuses(after) == {"open": 1}, "letters are kept one after the other: both came before"
    shown = await desk.until_letter(letter, "open")
    assert (shown["failures"], len(shown["attempts_made"])) == (2, 2)
    assert [row["outcome"] for row in shown["replays"]] == ["failed"]


async def test_a_lease_runs_out_and_what_is_told_later_still_counts(desk: Desk) -> None:
    stray = message(StockLow(sku="SKU-" + secrets.token_hex(4), available=1, threshold=5))
    assert desk.deployment.stop("notifications") == 0
    letter = (await desk.fail([stray], service="notifications"))[0]
    await replay(desk, letter)

    shown = await desk.until_letter(letter, "open")

    assert [row["outcome"] for row in shown["replays"]] == ["unknown"]
    assert [(row["action"], row["actor"]) for row in shown["audit"]] == [
        ("replay", "olga"),
        ("overdue", "service:operations"),
    ]
    assert (await replay(desk, letter))[0] == 202, "it may be asked for again"
    desk.deployment.start("notifications")
    desk.deployment.wait_ready("notifications")
    shown = await desk.until_letter(letter, "resolved")

    async def told() -> bool:
        found = {row["outcome"] for row in (await desk.letter(letter))["replays"]}
        return found == {"applied", "duplicate"}

    await eventually(told, within_seconds=30, what="both copies are told of")
    assert await desk.inboxed("notifications", [stray]) == 1


async def test_what_its_service_refuses_is_not_said_to_have_taken_effect(desk: Desk) -> None:
    """By a rule of the business: nothing comes of it, and its inbox makes each later replay a duplicate."""
    refused, taken = warning("no address"), warning("ann@example.com")
    letters = await desk.fail([refused, taken], service="notifications")

    bulk = await desk.start(filter={"ids": letters})
    done = await desk.until(bulk["id"], "done")

    assert done["counts"] == {"refused": 1, "resolved": 1}
    status, text, _ = desk.payctl("dlq", "watch", bulk["id"])
    assert (status, text.splitlines()[-1]) == (1, "done: 2 of 2, resolved 1, refused 1")
    shown = [await desk.letter(letter) for letter in letters]
    assert [(row["status"], row["answer"]) for row in shown] == [("resolved", "refused"), ("resolved", "applied")]
    assert re.search(r"^ +answer  refused$", desk.payctl("dlq", "show", letters[0])[1], re.MULTILINE)
    assert (await replay(desk, letters[0]))[1]["code"] == "not_open"


async def test_the_second_copy_of_what_was_refused_is_counted_as_refused(desk: Desk) -> None:
    """Nobody told of the first in time, so it was sent once more: the service refuses one, and the other proves a
    duplicate of that, unless it is refused at the same moment."""
    assert desk.deployment.stop("notifications") == 0
    letters = await desk.fail([warning("no address")], service="notifications")
    first = await desk.start(filter={"ids": letters})
    assert (await desk.until(first["id"], "done"))["counts"] == {"unknown": 1}
    second = await desk.start(filter={"ids": letters})
    desk.deployment.start("notifications")
    desk.deployment.wait_ready("notifications")

    async def told() -> bool:
        found = {row["outcome"] for row in await desk.replays_of(letters)}
        return "refused" in found and found <= {"refused", "duplicate"}

    await eventually(told, within_seconds=30, what="both copies are told of")
    assert [(await desk.until(bulk["id"], "done"))["counts"] for bulk in (first, second)] == [{"refused": 1}] * 2
    assert (await desk.until_letter(letters[0], "resolved"))["answer"] == "refused"


async def test_a_queue_that_is_missing_pauses_the_bulk_and_leaves_the_letter_open(desk: Desk) -> None:
    stray = unheld()
    letters = await desk.fail([stray, unheld()], service="checkout")
    provisioned = desk.deployment.provisioned
    admin = desk.deployment.servers.amqp_url.rstrip("/") + "/" + provisioned.vhost
    async with await aio_pika.connect(admin) as connection:
        await (await connection.channel()).queue_delete("checkout.events")

    bulk = await desk.start(filter={"ids": letters}, rate=0.5)
    paused = await desk.until(bulk["id"], "paused")

    assert paused["state_reason"] == "queue checkout.events is missing"
    assert paused["counts"] == {"failed": 1, "waiting": 1}
    assert await desk.statuses(letters) == {"open": 2}
    assert "not_sent" in {row["action"] for row in await desk.audit(letters)}


async def test_a_message_that_cannot_be_read_as_one_is_kept_once_and_goes_back(desk: Desk) -> None:
    """No id, no envelope, headers of every kind, as a tool or an attacker would write them."""
    provisioned = desk.deployment.provisioned
    body = b"\xff\x00 neither JSON nor text " + secrets.token_bytes(8)
    headers: FieldTable = {
        "nul\x00name": "nul\x00value", "bytes": bytearray(b"\xff\x00"), "deep": [{"a": [None, True, 1.5]}],
        "pay-fault-reason": "exhausted", "pay-fault-queue": "checkout.events", "pay-fault-failed-at": "9999-12-31T23:59:59+00:00",
        "pay-fault-attempts": "many", "pay-fault-fingerprint": "odd", "pay-replay-id": "no id",
    }  # fmt: skip
    async with await aio_pika.connect(provisioned.amqp_urls["fulfillment"]) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange("pay.dlx", ensure=False)
        odd = aio_pika.Message(
            body,
            headers=headers,
            type="odd\x00type",
            correlation_id="nul\x00",
            content_type=CONTENT_TYPE,
            delivery_mode=2,
        )
        await exchange.publish(odd, routing_key="fulfillment")

    async def kept() -> str | None:
        found = await desk.owner.fetchval("SELECT id FROM operations.dead_letters WHERE body = $1", body)
        return None if found is None else str(found)

    letter = await eventually(kept, within_seconds=30, what="the odd letter")
    assert letter is not None
    shown = await desk.letter(letter)
    assert (shown["queue"], shown["reason"]) == ("fulfillment.events", "exhausted"), "never to another service"
    assert (await replay(desk, letter))[0] == 202
    shown = await desk.until_letter(letter, "open", failures=2)
    assert shown["reason"] == "undecodable"
    assert [row["outcome"] for row in shown["replays"]] == ["failed"]
    assert await desk.owner.fetchval("SELECT count(*) FROM operations.dead_letters WHERE body = $1", body) == 1
