"""Staff look at what refunds come to, on the public port."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from payments_shared.auth import Verifier, require
from payments_shared.http import DIGITS, read_query
from payments_shared.http.operations import DATABASE_AWAY, Answer, Operation, Refusal, people
from payments_shared.ids import external_id
from payments_shared.postgres import unavailable_as_retryable
from refunds.handlers.reporting import Reporting
from refunds.model.patterns import Rate
from refunds.model.reports import Group, Grouping, Report, Top
from refunds.routes.shapes import CurrencyCode, Minor, OrderId, RefundId, ScoreReason, reason_shown

GROUPS: Final = 50
GROUPS_MAX: Final = 1000
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
PerThousand = Annotated[
    int | None, Field(ge=0, description="Whole, rounded down; null where there is nothing to compare.")
]


def _day(value: object) -> object:
    # Pydantic alone would also read a number of seconds.
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    raise ValueError("must be a day, such as 2026-08-26")


Day = Annotated[date, BeforeValidator(_day), Field(ge=date(2000, 1, 1), le=date(2999, 12, 31))]


class ReportQuery(BaseModel):
    """`GET /api/payments/refund-report`: whole days in UTC, both included, at most 366."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[Day | None, Field(alias="from", description="The first day; without it, thirty days.")] = None
    to: Annotated[Day | None, Field(description="The last day; without it, today.")] = None
    by: Grouping = Grouping.OPERATOR
    limit: Annotated[int, Field(ge=1, le=GROUPS_MAX), DIGITS] = GROUPS


class CurrencySum(TypedDict):
    """So much in one currency."""

    currency: CurrencyCode
    amount_minor: Minor


class TopRequest(TypedDict):
    """One of the three most suspicious requests of a group."""

    refund_id: RefundId
    order_id: OrderId
    score: int
    score_reasons: list[ScoreReason]


class Mark(TypedDict):
    """Why a group stands out: the signal, and the numbers that it is made of."""

    signal: str
    detail: dict[str, int]


class ReportGroup(TypedDict):
    """The requests that have to do with one operator, customer, product or reason. `sums` are of what was not refused
    and did not fail, of a product without shipping. `orders` were paid meanwhile: by the customer, with the product, or
    in all of the shop; `refunded_orders` are those that the requests are about. `second_person` waited for one,
    `suspicious` for their score."""

    name: str
    requests: int
    sums: list[CurrencySum]
    orders: int
    refunded_orders: int
    refunded_per_thousand: PerThousand
    second_person: int
    second_person_per_thousand: PerThousand
    suspicious: int
    rejected: int
    failed: int
    marks: list[Mark]
    top: list[TopRequest]


class RefundReport(TypedDict):
    """The groups, those that stand out first, then the largest. `more`: there are others. `orders` and
    `refunded_orders` are those of the shop; only requests of people count there."""

    first_day: Annotated[str, Field(json_schema_extra={"format": "date"})]
    last_day: Annotated[str, Field(json_schema_extra={"format": "date"})]
    by: Annotated[str, Field(json_schema_extra={"enum": [grouping.value for grouping in Grouping]})]
    orders: int
    refunded_orders: int
    refunded_per_thousand: PerThousand
    groups: list[ReportGroup]
    more: bool


REPORT: Final = Operation(
    method="GET",
    path="/api/payments/refund-report",
    id="reportRefunds",
    summary="See what refunds come to, and who or what stands out.",
    description=(
        "By operator, customer, product or reason. An operator stands out who asks for more than three times what each "
        "of his colleagues does, a customer or a product that is refunded far more often than the shop's others."
    ),
    callers=(people("admin", "operator", "approver"),),
    query=ReportQuery,
    answers=(Answer(200, "The report.", RefundReport),),
    refusals=(
        Refusal(422, "window_invalid", "it ends before it begins, or is longer than 366 days."),
        DATABASE_AWAY,
    ),
)
OPERATIONS: Final = (REPORT,)


@dataclass(frozen=True, slots=True)
class Door:
    """`/api/payments/refund-report`."""

    reporting: Reporting
    people: Verifier

    async def report(self, request: web.Request) -> web.Response:
        """The report."""
        require(request, self.people, *REPORT.roles)
        query = read_query(request, ReportQuery)
        with unavailable_as_retryable():
            found = await self.reporting.report(query.since, query.to, query.by, query.limit)
        return web.json_response(_shown(found))


def _shown(report: Report) -> RefundReport:
    return {
        "first_day": report.window.since.date().isoformat(),
        "last_day": (report.window.until - timedelta(days=1)).date().isoformat(),
        "by": report.by.value,
        "orders": report.shop.orders,
        "refunded_orders": report.shop.refunded,
        "refunded_per_thousand": _per_thousand(report.shop),
        "groups": [_group(group, [report.tops[top] for top in group.tops]) for group in report.groups],
        "more": report.more,
    }


def _group(group: Group, tops: Sequence[Top]) -> ReportGroup:
    return {
        "name": group.name,
        "requests": group.requests,
        "sums": [{"currency": code, "amount_minor": amount} for code, amount in sorted(group.sums.items())],
        "orders": group.rate.orders,
        "refunded_orders": group.rate.refunded,
        "refunded_per_thousand": _per_thousand(group.rate),
        "second_person": group.second_person,
        "second_person_per_thousand": _per_thousand(Rate(group.second_person, group.requests)),
        "suspicious": group.suspicious,
        "rejected": group.rejected,
        "failed": group.failed,
        "marks": [{"signal": mark.signal, "detail": dict(mark.detail)} for mark in group.marks],
        "top": [
            {
                "refund_id": external_id("ref", top.refund_id),
                "order_id": external_id("ord", top.order_id),
                "score": top.score,
                "score_reasons": [reason_shown(reason) for reason in top.score_reasons],
            }
            for top in tops
        ],
    }


def _per_thousand(rate: Rate) -> int | None:
    return rate.refunded * 1000 // rate.orders if rate.orders else None


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [REPORT.to(door.report)]
