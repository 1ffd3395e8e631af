"""What the state of queues and services means. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from operations.model import Backlog, QueueState, ServiceState
from payments_shared.contracts.catalog import CONSUMERS

SLOW: Final = 0.05  # messages a second, below which a queue stands still: the broker's rates are averages

SWITCH: Final = "switch"  # for which a queue rests on purpose
STOPPED: Final[Mapping[str, str]] = {
    "checkouts": "No new orders are taken: somebody stopped them.",
    "refunds": "No money goes back: somebody stopped refunds.",
    "mails": "No mails are sent: somebody stopped them.",
}


def backlogs(queues: Iterable[QueueState]) -> list[Backlog]:
    """The queues of each service that hears anything."""
    known = {queue.name: queue for queue in queues}
    return [
        Backlog(
            service=service,
            events=known.get(f"{service}.events"),
            work=known.get(f"{service}.work"),
            retrying=sum(one.ready for name, one in known.items() if name.startswith(f"{service}.retry.")),
            dead=known[f"{service}.dlq"].ready if f"{service}.dlq" in known else 0,
        )
        for service in CONSUMERS
    ]


def lag_seconds(queue: QueueState) -> float | None:
    """After how long a message that arrives now is taken, at the present pace; None where nothing is being taken of
    what waits."""
    if not queue.ready:
        return 0.0
    if queue.outgoing is None or queue.outgoing < SLOW:
        return None
    return queue.ready / queue.outgoing


def warnings(states: Sequence[ServiceState]) -> list[str]:
    """What of the services needs somebody, beyond that they fail, in words."""
    found = [STOPPED.get(switch, f"Somebody stopped {switch}.") for one in states for switch in one.stopped]
    for one in states:
        away = [(queue, reason) for queue, reason in sorted(one.resting.items()) if reason != SWITCH]
        found += [f"{queue} rests until it has {reason} again." for queue, reason in away]
        found += [f"Nobody takes from {queue}." for queue in one.idle if queue not in one.resting]
    return found
