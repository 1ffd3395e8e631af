"""Messages between services: stored with the change they announce, published at least once, applied once.

The guarantees rest on four things: the outbox row commits with the change; the relay marks a row published only on
a broker's confirm of a routed message; the inbox row commits with the effect; and a delivery is acknowledged only
after that commit.
"""

from payments_shared.messaging.binding import (
    Batch,
    Binding,
    Call,
    calls,
    newest,
    on,
    on_stripe,
    together,
    together_stripe,
)
from payments_shared.messaging.connection import Broker
from payments_shared.messaging.consumer import Consumer
from payments_shared.messaging.envelope import Envelope
from payments_shared.messaging.outbox import Outbox, Relay, Transaction

__all__ = [
    "Batch",
    "Binding",
    "Broker",
    "Call",
    "Consumer",
    "Envelope",
    "Outbox",
    "Relay",
    "Transaction",
    "calls",
    "newest",
    "on",
    "on_stripe",
    "together",
    "together_stripe",
]
