"""Who may agree to a refund. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from payments_shared.errors import Refused
from refunds.decide import shares
from refunds.decide.identity import is_buyer, is_same
from refunds.model.bills import Tender
from refunds.model.refunds import Order, Refund, State
from refunds.model.requests import Person, Request


@dataclass(frozen=True, slots=True)
class Agreed:
    """What an approver saw and agrees to."""

    amount_minor: int
    currency: str
    version: int


def check_second(request: Request, order: Order, person: Person) -> None:
    """Let a person decide about a request of somebody else, about what somebody else bought.

    Raises:
        Refused: 403 `own_request`: he asked for it himself, or `own_order`: he is its buyer, however his name or
            address is written, and whatever role he has now.
    """
    if is_same(request.requester, person):
        raise Refused("own_request", "Somebody else must decide about it.", status=403)
    if is_buyer(order, person):
        raise Refused("own_order", "Somebody else than the buyer must decide about it.", status=403)


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


def check_fits(refunds: Sequence[Refund], tenders: Sequence[Tender]) -> None:
    """Let a request be agreed to whose refunds, which count as spent already, still fit: a dispute may have opened.

    Raises:
        Refused: 409 `amount_exceeds_refundable` with what could go back instead.
    """
    own = {refund.tender: refund.amount_minor for refund in refunds}
    without = [replace(tender, spent_minor=tender.spent_minor - own.get(tender.name, 0)) for tender in tenders]
    room = {tender.name: tender.left_minor for tender in without}
    if any(amount > room.get(name, 0) for name, amount in own.items()):
        detail = "More than is left of what was paid and is not disputed."
        raise Refused("amount_exceeds_refundable", detail, extra={"refundable": shares.refundable(without)})
