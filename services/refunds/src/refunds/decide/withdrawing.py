"""Who takes a request back, and until when. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from payments_shared.errors import FieldError, Refused
from refunds.decide.machine import SPENT
from refunds.model.refunds import Refund, State
from refunds.model.requests import Origin, Person, Request


@dataclass(frozen=True, slots=True)
class Taker:
    """Who takes a request back, and why. `administers`: also what others asked for, after it was agreed to."""

    person: Person
    note: str
    administers: bool = False

    @property
    def cause(self) -> str:
        """What the history of its refunds says."""
        return f"withdrawn by {self.person.subject}" + (f": {self.note}" if self.note else "")


def taken_back(request: Request, refunds: Sequence[Refund], put_off: Collection[UUID], taker: Taker) -> list[Refund]:
    """The refunds that end when a request is taken back, whole: all where nobody has decided about it; where it was
    agreed to those that are alive, of which each is among `put_off` and none was ever handed to Stripe.

    Raises:
        Refused: 409 `already_decided` with the state of a refund that ended, or may be at Stripe; of what was agreed
            to also 403 `not_own_request` and 422 `note_missing`.
    """
    if _waits(refunds):
        return list(refunds)
    alive = [refund for refund in refunds if refund.state in SPENT]
    if gone := [refund.state for refund in alive or refunds if not _may_end(refund, put_off)]:
        detail = "Somebody has decided about it, and it is not put off."
        raise Refused("already_decided", detail, extra={"refund_status": gone[0]})
    _check_taker(request, taker)
    return alive


def after(request: Request, refunds: Sequence[Refund], taker: Taker) -> Request:
    """The request once it is taken back, of which `refunds` were so before. Who agreed to it stays who agreed."""
    version = request.version + 1
    if _waits(refunds):
        return replace(request, version=version, decided_by=None, decision_note=taker.note)
    return replace(request, version=version)


def _waits(refunds: Sequence[Refund]) -> bool:
    return all(refund.state is State.AWAITING_APPROVAL for refund in refunds)


def _may_end(refund: Refund, put_off: Collection[UUID]) -> bool:
    """Whether Stripe, or checkout for store credit, knows nothing of it. What Stripe refused because of a dispute was
    handed to it."""
    return refund.state is State.APPROVED and refund.id in put_off and refund.first_submitted_at is None


def _check_taker(request: Request, taker: Taker) -> None:
    own = request.origin is Origin.PERSON and request.requester.subject == taker.person.subject
    if not (own or taker.administers):
        detail = "It was agreed to: whoever asked for it takes it back, or an administrator."
        raise Refused("not_own_request", detail, status=403)
    if not taker.note.strip():
        detail = "It was agreed to: say why it is taken back."
        raise Refused("note_missing", detail, status=422, errors=[FieldError("/note", detail, "note_missing")])
