"""What the state of queues, services and alerts means. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from operations.model.alerts import Alert
from operations.model.doors import DoorState
from operations.model.queues import Backlog, QueueState
from operations.model.services import ServiceState
from payments_shared.contracts.catalog import CONSUMERS

SLOW: Final = 0.05  # messages a second, below which a queue stands still: the broker's rates are averages
# As the alerts CertificateOld and SecretOld have them.
CERTIFICATE_LEFT: Final = 0.2
SECRET_OLD: Final = timedelta(days=365)
SEVERITIES: Final = ("critical", "warning")  # of alerts that are for people, the most urgent first

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


def warnings(states: Sequence[ServiceState], now: datetime) -> list[str]:
    """What of the services needs somebody, beyond that they fail, in words."""
    found = [STOPPED.get(switch, f"Somebody stopped {switch}.") for one in states for switch in one.stopped]
    if any(one.broker_blocks for one in states):
        found.append("RabbitMQ takes no messages: it runs out of disk or memory.")
    for one in states:
        away = [(queue, reason) for queue, reason in sorted(one.resting.items()) if reason != SWITCH]
        found += [f"{queue} rests until it has {reason} again." for queue, reason in away]
        found += [f"Nobody takes from {queue}." for queue in one.idle if queue not in one.resting]
        if one.stripe_away:
            found.append(f"{one.name} has stopped calling Stripe, which does not answer.")
        if one.refunds_unanswered:
            found.append(
                f"Stripe has said nothing for a quarter of an hour of refunds: {one.refunds_unanswered} of them."
            )
        found += [said for door in one.doors for said in _of_door(door, now)]
        found += [
            f"{secret} of {one.name} is in use since {made.date()}, for over a year."
            for secret, made in sorted(one.secrets_made.items())
            if now - made > SECRET_OLD
        ]
    return found


def _of_door(door: DoorState, now: datetime) -> Iterator[str]:
    if not door.shown:
        yield f"The door {door.name} cannot be reached."
    if door.begins is None or door.ends is None or door.ends - now >= CERTIFICATE_LEFT * (door.ends - door.begins):
        return
    if door.ends <= now:
        yield f"The certificate of {door.name} has ended, and nobody comes in."
    else:
        yield f"The certificate of {door.name} was not renewed: it ends on {door.ends.date()}."


def firing(alerts: Iterable[Alert]) -> list[Alert]:
    """Those of the alerts that are for people: the most urgent first, of these the oldest."""
    fire = (one for one in alerts if one.fires and one.severity in SEVERITIES)
    return sorted(fire, key=lambda one: (SEVERITIES.index(one.severity), one.since, one.name))


def runbook_address(alert: Alert) -> str | None:
    """Where a browser finds the runbook; None where the rules do not say it in full."""
    return alert.runbook if alert.runbook.startswith(("https://", "http://")) else None
