"""Of two snapshots of one aggregate the older changes nothing, in whatever order, batch or instance they arrive."""

from collections.abc import AsyncIterator, Sequence
from itertools import permutations
from uuid import UUID

import pytest
import pytest_asyncio

from payments_shared.contracts.checkout import OrderHeld, OrderUnheld
from payments_shared.contracts.message import Message
from payments_shared.errors import Poison
from payments_shared.ids import external_id, new_id
from payments_shared.messaging import Batch, Transaction, newest, on, together
from payments_shared.provision import Provisioned
from sandbox.services.resolver import Servers
from tests.shared.messaging import Half, consuming, half_of, metric, provisioned
from tests.support.deadline import eventually

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def made(servers: Servers) -> AsyncIterator[Provisioned]:
    async with provisioned(servers) as done:
        yield done


def held(order_id: UUID) -> OrderHeld:
    return OrderHeld(order_id=order_id, reason="amount_mismatch")


async def say(checkout: Half, *said: tuple[Message, int | None]) -> list[UUID]:
    async with checkout.outbox.transaction() as tx:
        return [tx.announce(message, sequence=sequence) for message, sequence in said]


async def recorded(fulfillment: Half, ids: Sequence[UUID]) -> list[str]:
    """What became of each message, once all are known."""
    sql = "SELECT message_id, outcome FROM fulfillment.inbox WHERE message_id = ANY($1)"

    async def all_known() -> dict[UUID, str] | None:
        rows = {row["message_id"]: row["outcome"] for row in await fulfillment.owner.fetch(sql, list(ids))}
        return rows if len(rows) == len(ids) else None

    known = await eventually(all_known, within_seconds=60, what="the inbox knows all")
    assert known is not None
    return [known[message_id] for message_id in ids]


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "together"])
async def test_an_older_snapshot_is_recorded_as_stale_and_its_handler_never_sees_it(
    made: Provisioned, many: bool
) -> None:
    heard: dict[UUID, list[str]] = {}

    async def hear(_: Transaction, message: OrderHeld | OrderUnheld) -> None:
        heard.setdefault(message.order_id, []).append(message.TYPE)

    async def hear_all(batch: Batch[OrderHeld | OrderUnheld]) -> None:
        for tx, message in batch:
            await hear(tx, message)

    events = (
        [newest("hold", together(OrderHeld, hear_all)), newest("hold", together(OrderUnheld, hear_all))]
        if many
        else [newest("hold", on(OrderHeld, hear)), newest("hold", on(OrderUnheld, hear))]
    )
    stale = metric("payments_messages_consumed_total", outcome="stale")
    async with half_of("fulfillment", made, events=events) as fulfillment, half_of("checkout", made) as checkout:
        await consuming(fulfillment)
        orders = {turn: new_id() for turn in permutations((3, 7, 20))}
        words = {turn: [(held(order) if n == 7 else OrderUnheld(order_id=order), n) for n in turn] for turn, order in orders.items()}  # fmt: skip

        outcomes = {turn: await recorded(fulfillment, await say(checkout, *said)) for turn, said in words.items()}

        for turn, order in orders.items():
            newest_yet = [n == max(turn[: position + 1]) for position, n in enumerate(turn)]
            assert outcomes[turn] == ["applied" if new else "stale" for new in newest_yet], turn
            taken = [n for n, new in zip(turn, newest_yet, strict=True) if new]
            assert heard[order] == ["order.held.v1" if n == 7 else "order.unheld.v1" for n in taken]
            sql = "SELECT sequence FROM fulfillment.snapshots WHERE subject = $1"
            assert await fulfillment.owner.fetchval(sql, f"order/{external_id('ord', order)}") == 20

    found = metric("payments_messages_consumed_total", outcome="stale") - stale
    assert found == sum(outcome == "stale" for turn in outcomes.values() for outcome in turn) > 0


async def test_what_has_no_sequence_or_the_same_is_never_stale(made: Provisioned) -> None:
    heard: list[UUID] = []

    async def hear(_: Transaction, message: OrderHeld) -> None:
        heard.append(message.order_id)

    async with (
        half_of("fulfillment", made, events=[newest("hold", on(OrderHeld, hear))]) as fulfillment,
        half_of("checkout", made) as checkout,
    ):
        await consuming(fulfillment)
        order = new_id()

        ids = await say(checkout, (held(order), 5), (held(order), None), (held(order), 5))

        assert await recorded(fulfillment, ids) == ["applied"] * 3
        assert heard == [order] * 3


async def test_a_snapshot_that_took_no_effect_makes_no_other_stale(made: Provisioned) -> None:
    """The newer one fails for good, so the older is the newest that there is."""
    order = new_id()

    async def hear(_: Transaction, message: OrderHeld) -> None:
        if message.reason == "identity_conflict":
            raise Poison("odd", "Never.")

    async with (
        half_of("fulfillment", made, events=[newest("hold", on(OrderHeld, hear))]) as fulfillment,
        half_of("checkout", made) as checkout,
    ):
        await consuming(fulfillment)

        failed, older = await say(
            checkout, (OrderHeld(order_id=order, reason="identity_conflict"), 9), (held(order), 4)
        )

        assert await recorded(fulfillment, [older]) == ["applied"]
        assert await fulfillment.owner.fetchval(
            "SELECT count(*) FROM fulfillment.inbox WHERE message_id = $1", failed
        ) == 0  # fmt: skip
