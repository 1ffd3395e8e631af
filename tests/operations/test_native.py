"""What the broker itself moved to the dead letters is kept, grouped and sent back like the rest."""

import secrets
from collections.abc import AsyncIterator

import aio_pika
import pytest

from payments_shared.messaging.envelope import CONTENT_TYPE
from sandbox.services.resolver import Servers
from tests.operations.desk import LETTERS, Desk, Stray, desk_at, unheld
from tests.support.deadline import eventually

DELIVERIES = 21  # one more than the queue's limit


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """Operations alone: the test is the service that crashes."""
    folder, mark = tmp_path_factory.mktemp("desk"), "t" + secrets.token_hex(4)
    async with desk_at(servers, folder, names=("operations",), mark=mark) as made:
        yield made


async def crash(desk: Desk, stray: Stray, *, through_a_tier: bool = False) -> None:
    """Bring `stray` to fulfillment's queue, and give it back until the broker has had enough."""
    provisioned = desk.deployment.provisioned
    exchange = "pay.retry.100" if through_a_tier else "pay.return"
    async with await aio_pika.connect(provisioned.amqp_urls["fulfillment"]) as connection:
        channel = await connection.channel(on_return_raises=True)
        dead = aio_pika.Message(
            stray.body,
            message_id=str(stray.id),
            type=stray.type,
            content_type=CONTENT_TYPE,
            delivery_mode=2,
            headers={"pay-attempt": 2},
            user_id=f"{provisioned.vhost}_fulfillment",
        )
        await (await channel.get_exchange(exchange, ensure=False)).publish(dead, routing_key="fulfillment.events")
        queue = await channel.get_queue("fulfillment.events", ensure=False)
        given_back = 0

        async def give_back() -> bool:
            nonlocal given_back
            delivery = await queue.get(fail=False)
            if delivery is not None:
                assert delivery.message_id == str(stray.id)
                await delivery.reject(requeue=True)
                given_back += 1
            return given_back == DELIVERIES

        await eventually(give_back, within_seconds=60, what="the delivery limit")


@pytest.mark.parametrize("through_a_tier", [False, True])
async def test_a_message_that_kills_its_service_is_a_dead_letter_of_its_queue(desk: Desk, through_a_tier: bool) -> None:
    stray = unheld()
    await crash(desk, stray, through_a_tier=through_a_tier)

    letter = await desk.letter((await desk.kept([stray]))[0])

    assert (letter["reason"], letter["queue"], letter["type"]) == ("delivery_limit", "fulfillment.events", stray.type)
    _, answer = await desk.call("GET", f"{LETTERS}/groups?service=fulfillment")
    group = next(row for row in answer["groups"] if row["fingerprint"] == letter["fingerprint"])
    assert (group["fingerprint"], group["reason"]) == (f"delivery_limit:{stray.type}", "delivery_limit")
    assert group["open"] >= 1
    assert group["exception_type"] is None


async def test_it_goes_back_with_clean_headers_and_a_second_crash_is_counted(desk: Desk) -> None:
    """A copied x-death would make the broker drop the message in a retry tier: it looks like a cycle."""
    stray = unheld()
    await crash(desk, stray)
    letter = (await desk.kept([stray]))[0]
    assert (await desk.call("POST", f"{LETTERS}/{letter}/replay", {"reason": "a test"}))[0] == 202
    async with await aio_pika.connect(desk.deployment.provisioned.amqp_urls["fulfillment"]) as connection:
        queue = await (await connection.channel()).get_queue("fulfillment.events", ensure=False)
        delivery = await eventually(lambda: queue.get(fail=False), within_seconds=30, what="the replay")
        assert delivery is not None
        assert {name for name in delivery.headers if name.startswith("x-") and name != "x-delivery-count"} == set()
        assert "pay-attempt" not in delivery.headers
        assert delivery.body == stray.body
        for _ in range(DELIVERIES - 1):
            await delivery.reject(requeue=True)
            delivery = await eventually(lambda: queue.get(fail=False), within_seconds=30, what="again")
            assert delivery is not None
        await delivery.reject(requeue=True)

    shown = await desk.until_letter(letter, "open", failures=2)

    assert [row["outcome"] for row in shown["replays"]] == ["failed"]
    assert [row["reason"] for row in shown["attempts_made"]] == ["delivery_limit", "delivery_limit"]
