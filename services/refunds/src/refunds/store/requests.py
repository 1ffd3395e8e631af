"""Requests, and the standing of who makes them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter

from payments_shared.postgres import Connection, fetch_as
from refunds.model.bills import Active, Returned, Shares, Sum
from refunds.model.refunds import Refund, State, Step
from refunds.model.requests import Destination, Origin, Person, Request, Search
from refunds.model.rules import Standing
from refunds.store.refunds import QUERIES, typed

_LINES: Final = TypeAdapter(tuple[Returned, ...])


async def insert_request(connection: Connection, request: Request) -> bool:
    """Save a new request; False when it is known."""
    shares = request.sum.shares
    row = await connection.fetchrow(
        QUERIES["insert_request"],
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
        request.decided_by.subject if request.decided_by else None,
        request.rules_version,
    )
    return row is not None


async def load_request(connection: Connection, request_id: UUID) -> Request | None:
    """One request; its order's lock guards it."""
    row = await connection.fetchrow(QUERIES["load_request"], request_id)
    return None if row is None else _request(row)


async def decide_request(connection: Connection, request: Request) -> None:
    """Keep who decided about a request."""
    person = request.decided_by
    assert person is not None  # noqa: S101 - somebody has just decided
    await connection.execute(
        QUERIES["decide_request"], request.id, person.subject, person.email, request.decision_note, request.version
    )


async def approve_refunds(connection: Connection, request_id: UUID, approver: str) -> None:
    """Keep who agreed to the refunds of a request."""
    await connection.execute(QUERIES["approve_refunds"], request_id, approver)


async def refunds_of(connection: Connection, requests: Sequence[UUID]) -> dict[UUID, list[Refund]]:
    """The refunds of requests, each by its request."""
    found: dict[UUID, list[Refund]] = {request: [] for request in requests}
    for refund in await fetch_as(connection, Refund, QUERIES["refunds_of_requests"], list(requests)):
        assert refund.request_id is not None  # noqa: S101 - the column holds no null
        found[refund.request_id].append(typed(refund))
    return found


async def list_active(connection: Connection, order_id: UUID) -> list[Active]:
    """The requests of an order of which something is active."""
    rows = await connection.fetch(QUERIES["active_requests"], order_id)
    return [Active(_sum(row), row["amount_minor"], row["active_minor"]) for row in rows]


async def load_standing(
    connection: Connection, names: tuple[str, str], currency: str, windows: tuple[timedelta, timedelta]
) -> Standing:
    """What went before a request: of its requester, and for its buyer by his address, each within his window."""
    row = await connection.fetchrow(QUERIES["standing"], *names, currency, *windows)
    assert row is not None  # noqa: S101 - a SELECT without FROM always returns a row
    return Standing(row["operator_minor"], row["customer_minor"])


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
            row["at"],
        )
        for row in rows
    ]


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
    )
