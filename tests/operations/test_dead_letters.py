"""A poison message lands with its own service's dead letters, and a replay reaches that service alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import aio_pika
import pytest

from payments_shared.contracts.catalog import CATALOG, CONSUMERS
from payments_shared.ids import new_id
from payments_shared.messaging.envelope import CONTENT_TYPE, routing_key
from tests.support.shopping import Shopper, eventually, uuid_of


async def publish(shopper: Shopper, user: str, message_id: str, *, type_: str, body: bytes) -> None:
    """Publish as a service would, with its own login."""
    url = shopper.deployment.provisioned.amqp_urls[user]
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.get_exchange("pay.events", ensure=False)
        name = shopper.deployment.provisioned.vhost + "_" + user
        message = aio_pika.Message(
            body, message_id=message_id, type=type_, user_id=name, content_type=CONTENT_TYPE, delivery_mode=2
        )
        await exchange.publish(message, routing_key=routing_key(type_, message_id), mandatory=True)


def payctl(shopper: Shopper, tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """The command line as an operator runs it."""
    token = tmp_path / "token"
    token.write_text(shopper.deployment.keys.token("olga", "operator"))
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_OPERATIONS_URL": shopper.deployment.internal_url("operations"),
        "PAYMENTS_TOKEN_FILE": str(token),
        "PAYMENTS_AUDITOR_DATABASE_URL": shopper.deployment.provisioned.database_urls["auditor"],
    }
    command = [str(Path(sys.executable).parent / "payctl"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


async def test_a_poison_message_is_a_dead_letter_and_a_replay_reaches_its_service_alone(
    shopper: Shopper, tmp_path: Path
) -> None:
    message_id = str(new_id())
    await publish(shopper, "inventory", message_id, type_="stock.low.v1", body=b'{"not": "an envelope"}')

    async def listed() -> list[dict[str, Any]]:
        status, text = payctl(shopper, tmp_path, "dlq", "list", "--json", "--status", "open")
        assert status == 0, text
        return [row for row in json.loads(text) if row["message_id"] == message_id]

    rows = await eventually(listed, what="the dead letters")
    # stock.low is heard by notifications, which acts on it, and by operations, whose own dead letters stay put.
    assert {row["service"] for row in rows} == {"notifications"}
    letter = rows[0]
    status, text = payctl(shopper, tmp_path, "dlq", "show", letter["id"], "--json")
    shown = json.loads(text)
    assert (status, shown["reason"], shown["queue"]) == (0, "undecodable", "notifications.events")
    headers = shown["headers"]
    for name in ("service", "queue", "handler", "reason", "exception-type", "exception-message", "stack", "fingerprint",
                 "attempts", "first-failed-at", "failed-at", "host", "code-version"):  # fmt: skip
        assert headers[f"pay-fault-{name}"] != "", name
    assert shown["body"] == '{"not": "an envelope"}'

    status, text = payctl(shopper, tmp_path, "dlq", "replay", letter["id"], "--reason", "after a fix")
    assert status == 0, text

    async def failed_again() -> bool:
        found = await listed()
        return bool(found) and found[0]["failures"] == 2

    await eventually(failed_again, what="the replay fails again and is counted")
    assert {row["service"] for row in await listed()} == {"notifications"}, "nobody else was sent it and failed on it"


async def renamed(shopper: Shopper, services: set[str], message_id: str, old: str, new: str) -> None:
    """Change under whose name the inboxes of `services` have a message; "" is the service's own."""
    for name in services:
        sql = f"UPDATE {name}.inbox SET handler = $3 WHERE message_id = $1 AND handler = $2"
        done = await shopper.owner.execute(sql, UUID(message_id), old or name, new or name)
        assert done == "UPDATE 1", f"{name}: {done}"


async def handled_by(shopper: Shopper, message_id: str) -> set[str]:
    """The services whose inbox has a message under their own name."""
    sql = "SELECT count(*) FROM {}.inbox WHERE message_id = $1 AND handler = $2"
    return {name for name in CONSUMERS if await shopper.count(sql.format(name), UUID(message_id), name)}


async def test_a_replay_that_takes_effect_is_resolved_and_a_second_one_is_harmless(
    shopper: Shopper, tmp_path: Path
) -> None:
    """A table is missing while the message arrives, as after a deployment gone wrong; then it is there again."""
    order = await shopper.placed(await shopper.offer())
    session = await shopper.session_of(order)
    await shopper.owner.execute("ALTER TABLE inventory.reservation_transitions RENAME TO mislaid")
    await shopper.stripe("POST", f"/v1/checkout/sessions/{session}/expire")

    async def letter() -> dict[str, Any] | None:
        _, text = payctl(shopper, tmp_path, "dlq", "list", "--json", "--service", "inventory")
        story = await shopper.said_about(order, "order.expired.v1")
        return next((row for row in json.loads(text) if row["message_id"] in story), None)

    found = await eventually(letter, within=60, what="the dead letter")
    await shopper.owner.execute("ALTER TABLE inventory.mislaid RENAME TO reservation_transitions")
    assert found["reason"] == "exhausted"
    others = set(CATALOG["order.expired.v1"].hearers) - {"inventory"}

    async def handled_by_all_others() -> bool:
        return await handled_by(shopper, found["message_id"]) == others

    assert others
    await eventually(handled_by_all_others, what="the others' effects")
    # The others forget that they handled it: a copy that reached one of them would be handled again, and show.
    await renamed(shopper, others, found["message_id"], old="", new="aside")
    assert payctl(shopper, tmp_path, "dlq", "replay", "--service", "inventory", "--reason", "fixed")[0] == 0

    async def resolved() -> bool:
        row = await letter()
        return row is not None and row["status"] == "resolved"

    await eventually(resolved, what="the resolution")
    assert await handled_by(shopper, found["message_id"]) == {"inventory"}
    status, text = payctl(shopper, tmp_path, "dlq", "replay", found["id"], "--reason", "again")
    assert (status, "nothing_matches" in text) == (1, True)
    audit = (await shopper.admin("GET", "operations", f"/admin/dead-letters/{found['id']}")).body["audit"]
    assert [(entry["action"], entry["actor"]) for entry in audit] == [
        ("replay", "olga"),
        ("resolved", "service:inventory"),
    ]
    held = "SELECT count(*) FROM inventory.reservation_transitions WHERE order_id = $1 AND to_state = 'released'"
    assert await shopper.count(held, uuid_of(order)) == 1
    await renamed(shopper, others, found["message_id"], old="aside", new="")


async def test_a_dead_letter_that_cannot_be_stored_waits_and_operations_lives(shopper: Shopper, tmp_path: Path) -> None:
    """A column is missing, as after a deployment gone wrong: nothing that a wait for the database would cure."""
    operations = shopper.deployment.children["operations"]
    pid, message_id = operations.pid, str(new_id())
    await shopper.owner.execute("ALTER TABLE operations.dead_letters RENAME COLUMN fingerprint TO mislaid")
    await publish(shopper, "inventory", message_id, type_="stock.low.v1", body=b"{}")

    async def tried() -> bool:
        return "raw.not_kept" in operations.tail(50)

    await eventually(tried, what="operations tries to keep it")
    await shopper.owner.execute("ALTER TABLE operations.dead_letters RENAME COLUMN mislaid TO fingerprint")

    async def kept() -> bool:
        _, text = payctl(shopper, tmp_path, "dlq", "list", "--json", "--service", "notifications")
        return message_id in {row["message_id"] for row in json.loads(text)}

    await eventually(kept, within=30, what="the dead letter")
    assert (operations.running, operations.pid) == (True, pid)


async def test_the_order_timeline_tells_the_whole_story(shopper: Shopper, tmp_path: Path) -> None:
    order = await shopper.bought(await shopper.offer())
    await shopper.until(order, "paid")
    await shopper.quiet()

    status, text = payctl(shopper, tmp_path, "order", order["order_id"], "--json")

    types = [message["type"] for message in json.loads(text)["messages"]]
    assert status == 0
    assert {
        "order.placed.v1", "stripe.checkout.session.completed", "stripe.payment_intent.succeeded", "order.paid.v1",
        "stock.committed.v1", "shipment.created.v1", "notification.sent.v1",
    } <= set(types)  # fmt: skip
    assert "ada@example.com" not in text


async def test_payctl_audit_prints_every_predicate_and_exits_0(shopper: Shopper, tmp_path: Path) -> None:
    await shopper.audited()

    status, text = payctl(shopper, tmp_path, "audit")

    assert status == 0, text
    assert len([line for line in text.splitlines() if "examined" in line]) == 52
    status, text = payctl(shopper, tmp_path, "audit", "--only", "I23", "--only", "I02")
    assert (status, [line.split("_")[0] for line in text.splitlines()]) == (0, ["I02", "I23"])
    status, text = payctl(shopper, tmp_path, "audit", "--only", "I99")
    assert status == 2
    assert "no predicate is called I99" in text


@pytest.mark.parametrize(
    ("user", "exchange", "key"),
    [
        ("inventory", "pay.events", "order.paid.v1.b00"),
        ("inventory", "pay.retry.300", "checkout.events"),
        ("inventory", "pay.return", "checkout.events"),
        ("inventory", "pay.dlx", "checkout"),
        ("inventory", "", "checkout.events"),
        ("webhook-ingest", "pay.dlx", "webhook-ingest"),
        ("operations", "pay.events", "order.paid.v1.b00"),
    ],
)
async def test_no_service_can_speak_for_another(shopper: Shopper, user: str, exchange: str, key: str) -> None:
    connection = await aio_pika.connect(shopper.deployment.provisioned.amqp_urls[user])
    async with connection:
        channel = await connection.channel(on_return_raises=True)
        target = await channel.get_exchange(exchange, ensure=False) if exchange else channel.default_exchange

        with pytest.raises(aio_pika.exceptions.AMQPError, match="ACCESS_REFUSED"):
            await target.publish(aio_pika.Message(b"{}", message_id=str(new_id())), routing_key=key)
