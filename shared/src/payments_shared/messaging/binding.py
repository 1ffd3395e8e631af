"""Which handler answers which message, and how: by deciding inside a transaction, or by calling outward."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Generic, TypeVar

import structlog

from payments_shared import tracing
from payments_shared.contracts import stripe
from payments_shared.contracts.message import Message
from payments_shared.messaging import inbox
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.outbox import Outbox, Transaction
from payments_shared.postgres import Connection

M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


class Kind(StrEnum):
    """A decision runs inside the batch's transaction, about one message or about many together; a call runs outside
    any."""

    DECIDES = "decides"
    DECIDES_TOGETHER = "decides together"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Binding:
    """One message type and the handler that answers it. `snapshot`: what of its subject each message shows whole."""

    message_type: str
    model: type[Message]
    kind: Kind
    handler: Callable[..., Awaitable[None]]  # (Transaction | Call, the model), or (Batch of the models)
    snapshot: str | None = None

    @property
    def name(self) -> str:
        return f"{self.handler.__module__}:{getattr(self.handler, '__qualname__', type(self.handler).__qualname__)}"


def on(model: type[M], handler: Callable[[Transaction, M], Awaitable[None]]) -> Binding:
    """`handler` decides about facts of type `model`, inside a transaction; it must not call outward."""
    return Binding(model.TYPE, model, Kind.DECIDES, handler)


def on_stripe(stripe_type: str, handler: Callable[[Transaction, stripe.StripeEvent], Awaitable[None]]) -> Binding:
    """`handler` decides about Stripe events of `stripe_type`, such as `payment_intent.succeeded`."""
    return Binding(stripe.message_type(stripe_type), stripe.StripeEvent, Kind.DECIDES, handler)


class in_context_of:  # noqa: N801 - used as a function; a generator would cost more than what it wraps
    """Trace and log what runs in a `with` block as caused by the message."""

    __slots__ = ("_fields", "_tokens", "_trace")

    def __init__(self, envelope: Envelope) -> None:
        self._trace = tracing.continued(envelope.trace)
        self._fields = {"message_id": str(envelope.id)}
        if envelope.correlationid is not None:
            self._fields["order_id"] = envelope.correlationid

    def __enter__(self) -> None:
        self._trace.__enter__()
        self._tokens = structlog.contextvars.bind_contextvars(**self._fields)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        structlog.contextvars.reset_contextvars(**self._tokens)
        self._trace.__exit__(kind, error, trace)


@dataclass(frozen=True, slots=True)
class Batch(Generic[M_co]):
    """Messages that one handler applies together, over one transaction, in the order in which they take effect.

    Each comes with a `Transaction` of its own to announce through, so that what is said names its cause; nothing may be
    awaited between two messages. A handler that fails has applied none: they come again one by one.
    """

    connection: Connection
    taken: Sequence[tuple[Transaction, M_co]]

    @property
    def messages(self) -> tuple[M_co, ...]:
        """All of them, to load what they are about."""
        return tuple(message for _, message in self.taken)

    def __iter__(self) -> Iterator[tuple[Transaction, M_co]]:
        """One after the other, each in its own trace and log context."""
        for tx, message in self.taken:
            if tx.cause is None:
                yield tx, message
            else:
                with in_context_of(tx.cause):
                    yield tx, message


def together(model: type[M], handler: Callable[[Batch[M]], Awaitable[None]]) -> Binding:
    """`handler` decides about facts of type `model`, many at once, loading and saving what they are about as one set.

    Types that are bound to the same handler come to it mixed, in their order; it must not call outward, must lock what
    it needs in an order of its own (by id), and must end as if each message had come alone.
    """
    return Binding(model.TYPE, model, Kind.DECIDES_TOGETHER, handler)


def together_stripe(stripe_type: str, handler: Callable[[Batch[stripe.StripeEvent]], Awaitable[None]]) -> Binding:
    """As `together`, for Stripe events of `stripe_type`."""
    return Binding(stripe.message_type(stripe_type), stripe.StripeEvent, Kind.DECIDES_TOGETHER, handler)


def newest(snapshot: str, binding: Binding) -> Binding:
    """`binding` for messages that each show `snapshot` of their subject as it was then, not what was added.

    One whose sequence is below that of another that took effect, of any type with the same `snapshot`, is stale: it is
    recorded and acknowledged, and its handler never sees it. Gaps are normal, and what has no sequence is never stale.
    """
    return replace(binding, snapshot=snapshot)


class AlreadyApplied(Exception):
    """A twin of the message concluded first; what this handler did outward carried the same idempotency key."""


@dataclass(slots=True)
class Call:
    """What a calling handler holds: its command, and the way into the transaction that concludes it."""

    cause: Envelope
    outbox: Outbox
    handler_name: str
    concluded: bool = False
    on_conclude: Callable[[Transaction], None] | None = None

    @contextlib.asynccontextmanager
    async def conclude(self) -> AsyncIterator[Transaction]:
        """The transaction in which the answer takes effect. It records the command as done; enter it once."""
        async with self.outbox.transaction() as tx:
            tx.cause = self.cause
            if not await inbox.claim(tx.connection, [self.cause], self.handler_name):
                raise AlreadyApplied
            if self.on_conclude is not None:
                self.on_conclude(tx)
            yield tx
        self.concluded = True


def calls(model: type[M], handler: Callable[[Call, M], Awaitable[None]]) -> Binding:
    """`handler` answers the command `model` by calling outward; it holds no transaction while it does."""
    return Binding(model.TYPE, model, Kind.CALLS, handler)
