"""A network that misbehaves on purpose: a TCP proxy, in a process of its own, in front of one server.

`FaultProxy(host, port)` stands before the server; clients connect to its `port`. Faults are set and cleared while it
runs, and each counts how often it took effect. What the connections speak (PostgreSQL, AMQP 0-9-1, HTTP/1.1, SMTP) it
hears from their first bytes. Only what is sent in the clear can be understood.
"""

from tests.faults.proxy.faults import (
    Blackhole,
    CutNew,
    Delay,
    Fault,
    Refuse,
    SwallowAnswer,
    SwallowCommit,
    SwallowConfirm,
    SwallowReceipt,
    SwallowReply,
    Throttle,
)
from tests.faults.proxy.handle import FaultProxy, Seen

__all__ = [
    "Blackhole",
    "CutNew",
    "Delay",
    "Fault",
    "FaultProxy",
    "Refuse",
    "Seen",
    "SwallowAnswer",
    "SwallowCommit",
    "SwallowConfirm",
    "SwallowReceipt",
    "SwallowReply",
    "Throttle",
]
