"""Each line of a log names what it is about: the order as it is called outside, message, request and trace."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest

from payments_shared.ids import external_id, new_id

PROGRAM: Final = """
import sys
from datetime import UTC, datetime
from uuid import UUID
import structlog
from payments_shared import tracing
from payments_shared.logs import about_order, configure_logging, current_request
from payments_shared.messaging.binding import in_context_of
from payments_shared.messaging.envelope import Envelope

message, order = UUID(sys.argv[1]), UUID(sys.argv[2])
configure_logging("checkout")
log = structlog.get_logger("a")
envelope = Envelope(message, "payments/checkout", "order.paid.v1", "s", datetime.now(UTC), "k", correlationid=sys.argv[3])
with in_context_of(envelope):
    log.info("message")
with in_context_of(envelope._replace(correlationid=None)):
    log.info("message.without")
with tracing.continued("00-" + "a" * 32 + "-" + "b" * 16 + "-01"):
    token = current_request.set({"request_id": "req-12345678"})
    log.info("request.before")
    about_order(order)
    log.info("request.after")
    log.info("request.other", order_id=UUID(int=1))
    current_request.reset(token)
about_order(order)
log.info("outside")
log.info("named", order_id=order)
"""


@pytest.fixture(scope="module")
def told() -> tuple[str, str, dict[str, dict[str, Any]]]:
    """A message's id, an order's, and the lines by their events."""
    message, order = new_id(), new_id()
    command = [sys.executable, "-c", PROGRAM, str(message), str(order), external_id("ord", order)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return str(message), external_id("ord", order), {line["event"]: line for line in lines}


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ("message", {"message_id", "order_id", "trace_id"}),
        ("message.without", {"message_id", "trace_id"}),
        ("request.before", {"request_id", "trace_id"}),
        ("request.after", {"request_id", "trace_id", "order_id"}),
        ("request.other", {"request_id", "trace_id", "order_id"}),
        ("outside", set()),
        ("named", {"order_id"}),
    ],
)
def test_a_line_names_what_there_is_and_nothing_else(
    told: tuple[str, str, dict[str, dict[str, Any]]], event: str, named: set[str]
) -> None:
    message, order, lines = told
    line = lines[event]

    assert {name for name in line if name.endswith("_id")} == named
    wanted = {"message_id": message, "order_id": order, "request_id": "req-12345678", "trace_id": "a" * 32}
    if event == "request.other":
        wanted["order_id"] = "ord_" + "0" * 31 + "1"  # what the line itself says goes before what it is written in
    if event.startswith("message"):
        wanted["trace_id"] = message.replace("-", "")
    assert all(line[name] == wanted[name] for name in named)
