"""Breaking the glass: the database is away, and dead letters go back by the broker alone."""

import base64
import json
import secrets
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from payments_shared.contracts.checkout import OrderHeld
from payments_shared.ids import new_id
from payments_shared.messaging.recoverability import Forged, Forgotten
from sandbox.services.resolver import private_servers
from tests.operations.desk import Desk, desk_at, message, spoiled, unheld
from tests.support.deadline import eventually


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """On servers of its own: the database will be stopped."""
    folder, mark = tmp_path_factory.mktemp("desk"), "t" + secrets.token_hex(4)
    with private_servers() as servers:
        async with desk_at(servers, folder, names=("fulfillment", "operations"), mark=mark) as made:
            yield made


def drain(desk: Desk, file: Path, *more: str) -> tuple[int, str, str]:
    """The command as a night operator runs it: without the admin port, without a token."""
    url = desk.deployment.provisioned.amqp_urls["operations"]
    return desk.payctl(
        "dlq", "drain", "--service", "fulfillment", "--reason", "the database is away", "--file", str(file), *more,
        PAYMENTS_AMQP_URL=url, PAYMENTS_OPERATIONS_URL="", PAYMENTS_TOKEN_FILE="",
    )  # fmt: skip


async def waiting(desk: Desk, messages: int) -> None:
    async def there() -> bool:
        return await desk.depth("operations", "fulfillment.dlq") == messages

    await eventually(there, within_seconds=30, what=f"{messages} in the dead letter queue")


async def test_with_the_database_stopped_messages_go_back_and_take_effect_once_it_is_there(
    desk: Desk, tmp_path: Path
) -> None:
    good, bad = [unheld() for _ in range(30)], [spoiled() for _ in range(3)]
    known = unheld()  # kept by operations before: the database knows it as open
    letter = (await desk.fail([known]))[0]
    file, servers = tmp_path / "drained.jsonl", desk.deployment.servers
    status, _, said = drain(desk, file)
    assert (status, "stop operations first" in said) == (1, True)
    desk.deployment.kill("operations")
    await desk.strand([*good, *bad, known])
    await waiting(desk, 34)
    assert servers.postgres is not None
    servers.postgres.stop()

    status, dry, said = drain(desk, file, "--dry-run")
    assert (status, said) == (0, "")
    assert "would move 34" in dry
    assert file.read_text() == ""
    await waiting(desk, 34)
    status, out, said = drain(desk, file)

    assert (status, said) == (0, ""), out
    assert f"moved 34; each is a line of {file}" in out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["message_id"] for line in lines} == {str(one.id) for one in [*good, *bad, known]}
    assert {base64.b64decode(line["body_base64"]) for line in lines} == {one.body for one in [*good, *bad, known]}
    assert {(line["service"], line["reason"]) for line in lines} == {("fulfillment", "exhausted")}
    assert len({line["replay_id"] for line in lines}) == 34
    assert {line["why"] for line in lines} == {"the database is away"}
    servers.postgres.start()
    desk.deployment.start("operations")
    desk.deployment.wait_ready("operations", "fulfillment")

    async def applied() -> bool:
        return await desk.inboxed("fulfillment", [*good, known]) == 31

    await eventually(applied, within_seconds=60, what="effects")
    await desk.until_letter(letter, "resolved")
    again = await desk.kept(bad)
    assert await desk.statuses(again) == {"open": 3}
    consumed = await desk.consumed("fulfillment", "order.unheld.v1")
    assert consumed["applied"] == 31


async def test_what_fails_again_meanwhile_and_what_is_doubtful_stays(desk: Desk, tmp_path: Path) -> None:
    """With the service there a drain would go round in circles; and a replay would vouch for a forgery,
    or decide that what is forgotten never took effect."""
    desk.deployment.stop("operations")
    try:
        bad, forged, forgotten = [spoiled() for _ in range(8)], unheld(), unheld()
        other = message(OrderHeld(order_id=new_id(), reason="amount_mismatch"))
        await desk.strand(bad)
        await desk.strand([forged], error=Forged("user 'x' may not say this"))
        await desk.strand([forgotten], error=Forgotten("said long ago"))
        await desk.strand([other])
        await waiting(desk, 11)
        file = tmp_path / "drained.jsonl"

        status, out, said = drain(desk, file, "--type", "order.unheld.v1", "--rate", "5", "--json")

        assert status == 0, said
        report = json.loads(out)
        assert report["moved"] == {"order.unheld.v1": 8}
        assert report["left"]["order.held.v1"] == 1
        assert report["left"]["order.unheld.v1"] >= 3, "the doubtful, and those that came back in time"
        await waiting(desk, 11)
        assert len(file.read_text().splitlines()) == 8
    finally:
        desk.deployment.start("operations")
        desk.deployment.wait_ready("operations")
    await desk.kept([*bad, other])
    assert await desk.inboxed("fulfillment", [forged, forgotten]) == 0


async def test_a_broker_that_is_away_is_said_so(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "drained.jsonl"

    status, _, said = desk.payctl(
        "dlq", "drain", "--service", "fulfillment", "--reason", "night", "--file", str(file),
        PAYMENTS_AMQP_URL="amqp://operations:x@127.0.0.1:9/x",
    )  # fmt: skip

    assert (status, said) == (1, "the broker cannot be reached\n")
    assert desk.payctl(
        "dlq", "drain", "--service", "nobody", "--reason", "night", "--file", str(file),
        PAYMENTS_AMQP_URL="amqp://operations:x@127.0.0.1:9/x",
    )[0] == 2  # fmt: skip
