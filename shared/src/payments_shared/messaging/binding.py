"""Which handler answers which message, and how: by deciding inside a transaction, or by calling outward."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from payments_shared.contracts import stripe
from payments_shared.contracts.message import Message
from payments_shared.messaging import inbox
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.outbox import Outbox, Transaction

M = TypeVar("M", bound=Message)


class Kind(StrEnum):
    """A decision runs inside the batch's transaction; a call runs outside any."""

    DECIDES = "decides"
    CALLS = "calls"


@dataclass(frozen=True, slots=True)
class Binding:
    """One message type and the handler that answers it."""

    message_type: str
    model: type[Message]
    kind: Kind
    handler: Callable[..., Awaitable[None]]  # (Transaction | Call, the model)

    @property
    def name(self) -> str:
        return f"{self.handler.__module__}:{getattr(self.handler, '__qualname__', type(self.handler).__qualname__)}"


def on(model: type[M], handler: Callable[[Transaction, M], Awaitable[None]]) -> Binding:
    """`handler` decides about facts of type `model`, inside a transaction; it must not call outward."""
    return Binding(model.TYPE, model, Kind.DECIDES, handler)


def on_stripe(stripe_type: str, handler: Callable[[Transaction, stripe.StripeEvent], Awaitable[None]]) -> Binding:
    """`handler` decides about Stripe events of `stripe_type`, such as `payment_intent.succeeded`."""
    return Binding(stripe.message_type(stripe_type), stripe.StripeEvent, Kind.DECIDES, handler)


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
