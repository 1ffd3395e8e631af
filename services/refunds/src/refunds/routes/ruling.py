"""The administrators' door to the rules, on the internal port."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from payments_shared.auth import Verifier, require
from payments_shared.http import DIGITS, read_json, read_query
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, Refusal, people
from payments_shared.money import SUPPORTED
from payments_shared.postgres import unavailable_as_retryable
from refunds.handlers.ruling import Ruling
from refunds.model.requests import Person
from refunds.model.rules import RuleChange, Rules
from refunds.routes.shapes import Time, moment

Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$", json_schema_extra={"enum": sorted(SUPPORTED)})]
Limits = Annotated[dict[Currency, Annotated[StrictInt, Field(ge=0, le=999_999_999_999)]], Field(max_length=200)]


class RulesShown(TypedDict):
    """The rules that bind. Version 0 is what binds until somebody makes rules."""

    version: int
    per_refund: dict[str, int]
    per_operator_day: dict[str, int]
    per_customer_month: dict[str, int]
    window_days: int | None
    final_sale: list[str]
    second_person_score: int
    refund_warned_up_to: dict[str, int]


class RulesRequest(BaseModel):
    """`PUT /admin/refund-rules`: all of them; `version` is the one that was seen. Limits in minor units by currency:
    above one, and in a currency without one, a second person decides. `window_days` counts from the payment; null: for
    ever. `final_sale` are SKUs that nobody takes back. Payments up to `refund_warned_up_to` go back when a card network
    warns of them. None has a default: who leaves one out resets nothing unseen."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[StrictInt, Field(ge=0, lt=2**31 - 1)]
    reason: Annotated[str, Field(min_length=3, max_length=500, pattern=r"^[^\x00]*$")]
    per_refund: Limits
    per_operator_day: Limits
    per_customer_month: Limits
    window_days: Annotated[StrictInt, Field(ge=1, le=3650)] | None
    final_sale: Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]], Field(max_length=10_000)]
    second_person_score: Annotated[StrictInt, Field(ge=1, le=1000)]
    refund_warned_up_to: Limits


class Change(TypedDict):
    """A version of the rules: who made it, when and why, and what was before."""

    version: int
    actor: str
    reason: str
    at: Time
    rules: dict[str, Any]  # Any: rules of any release
    before: dict[str, Any] | None


class Changes(TypedDict):
    """The newest first."""

    changes: list[Change]


class ChangesQuery(BaseModel):
    """`GET /admin/refund-rules/changes`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=1000), DIGITS] = 100


GET: Final = Operation(
    method="GET",
    path="/admin/refund-rules",
    id="getRefundRules",
    summary="See the rules of refunds.",
    callers=(people("admin", "approver", "operator", "support"),),
    answers=(Answer(200, "The rules that bind.", RulesShown),),
    refusals=(DATABASE_AWAY,),
)
PUT: Final = Operation(
    method="PUT",
    path="/admin/refund-rules",
    id="putRefundRules",
    summary="Make new rules of refunds.",
    description="What was asked for before stays as it was decided.",
    callers=(people("admin"),),
    body=Body(
        RulesRequest,
        {
            "version": 0,
            "reason": "Support may give back up to 100 dollars.",
            "per_refund": {"usd": 10000},
            "per_operator_day": {"usd": 100000},
            "per_customer_month": {"usd": 50000},
            "window_days": 90,
            "final_sale": [],
            "second_person_score": 60,
            "refund_warned_up_to": {},
        },
    ),
    answers=(Answer(200, "The rules that bind from now on.", RulesShown),),
    refusals=(Refusal(409, "rules_changed", "somebody made another version meanwhile."), DATABASE_AWAY),
)
CHANGES: Final = Operation(
    method="GET",
    path="/admin/refund-rules/changes",
    id="listRefundRuleChanges",
    summary="See who changed the rules of refunds, and how.",
    callers=(people("admin", "approver", "operator"),),
    query=ChangesQuery,
    answers=(Answer(200, "The latest changes.", Changes),),
    refusals=(DATABASE_AWAY,),
)
OPERATIONS: Final = (GET, PUT, CHANGES)


@dataclass(frozen=True, slots=True)
class Door:
    """Writing needs the role admin."""

    ruling: Ruling
    people: Verifier

    async def current(self, request: web.Request) -> web.Response:
        """The rules that bind."""
        require(request, self.people, *GET.roles)
        with unavailable_as_retryable():
            return web.json_response(_shown(await self.ruling.current()))

    async def put(self, request: web.Request) -> web.Response:
        """A new version."""
        who = require(request, self.people, *PUT.roles)
        body = await read_json(request, RulesRequest)
        wanted = Rules(
            version=body.version + 1,
            per_refund=body.per_refund,
            per_operator_day=body.per_operator_day,
            per_customer_month=body.per_customer_month,
            window_days=body.window_days,
            final_sale=tuple(sorted(set(body.final_sale))),
            second_person_score=body.second_person_score,
            refund_warned_up_to=body.refund_warned_up_to,
        )
        actor = Person(who.subject, who.email)
        with unavailable_as_retryable():
            return web.json_response(_shown(await self.ruling.put(wanted, actor, body.reason)))

    async def changes(self, request: web.Request) -> web.Response:
        """The audit trail of the rules."""
        require(request, self.people, *CHANGES.roles)
        query = read_query(request, ChangesQuery)
        with unavailable_as_retryable():
            found = await self.ruling.changes(query.limit)
        return web.json_response({"changes": [_change(one) for one in found]})


def _shown(rules: Rules) -> RulesShown:
    return {
        "version": rules.version,
        "per_refund": dict(rules.per_refund),
        "per_operator_day": dict(rules.per_operator_day),
        "per_customer_month": dict(rules.per_customer_month),
        "window_days": rules.window_days,
        "final_sale": list(rules.final_sale),
        "second_person_score": rules.second_person_score,
        "refund_warned_up_to": dict(rules.refund_warned_up_to),
    }


def _change(one: RuleChange) -> Change:
    return {
        "version": one.version,
        "actor": one.actor,
        "reason": one.reason,
        "at": moment(one.at),
        "rules": dict(one.rules),
        "before": dict(one.before) if one.before is not None else None,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [GET.to(door.current), PUT.to(door.put), CHANGES.to(door.changes)]
