"""A batch of messages in one transaction: claimed, decided about and announced together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from payments_shared import metrics
from payments_shared.clock import monotonic_seconds
from payments_shared.contracts.dead_letter import DeadLetterResolved
from payments_shared.contracts.message import Message
from payments_shared.failpoints import failpoint
from payments_shared.messaging import inbox
from payments_shared.messaging.binding import Batch, Binding, Kind, in_context_of
from payments_shared.messaging.delivery import Incoming
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.outbox import Outbox, Transaction
from payments_shared.messaging.settling import Outcomes
from payments_shared.postgres import Connection, acquire


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message that was not heard before, with the transaction through which its handler announces."""

    tx: Transaction
    envelope: Envelope
    binding: Binding
    message: Message

    @property
    def together(self) -> bool:
        return self.binding.kind is Kind.DECIDES_TOGETHER


@dataclass(frozen=True, slots=True)
class Decider:
    """Applies the facts that one service hears."""

    outbox: Outbox
    bindings: Mapping[str, Binding]

    async def apply(self, batch: Sequence[Incoming]) -> dict[UUID, Outcomes]:
        """Claim, handle and announce in one transaction; what became of each message, by its id.

        Raises:
            Exception: whatever a handler raised; then none of them has taken effect.
        """
        started = monotonic_seconds()
        outcomes: dict[UUID, Outcomes] = {}
        async with acquire(self.outbox.pool) as connection:
            async with connection.transaction():
                fresh = await inbox.claim(connection, _once(batch), self.outbox.service)
                failpoint("after_claim")
                opened: list[tuple[Transaction, Incoming]] = []
                taken: list[_Taken] = []
                for incoming in self._in_order(batch):
                    envelope = incoming.envelope
                    tx = self.outbox.open(connection, cause=envelope)
                    opened.append((tx, incoming))
                    if envelope.id in fresh:
                        fresh.discard(envelope.id)  # a second copy in the same batch is a duplicate
                        taken.append(self._taken(tx, incoming))
                        outcomes[envelope.id] = "applied"
                    outcomes.setdefault(envelope.id, "duplicate")
                stale = await self._stale(connection, taken)
                outcomes |= dict.fromkeys(stale, "stale")
                await _handle(connection, [one for one in taken if one.envelope.id not in stale])
                for tx, incoming in opened:
                    announce_resolution(tx, incoming, self.outbox.service, outcomes[incoming.envelope.id])
                whole = opened[0][0]
                for tx, _ in opened[1:]:
                    whole.take(tx)
                await whole.flush()
                failpoint("before_commit")
            failpoint("after_commit_before_ack")
        self.outbox.wake.set()
        metrics.MESSAGE_HANDLE_SECONDS.labels(type=batch[0].envelope.type).observe(monotonic_seconds() - started)
        return outcomes

    async def _stale(self, connection: Connection, taken: Sequence[_Taken]) -> set[UUID]:
        """Those whose subject is known newer than they show it. They are asked after in the order of their subjects, so
        that two batches cannot wait for each other."""
        stale: set[UUID] = set()
        for one in sorted(taken, key=lambda one: one.envelope.subject):
            snapshot = one.binding.snapshot
            if snapshot and await inbox.overtaken(connection, one.envelope, snapshot, self.outbox.service):
                stale.add(one.envelope.id)
        return stale

    def _in_order(self, batch: Sequence[Incoming]) -> Sequence[Incoming]:
        """The messages of one aggregate always keep their order.

        Handlers of single messages lock as they go: they take aggregates in the order of their keys, so that two
        batches cannot wait for each other. A handler that takes the whole batch locks in an order of its own, and first
        come is first served.
        """
        kinds = [self.bindings[i.envelope.type] for i in batch if i.envelope.type in self.bindings]
        handlers = {binding.handler for binding in kinds}
        if len(handlers) == 1 and kinds[0].kind is Kind.DECIDES_TOGETHER:
            return batch
        return sorted(batch, key=lambda incoming: incoming.envelope.partitionkey)

    def _taken(self, tx: Transaction, incoming: Incoming) -> _Taken:
        binding = self.bindings.get(incoming.envelope.type)
        if binding is None:
            raise LookupError(f"nothing here answers {incoming.envelope.type}")
        return _Taken(tx, incoming.envelope, binding, binding.model.model_validate(incoming.data))


async def _handle(connection: Connection, taken: Sequence[_Taken]) -> None:
    for run in _runs(taken):
        first = run[0]
        if first.together:
            for one in run:
                failpoint("before_handler", one.envelope.id)
            await first.binding.handler(Batch(connection, [(one.tx, one.message) for one in run]))
        else:
            with in_context_of(first.envelope):
                failpoint("before_handler", first.envelope.id)
                await first.binding.handler(first.tx, first.message)


def _runs(taken: Sequence[_Taken]) -> Iterator[list[_Taken]]:
    """Neighbours that one handler applies together; every other message stands alone."""
    for (together, _), neighbours in groupby(taken, key=lambda one: (one.together, one.binding.handler)):
        if together:
            yield list(neighbours)
        else:
            yield from ([one] for one in neighbours)


def announce_resolution(tx: Transaction, incoming: Incoming, service: str, outcome: Outcomes) -> None:
    """Say that a message which was sent again from the dead letters has been dealt with; nothing for any other."""
    replay_id = incoming.delivery.replay_id
    if replay_id is not None:
        known = "duplicate" if outcome == "stale" else outcome  # what it says was known, and more
        tx.announce(
            DeadLetterResolved(message_id=incoming.envelope.id, replay_id=replay_id, service=service, outcome=known)
        )


def _once(batch: Sequence[Incoming]) -> list[Envelope]:
    return list({incoming.envelope.id: incoming.envelope for incoming in batch}.values())
