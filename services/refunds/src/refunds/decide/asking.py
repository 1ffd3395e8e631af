"""A wish of a person as a request, with a refund for each tender. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from payments_shared.errors import FieldError, Refused
from payments_shared.ids import derived_id
from refunds.decide import ageing, owing, ruling, scoring, shares
from refunds.decide.identity import is_buyer
from refunds.model.bills import STORE_CREDIT, Bill, Everything, Given, Sum, Tender, Wish
from refunds.model.patterns import Charge, Patterns
from refunds.model.refunds import Order, Payment, Refund, State
from refunds.model.requests import Destination, Origin, Person, Request
from refunds.model.rules import Rules, Standing

POLICY: Final = "policy:rules-{version}"
NO_PATTERNS: Final = Patterns()
OWN_ORDER: Final = "own_order"
"""Why a second person must agree to a refund for which the buyer himself asks, whatever the rules say."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for, of which order, and why."""

    order_id: UUID
    wish: Wish
    destination: Destination
    reason: str
    note: str
    requester: Person


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the order, under its lock; `patterns` and `charges` were read before. `others_rules` are the
    newest that whoever asks did not make himself; None: he made none."""

    order: Order
    payments: Sequence[Payment]
    spent: Mapping[str, int]
    withheld: Mapping[str, int]
    given: Given
    rules: Rules
    now: datetime
    patterns: Patterns = NO_PATTERNS
    charges: Sequence[Charge] = ()
    others_rules: Rules | None = None


def bill_of(order: Order | None) -> Bill:
    """What the order cost.

    Raises:
        Refused: 404 `order_not_found`: it is unknown, or was never paid.
    """
    if order is None or order.bill is None:
        raise Refused("order_not_found", "There is no such order that was paid.", status=404)
    return order.bill


def tenders_of(
    order: Order, payments: Sequence[Payment], spent: Mapping[str, int], withheld: Mapping[str, int]
) -> list[Tender]:
    """What paid the order's bill, what of it is spent, and what disputes withhold."""
    bill = bill_of(order)
    found = [
        Tender(name, payment.captured_minor, spent.get(name, 0), withheld.get(name, 0))
        for payment in payments
        if payment.settles and (name := payment.payment_intent)
    ]
    if bill.store_credit_minor and owing.gives_credit_back(order, spent):
        found.append(Tender(STORE_CREDIT, bill.store_credit_minor, spent.get(STORE_CREDIT, 0)))
    return found


def requested(request_id: UUID, asked: Asked, known: Known, standing: Standing) -> tuple[Request, list[Refund]]:
    """The request with its refunds: approved by the rules, or waiting for a second person.

    Raises:
        Refused: as `shares.assess`, `ruling.admit` and `ageing.admit` say; 422 `no_account`: store credit needs one.
    """
    bill = bill_of(known.order)
    if asked.destination is Destination.STORE_CREDIT and known.order.account is None:
        detail = "Its buyer has no account that store credit could be kept for."
        raise Refused("no_account", detail, status=422, errors=[FieldError("/destination", detail, "no_account")])
    tenders = tenders_of(known.order, known.payments, known.spent, known.withheld)
    refundable_minor = shares.refundable(tenders)
    found = shares.assess(asked.wish, bill, known.given, refundable_minor)
    if isinstance(asked.wish, Everything) and shares.disputed(tenders):
        # All pieces for a part of their money: if the dispute is won, that would keep money for nothing.
        detail = "A dispute withholds a part of it; ask for an amount."
        raise Refused("amount_exceeds_refundable", detail, extra={"refundable": refundable_minor})
    if not found.amount_minor:
        raise Refused("nothing_refundable", "What is asked for was free.", extra={"refundable": 0})
    ruling.admit(found, bill, known.rules, known.now)
    parts = shares.apportion(found.amount_minor, tenders, bill.currency)
    if asked.destination is Destination.ORIGINAL:
        ageing.admit(known.charges, parts, known.now)
    suspicion = scoring.suspect(asked.wish, asked.reason, asked.requester, known.order, known.patterns)
    needs = _needs(asked, found, known, standing, score=suspicion.score)
    policy = None if needs else POLICY.format(version=known.rules.version)
    request = Request(
        id=request_id,
        order_id=asked.order_id,
        currency=bill.currency,
        amount_minor=found.amount_minor,
        sum=found,
        destination=asked.destination,
        reason=asked.reason,
        note=asked.note,
        origin=Origin.PERSON,
        requester=asked.requester,
        needs=needs,
        decided_by=Person(policy) if policy else None,
        rules_version=known.rules.version,
        score=suspicion.score,
        score_reasons=suspicion.reasons,
    )
    return request, [
        Refund(
            id=request_id if index == 0 else derived_id("refund-part", str(request_id), tender),
            order_id=asked.order_id,
            payment_intent=None if tender == STORE_CREDIT else tender,
            amount_minor=part,
            currency=bill.currency,
            reason=asked.reason,
            state=State.AWAITING_APPROVAL if needs else State.APPROVED,
            requester=asked.requester.subject,
            approver=policy,
            request_id=request_id,
            destination=(Destination.STORE_CREDIT if tender == STORE_CREDIT else asked.destination).value,
        )
        for index, (tender, part) in enumerate(parts.items())
    ]


def _needs(asked: Asked, found: Sum, known: Known, standing: Standing, *, score: int) -> tuple[str, ...]:
    """Why a second person must agree: by the rules, and by those of somebody else. Nobody sets the limits that spare
    himself the second person, and no rule spares the buyer."""
    bill = bill_of(known.order)
    own = (OWN_ORDER,) if is_buyer(known.order, asked.requester) else ()
    found_by = [
        reason
        for rules in (known.rules, known.others_rules or known.rules)
        for reason in (
            *ruling.second_person(found.amount_minor, bill.currency, rules, standing, score=score),
            *ruling.final_sale(asked.wish, found, bill, known.given, rules),
        )
    ]
    return tuple(dict.fromkeys((*own, *found_by)))


def status_of(refunds: Sequence[Refund]) -> State:
    """What a request has come to: its refund that is least far, or one that failed."""
    return min((refund.state for refund in refunds), key=_PROGRESS.index)


_PROGRESS: Final = (
    State.FAILED,
    State.REJECTED,
    State.CANCELED,
    State.REQUESTED,
    State.AWAITING_APPROVAL,
    State.APPROVED,
    State.SUBMITTED,
    State.REQUIRES_ACTION,
    State.PENDING,
    State.SUCCEEDED,
)
