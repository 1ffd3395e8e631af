"""What lets its reader act, such as the client secrets of Stripe's objects, leaves operations in no way but the one back
to the queue: there the message is what it was, byte for byte."""

import base64
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import aio_pika
import pytest

from payments_shared.contracts.checkout import OrderExpired, RecoveryLink
from payments_shared.ids import external_id, new_id
from payments_shared.redaction import REDACTED
from sandbox.services.resolver import Servers
from tests.operations.desk import LETTERS, Desk, Stray, desk_at, message
from tests.operations.test_editing import body_of, edit
from tests.operations.visitors import Visitor
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers
LETTER = """
    INSERT INTO operations.dead_letters (id, message_id, service, queue, type, correlation_id, reason, fingerprint,
        exception_type, exception_message, handler, stack, first_failed_at, last_failed_at, headers, body)
    VALUES ($1, $2, 'checkout', 'checkout.events', $3, $4, 'exhausted', $5, 'KeyError', $6, 'a.test', $6, now(), now(),
        jsonb_build_object('Authorization', $7::text, 'x-note', $6::text), $8)
"""
ATTEMPT = """
    INSERT INTO operations.dead_letter_attempts (dead_letter_id, failed_at, reason, exception_message, body)
    VALUES ($1, now(), 'exhausted', $2, $3)
"""
AUDIT = """
    INSERT INTO operations.dead_letter_audit (dead_letter_id, action, actor, reason, detail)
    VALUES ($1, 'edit', 'olga', 'a test', jsonb_build_object('changes', jsonb_build_array(jsonb_build_object(
        'pointer', '/data/client_secret', 'from', $2::text, 'to', null))))
"""
SAID = """
    INSERT INTO operations.timeline (message_id, order_ref, type, source, subject, time, data)
    VALUES ($1, $2, 'order.expired.v1', 'payments/checkout', $2, now(), $3::text::jsonb)
"""
STRIPES = "stripe.payment_intent.succeeded"


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """A desk with an identity provider beside it. Neither checkout nor notifications is here: what goes back to them
    stays in their queues."""
    names, folder = ("identity", "operations"), tmp_path_factory.mktemp("desk")
    async with desk_at(servers, folder, names=names, mark="t" + secrets.token_hex(4)) as made:
        yield made


@pytest.fixture(scope="module")
async def olga(desk: Desk) -> Visitor:
    """An operator who is signed in."""
    made = Visitor(desk.deployment, desk.http)
    await made.sign_in("olga")
    return made


def canary() -> str:
    """A client secret as Stripe makes them."""
    return f"pi_{secrets.token_hex(8)}_secret_{secrets.token_hex(12)}"


def said_by_stripe(secret: str) -> Stray:
    """An event about a payment intent, which bears its client secret, as webhook-ingest says it."""
    message_id = new_id()
    intent = {"id": "pi_1", "object": "payment_intent", "amount": 1800, "client_secret": secret, "status": "succeeded"}
    envelope = {
        "specversion": "1.0", "id": str(message_id), "source": "payments/webhook-ingest", "type": STRIPES,
        "subject": "stripe_event/evt_1", "time": datetime.now(UTC).isoformat(), "partitionkey": "pi_1",
        "data": {"id": "evt_1", "type": "payment_intent.succeeded", "created": 1, "livemode": False,
                 "data": {"object": intent}},
    }  # fmt: skip
    return Stray(message_id, STRIPES, json.dumps(envelope, indent=1).encode())


def ended(token: str) -> Stray:
    """An order that ended, with the token that takes it up again, and something misspelt."""
    link = RecoveryLink(token=token, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    return message(OrderExpired(order_id=new_id(), recovery=link), spoil={"lines": "none"})


async def waiting(desk: Desk, service: str) -> bytes:
    """The body of the one message that waits in a service's queue; it is taken out."""
    connection = await aio_pika.connect(desk.deployment.provisioned.amqp_urls[service])
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue(f"{service}.events")

        async def found() -> bytes | None:
            taken = await queue.get(fail=False)
            if taken is None:
                return None
            await taken.ack()
            return taken.body

        body = await eventually(found, within_seconds=30, what=f"a message for {service}")
        assert body is not None
        return body


async def everything_shown(desk: Desk, olga: Visitor, letter: str, order: str, fingerprint: str) -> dict[str, str]:
    """All that is shown of a dead letter and its order, by the way on which it is."""
    export = {"filter": {"fingerprint": fingerprint}, "reason": "a test"}
    calls: list[tuple[str, str, Any]] = [
        ("GET", f"{LETTERS}/{letter}", None),
        ("GET", f"{LETTERS}?fingerprint={fingerprint}", None),
        ("GET", f"{LETTERS}/groups?service=checkout", None),
        ("GET", f"/admin/orders/{order}/timeline", None),
        ("POST", f"{LETTERS}/export", export),
    ]
    shown = {}
    for method, path, body in calls:
        status, answer = await desk.call(method, path, body)
        assert status == 200, (path, answer)
        shown[path] = json.dumps(answer)
    for page in (
        "dead-letters", f"dead-letters/list?fingerprint={fingerprint}", f"dead-letters/{letter}",
        f"dead-letters/{letter}/state", f"dead-letters/{letter}/edit", f"orders/{order}", f"search?q={order}",
        f"search?q={letter}", "audit",
    ):  # fmt: skip
        found = await olga.look(f"/console/{page}")
        assert found.status == 200, page
        shown[page] = found.text
    file = desk.folder / f"{secrets.token_hex(4)}.jsonl"
    commands = (
        ("dlq", "show", letter), ("dlq", "show", letter, "--json"), ("dlq", "show", letter, "--body"),
        ("dlq", "list", "--fingerprint", fingerprint, "--json"), ("dlq", "groups", "--json"), ("order", order, "--json"),
        ("dlq", "export", "--fingerprint", fingerprint, "--reason", "a test"),
        ("dlq", "export", "--fingerprint", fingerprint, "--reason", "a test", "--output", str(file)),
    )  # fmt: skip
    for command in commands:
        status, text, said = desk.payctl(*command, COLUMNS="400")
        assert status == 0, (command, said)
        shown[" ".join(command)] = text + said
    return {**shown, "the file": file.read_text(encoding="utf-8")}


@pytest.mark.parametrize("kind", ["json", "torn", "bytes"])
async def test_no_way_shows_a_secret(desk: Desk, olga: Visitor, kind: str) -> None:
    secret, token = canary(), secrets.token_hex(16)
    letter, order, fingerprint = str(new_id()), external_id("ord", new_id()), secrets.token_hex(20)
    whole = said_by_stripe(secret).body
    body = {"json": whole, "torn": whole[:-9], "bytes": whole + b"\xff\xfe"}[kind]
    why = f"1 validation error: input_value={{'client_secret': '{secret}', 'token': '{token}'}}"
    about = (UUID(letter), str(new_id()), STRIPES, order, fingerprint, why, f"Bearer {token}", body)
    await desk.owner.execute(LETTER, *about)
    await desk.owner.execute(ATTEMPT, UUID(letter), why, body)
    await desk.owner.execute(AUDIT, UUID(letter), secret)
    data = json.dumps({"order_id": order, "recovery": {"token": token}, "note": f"see {secret}"})
    await desk.owner.execute(SAID, new_id(), order, data)

    shown = await everything_shown(desk, olga, letter, order, fingerprint)

    assert [way for way, text in shown.items() if secret in text or token in text] == []
    told = [way for way, text in shown.items() if REDACTED in text]
    assert {f"{LETTERS}/{letter}", f"dead-letters/{letter}", f"orders/{order}", "the file"} <= set(told)
    encoded = [json.loads(shown[f"{LETTERS}/{letter}"]), *json.loads(shown[f"{LETTERS}/export"])["dead_letters"]]
    for one in encoded:
        assert ("body_base64" in one) is (kind == "bytes")
        assert secret.encode() not in base64.b64decode(one.get("body_base64", ""))
    assert await desk.owner.fetchval("SELECT body FROM operations.dead_letters WHERE id = $1", UUID(letter)) == body


async def test_a_replay_is_exact(desk: Desk, olga: Visitor) -> None:
    stray = said_by_stripe(canary())
    (letter,) = await desk.fail([stray], service="checkout")
    page = f"/console/dead-letters/{letter}"
    assert REDACTED in (await olga.look(page)).text

    sent = await olga.send(f"{page}/replay", page=page, reason="the cause is mended")

    assert sent.status == 303
    assert await waiting(desk, "checkout") == stray.body


async def test_what_was_not_shown_goes_with_the_copy(desk: Desk, olga: Visitor) -> None:
    """Whoever corrects something else leaves what stands for the secret, in each way to make a copy."""
    editor = desk.folder / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/"none"/[]/\' "$1"\n')
    editor.chmod(0o700)

    async def by_page(letter: str) -> None:
        page = f"/console/dead-letters/{letter}/edit"
        shown = json.loads((await desk.letter(letter))["body"])
        assert "[redacted]" in (await olga.look(page)).plain
        shown["data"]["lines"] = []
        checked = await olga.send(page, page=page, step="check", body=json.dumps(shown))
        assert "It changes 1 value" in checked.plain
        sent = await olga.send(page, page=page, step="send", reason="misspelt", body=json.dumps(shown))
        assert sent.status == 303, sent.plain

    async def by_patch(letter: str) -> None:
        status, text, said = desk.payctl(
            "dlq", "edit", letter, "--reason", "misspelt", "--patch", "-", given='{"data": {"lines": []}}'
        )
        assert status == 0, said
        assert '/data/lines: "none" → []' in text

    async def by_editor(letter: str) -> None:
        status, _, said = desk.payctl("dlq", "edit", letter, "--reason", "misspelt", EDITOR=str(editor))
        assert status == 0, said

    for make in (by_page, by_patch, by_editor):
        token = secrets.token_hex(16)
        stray = ended(token)
        (letter,) = await desk.fail([stray], service="notifications")
        assert token not in json.dumps(await desk.letter(letter))

        await make(letter)

        wanted = {**body_of(stray)["data"], "lines": []}
        assert json.loads(await waiting(desk, "notifications"))["data"] == wanted
        assert wanted["recovery"]["token"] == token
        (entry,) = [row for row in await desk.audit([letter]) if row["action"] == "edit"]
        assert token not in str(entry["detail"])


async def test_what_is_secret_is_not_an_operators_to_change(desk: Desk) -> None:
    (letter,) = await desk.fail([ended(secrets.token_hex(16))], service="notifications")
    shown = json.loads((await desk.letter(letter))["body"])
    right = {**shown["data"], "lines": []}
    another: Any = {**right["recovery"], "token": "an operator's own"}

    for data, pointer in (
        ({**right, "recovery": another}, "/data/recovery/token"),
        ({**right, "recovery": None}, "/data/recovery"),
        ({**right, "customer": {"email": REDACTED}}, "/data/customer"),
    ):
        status, problem = await edit(desk, letter, {**shown, "data": data})
        assert (status, problem["code"]) == (422, "locked_field")
        assert pointer in [error["pointer"] for error in problem["errors"]]
    assert await desk.replays_of([letter]) == []
