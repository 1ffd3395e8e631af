"""How a message goes back, how many go at once, and what its next failure means. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from operations.decide.reading import FAULT
from operations.model.letters import DeadLetter, Standing, Status
from operations.model.replays import Outcome, Told
from payments_shared.errors import Refused
from payments_shared.ids import derived_id

BATCH_MAX: Final = 200
ON_THE_WAY_MAX: Final = 200  # of one bulk in one service: a failure that takes its time must not find all of them gone
CATCH_UP_SECONDS: Final = 1.0  # what a late worker may make up for; it bounds how many go at once
JUDGED_LAST: Final = 50
FAILED_AGAIN_MAX: Final = 10  # 20 % of JUDGED_LAST


def clean_headers(headers: Mapping[str, Any], *, replay_id: UUID, dead_letter: UUID) -> dict[str, Any]:
    """Headers of a replay: none of the broker's, none of the fault's, and the mark that makes success be told."""
    dropped = ("x-", FAULT, "pay-attempt", "pay-first-failed-at", "pay-origin-", "pay-replay-")
    kept = {name: value for name, value in headers.items() if not name.startswith(dropped)}
    return kept | {"pay-replay-id": str(replay_id), "pay-replay-of": str(dead_letter)}


def wire_id(message_id: str) -> UUID:
    """The id under which a message goes back. One that never had a proper id gets the same each time."""
    try:
        return UUID(message_id)
    except ValueError:
        return derived_id("undecodable", message_id)


@dataclass(frozen=True, slots=True)
class Share:
    """How many replays a service may get now, and until when it has then been given its share."""

    messages: int
    given_until: datetime


def share(given_until: datetime | None, *, now: datetime, rate: float, at_most: int) -> Share:
    """The share of one service at `rate` a second. What was given is remembered as time, so that bulks with different
    rates add up, and a restart gives nothing twice. A service that was left alone starts with one message."""
    one = timedelta(seconds=1 / rate)
    if given_until is None or given_until < now - max(one, timedelta(seconds=CATCH_UP_SECONDS)):
        given_until = now - one
    due = (now - given_until) // one  # in whole microseconds, of which `one` is made: a rate of 30 has no exact share
    messages = max(0, min(due, at_most, BATCH_MAX))
    return Share(messages, given_until + messages * one)


def after_failure(known: Standing, failed: DeadLetter) -> Status:
    """Where a dead letter stands once its message has failed again.

    A failure of the outstanding replay opens it. That of a twin changes nothing while a replay is outstanding, and
    opens what was settled only when it happened afterwards and no replay of ours brought it.
    """
    match known.status:
        case Status.REPLAYING:
            return Status.OPEN if failed.replay_id == known.replay_id else Status.REPLAYING
        case Status.RESOLVED | Status.DISCARDED:
            anew = known.settled_at is None or failed.last_failed_at > known.settled_at
            return Status.OPEN if failed.replay_id is None and anew else known.status
        case Status.OPEN:
            return Status.OPEN


def answer(told: Outcome, before: Outcome | None) -> Outcome:
    """What a service's word on a replay says of the message; `before` is what it said the last time. It takes or
    refuses a message once: the duplicate of one that it refused is as good as refused."""
    return Outcome.REFUSED if told is Outcome.DUPLICATE and before is Outcome.REFUSED else told


def item_state(answered: Outcome) -> Literal["resolved", "refused"]:
    """What becomes of a bulk's item whose service has answered."""
    return "refused" if answered is Outcome.REFUSED else "resolved"


def last_answer(status: Status, audit: Sequence[Mapping[str, Any]]) -> Outcome | None:  # Any: column values
    """How its service answered, of a dead letter that is resolved; None for any other."""
    if status != Status.RESOLVED:
        return None
    told = [one["reason"] for one in audit if one["action"] == "resolved"]
    return Outcome(told[-1]) if told else None


def refuse_unknown(unknown: Sequence[UUID]) -> None:
    """Check that no message may take effect by an earlier replay while something else is made of it. `unknown` are
    dead letters of which nobody told how their last replay ended.

    Raises:
        Refused: 409 `outcome_unknown`.
    """
    if not unknown:
        return
    others = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    raise Refused(
        "outcome_unknown",
        f"Nobody has told how the last replay of {unknown[0]}{others} ended: it may still take effect. Wait until its "
        "service tells, replay it once more, or find out that it cannot take effect and force this.",
    )


def fails_again(latest: Sequence[Told]) -> str | None:
    """The fingerprint with which more than a fifth of a bulk's last fifty replays failed, or None. `latest` holds at
    most that many. With fewer the same number of failures counts: the first few say little."""
    failures = Counter(told.fingerprint for told in latest if told.outcome == Outcome.FAILED and told.fingerprint)
    fingerprint, times = failures.most_common(1)[0] if failures else (None, 0)
    return fingerprint if times > FAILED_AGAIN_MAX else None
