"""Requests, and what they are decided by."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.postgres import Connection, fetch_as
from refunds.model.bills import STORE_CREDIT, Active, Returned, Shares, Sum
from refunds.model.patterns import Reason
from refunds.model.position import Position
from refunds.model.refunds import Begun, Order, Payment, Refund, State, Step
from refunds.model.requests import Destination, Origin, Person, Request, Search
from refunds.model.rules import Standing
from refunds.store.refunds import QUERIES, typed
from refunds.store.rules import read_rules

_LINES: Final = TypeAdapter(tuple[Returned, ...])
_REASONS: Final = TypeAdapter(tuple[Reason, ...])


async def open_request(
    connection: Connection, request: Request, refunds: Sequence[Refund], history: Sequence[Begun]
) -> bool:
    """Save a new request with its refunds and the beginning of their history; False when it is known."""
    shares = request.sum.shares
    opened = await connection.fetchval(
        QUERIES["open_request"],
        [_part(refund) for refund in refunds],
        [_begun(step) for step in history],
        request.id,
        request.order_id,
        request.currency,
        request.amount_minor,
        shares.goods_minor,
        shares.tax_minor,
        shares.shipping_minor,
        request.sum.fee_minor,
        _LINES.dump_python(request.sum.lines, mode="json"),
        request.destination.value,
        request.reason,
        request.note,
        request.origin.value,
        request.requester.subject,
        request.requester.email,
        list(request.needs),
        request.score,
        _REASONS.dump_python(request.score_reasons, mode="json"),
        request.decided_by.subject if request.decided_by else None,
        request.rules_version,
    )
    return opened is not None


def _part(refund: Refund) -> Mapping[str, object]:
    return {
        "id": str(refund.id),
        "payment_intent": refund.payment_intent,
        "amount_minor": refund.amount_minor,
        "state": refund.state.value,
        "approver": refund.approver,
        "destination": refund.destination,
    }


def _begun(step: Begun) -> Mapping[str, object]:
    return {
        "refund_id": str(step.refund_id),
        "from_state": step.before and step.before.value,
        "to_state": step.after.value,
        "cause": step.cause,
        "actor": step.actor,
    }


async def load_request(connection: Connection, request_id: UUID) -> Request | None:
    """One request; its order's lock guards it."""
    row = await connection.fetchrow(QUERIES["load_request"], request_id)
    return None if row is None else _request(row)


async def decide_request(connection: Connection, request: Request) -> None:
    """Keep who decided about a request and what he noted; nobody did where it was taken back before."""
    subject, email = (person.subject, person.email) if (person := request.decided_by) else (None, None)
    await connection.execute(
        QUERIES["decide_request"], request.id, subject, email, request.decision_note, request.version
    )


async def approve_refunds(connection: Connection, request_id: UUID, approver: str) -> None:
    """Keep who agreed to the refunds of a request."""
    await connection.execute(QUERIES["approve_refunds"], request_id, approver)


async def measure_waiting(connection: Connection) -> tuple[int, float]:
    """How many requests wait for a second person, and the oldest's age in seconds; 0 when there is none."""
    row = await connection.fetchrow(QUERIES["measure_waiting"])
    assert row is not None  # noqa: S101 - an aggregate has one row
    return row["waiting"], row["oldest_seconds"]


async def refunds_of(connection: Connection, requests: Sequence[UUID]) -> dict[UUID, list[Refund]]:
    """The refunds of requests, each by its request."""
    found: dict[UUID, list[Refund]] = {request: [] for request in requests}
    for refund in await fetch_as(connection, Refund, QUERIES["refunds_of_requests"], list(requests)):
        assert refund.request_id is not None  # noqa: S101 - the column holds no null
        found[refund.request_id].append(typed(refund))
    return found


async def lock_refunds_of(connection: Connection, request_id: UUID) -> list[Refund]:
    """The refunds of a request, locked until the transaction ends. Its order is locked before."""
    found = await fetch_as(connection, Refund, QUERIES["lock_refunds_of_request"], request_id)
    return [typed(refund) for refund in found]


async def list_active(connection: Connection, order_id: UUID) -> list[Active]:
    """The requests of an order of which something is active."""
    rows = await connection.fetch(QUERIES["active_requests"], order_id)
    return [_active(row) for row in rows]


async def lock_standing(connection: Connection, order: Order, requester: Person) -> None:
    """Whoever else asks under a name of the requester, or for this buyer, waits until the transaction ends. The order
    must be locked before; what is read of the standing must be a statement after it."""
    email = (order.customer or {}).get("email") or None
    await connection.execute(QUERIES["lock_standing"], requester.subject, requester.email, email, order.account)


async def read_position(
    connection: Connection, order: Order, requester: Person, windows: tuple[timedelta, timedelta]
) -> Position:
    """What the money of an order stands at; exact only under its lock, which must be held before. The standing is that
    of the requester by all his names, and of the buyer by his mailbox and his account, each within his window."""
    email = (order.customer or {}).get("email") or ""
    currency = order.bill.currency if order.bill else ""
    row = await connection.fetchrow(
        QUERIES["read_position"],
        order.order_id,
        requester.subject,
        email,
        currency,
        *windows,
        order.account,
        requester.email,
    )
    assert row is not None  # noqa: S101 - a SELECT without FROM always returns a row
    return Position(
        payments=[Payment(order_id=order.order_id, **payment) for payment in row["payments"]],
        spent={spent["payment_intent"] or STORE_CREDIT: spent["spent_minor"] for spent in row["spent"]},
        withheld={one["payment_intent"]: one["withheld_minor"] for one in row["withheld"]},
        active=[_active(given) for given in row["given"]],
        rules=read_rules(row["rules"]) if row["rules"] else None,
        others_rules=read_rules(row["others_rules"]) if row["others_rules"] else None,
        standing=Standing(row["operator_minor"], row["customer_minor"]),
        now=row["now"],
    )


async def list_requests(connection: Connection, search: Search, limit: int) -> list[Request]:
    """A page, the newest first."""
    page = (search.after, search.origin and search.origin.value, limit)
    state = search.state and search.state.value
    if search.order_id is not None:
        narrowed: tuple[str, tuple[object, ...]] = ("_of_order", (search.order_id, state, search.requester))
    elif state is not None:
        narrowed = ("_of_state", (state, search.requester))
    elif search.requester is not None:
        narrowed = ("_of_requester", (search.requester,))
    elif search.origin is not None:
        narrowed = ("_of_origin", ())
    else:
        narrowed = ("", ())
    rows = await connection.fetch(QUERIES["list_requests" + narrowed[0]], *page, *narrowed[1])
    return [_request(row) for row in rows]


async def list_history(connection: Connection, request_id: UUID) -> list[Step]:
    """Everything that happened to the refunds of a request, in order."""
    rows = await connection.fetch(QUERIES["history"], request_id)
    return [
        Step(
            row["refund_id"],
            State(row["from_state"]) if row["from_state"] else None,
            State(row["to_state"]),
            row["cause"],
            row["actor"],
            row["at"],
        )
        for row in rows
    ]


def _active(row: Any) -> Active:  # Any: asyncpg.Record and JSON have untyped columns
    return Active(_sum(row), row["amount_minor"], row["active_minor"])


def _sum(row: Any) -> Sum:  # Any: asyncpg.Record has untyped columns
    shares = Shares(row["goods_minor"], row["tax_minor"], row["shipping_minor"])
    return Sum(shares, _LINES.validate_python(row["lines"]), row["fee_minor"])


def _request(row: Any) -> Request:  # Any: asyncpg.Record has untyped columns
    created_at: datetime = row["created_at"]
    decided_by = Person(row["decided_by"], row["decided_by_email"]) if row["decided_by"] else None
    return Request(
        id=row["id"],
        order_id=row["order_id"],
        currency=row["currency"],
        amount_minor=row["amount_minor"],
        sum=_sum(row),
        destination=Destination(row["destination"]),
        reason=row["reason"],
        note=row["note"],
        origin=Origin(row["origin"]),
        requester=Person(row["requester"], row["requester_email"]),
        needs=tuple(row["needs"]),
        score=row["score"],
        decided_by=decided_by,
        decision_note=row["decision_note"],
        rules_version=row["rules_version"],
        version=row["version"],
        created_at=created_at,
        score_reasons=_REASONS.validate_python(row["score_reasons"]),
    )
