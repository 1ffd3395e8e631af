"""Who may agree to a refund. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from payments_shared.errors import Refused
from refunds.model.refunds import Refund, State
from refunds.model.requests import Person, Request


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an approver saw and agrees to."""

    amount_minor: int
    currency: str
    version: int


def check_second(request: Request, person: Person) -> None:
    """Let a person decide about a request of somebody else.

    Raises:
        Refused: 403 `own_request`: he asked for it himself, by whatever name.
    """
    asked = request.requester
    same_mail = asked.email is not None and person.email is not None and asked.email.lower() == person.email.lower()
    if asked.subject.lower() == person.subject.lower() or same_mail:
        raise Refused("own_request", "Somebody else must decide about it.", status=403)


def check_agreed(request: Request, agreed: Agreed) -> None:
    """Let an approval be of what was seen.

    Raises:
        Refused: 409 `refund_changed`: the request is not, or no more, what the approver agreed to.
    """
    if (request.amount_minor, request.currency, request.version) != (
        agreed.amount_minor,
        agreed.currency,
        agreed.version,
    ):
        raise Refused("refund_changed", "The request is another than the one that was agreed to; look at it again.")


def check_waiting(refunds: Sequence[Refund]) -> None:
    """Let a request be decided that nobody has decided about.

    Raises:
        Refused: 409 `already_decided` with the state that it is in.
    """
    if decided := [refund.state for refund in refunds if refund.state is not State.AWAITING_APPROVAL]:
        raise Refused("already_decided", "Somebody has decided about it.", extra={"refund_status": decided[0]})
