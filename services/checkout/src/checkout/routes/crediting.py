"""The doors to store credit: what a customer has, and what staff give him."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from checkout.handlers.crediting import Crediting
from checkout.handlers.crediting import Statement as Found
from checkout.handlers.limiting import OwnLimiting
from checkout.model.credit import Balance, CreditSource, EntryShown, Grant
from checkout.routes import shapes
from checkout.routes.admin import READERS, WRITERS, payable
from checkout.routes.counting import count_here
from checkout.routes.ordering import Currency
from checkout.routes.public import PRIVATE
from checkout.routes.shapes import CurrencyCode, Minor, OrderId
from payments_shared.auth import Verifier, require
from payments_shared.errors import FieldError, Refused
from payments_shared.http import DIGITS, read_json, read_query
from payments_shared.http import Time as GivenTime
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, Refusal, people
from payments_shared.ids import external_id, new_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable

PAGE: Final = 20
PAGE_MAX: Final = 100
AMOUNT_MAX: Final = 99_999_999

EntryId = Annotated[str, Field(pattern=r"^cre_[0-9a-f]{32}$")]
GrantId = Annotated[str, Field(pattern=r"^crg_[0-9a-f]{32}$")]
Subject = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
Cursor = Annotated[EntryId | None, Field(description="The `next_cursor` of the page before.")]


class StatementQuery(BaseModel):
    """`GET /api/payments/store-credit`."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_MAX), DIGITS] = PAGE
    cursor: Cursor = None


class CustomerQuery(StatementQuery):
    """`GET /admin/store-credits`."""

    customer: Annotated[Subject, Field(description="The subject of his token.")]


class GrantRequest(BaseModel):
    """`POST /admin/store-credits`. `reference` is the giver's own name of it: under the same one nothing more is given.
    `note` is for staff alone."""

    model_config = ConfigDict(extra="forbid")

    customer: Annotated[Subject, Field(description="The subject of his token.")]
    currency: Currency
    amount_minor: Annotated[StrictInt, Field(gt=0, le=AMOUNT_MAX)]
    reference: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,100}$")]
    expires_at: GivenTime | None = None
    note: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""


class BalanceShown(TypedDict):
    """Credit in one currency: what may be used, and what open orders keep. `expiring_minor` of what may be used is lost
    at `expires_at`, if anything ever is."""

    currency: CurrencyCode
    available_minor: Minor
    reserved_minor: Minor
    expiring_minor: Minor | None
    expires_at: shapes.Time | None


class Entry(TypedDict):
    """A line of a statement. What may be used grows by what is `granted` and `released`, and falls by what is
    `reserved` or has `expired`; what is `spent` was reserved before."""

    id: EntryId
    kind: Annotated[str, Field(json_schema_extra={"enum": ["granted", "reserved", "spent", "released", "expired"]})]
    currency: CurrencyCode
    amount_minor: Minor
    grant_id: GrantId
    source: Annotated[str, Field(json_schema_extra={"enum": ["admin", "refund"]})]
    order_id: OrderId | None
    at: shapes.Time


class Statement(TypedDict):
    """A customer's credit. `next_cursor` is null on the last page."""

    balances: list[BalanceShown]
    entries: list[Entry]
    next_cursor: EntryId | None


class GrantShown(TypedDict):
    """Credit that a customer was given, and what has become of it."""

    id: GrantId
    customer: str
    currency: CurrencyCode
    amount_minor: Minor
    reserved_minor: Minor
    spent_minor: Minor
    expired_minor: Minor
    expires_at: shapes.Time | None
    source: Annotated[str, Field(json_schema_extra={"enum": ["admin", "refund"]})]
    reference: str
    note: str
    granted_by: str
    created_at: shapes.Time


class CustomerCredit(Statement):
    """As staff see it, with the latest hundred grants."""

    customer: str
    grants: list[GrantShown]


SHOW: Final = Operation(
    method="GET",
    path="/api/payments/store-credit",
    id="getStoreCredit",
    summary="See the store credit of the signed-in customer.",
    description=(
        "Balances by currency, and the statement, its newest line first. Orders use it with `use_store_credit`: what "
        "expires soonest first."
    ),
    callers=(people("customer"),),
    query=StatementQuery,
    answers=(Answer(200, "Balances and a page of the statement.", Statement, headers=shapes.RATE_LIMITS),),
    refusals=(
        shapes.RATE_LIMITED,
        DATABASE_AWAY,
    ),
)
GRANT: Final = Operation(
    method="POST",
    path="/admin/store-credits",
    id="grantStoreCredit",
    summary="Give a customer store credit.",
    description=(
        "The same `reference` with the same content gives nothing more, and gets the grant as it is by then. There are "
        "limits by currency for one grant (`PAYMENTS_CREDIT_PER_GRANT`) and for what its giver gave within twenty-four "
        "hours (`PAYMENTS_CREDIT_PER_ADMIN_DAY`); in a currency without them nothing is given."
    ),
    callers=WRITERS,
    body=Body(
        GrantRequest,
        {"customer": "customer-1", "currency": "usd", "amount_minor": 2500, "reference": "ticket-4711"},
    ),
    answers=(
        Answer(201, "It was given.", GrantShown),
        Answer(200, "It was given before.", GrantShown),
    ),
    refusals=(
        Refusal(403, "own_account", "somebody else must give it than whose account it is."),
        Refusal(403, "over_grant_limit", "it is more than one grant may be, `limit_minor`."),
        Refusal(
            403,
            "over_daily_limit",
            "with `given_minor`, which its giver gave within a day in its currency, it is more than `limit_minor`.",
        ),
        Refusal(409, "reference_in_use", "something else was given under it."),
        Refusal(422, "expires_in_the_past", "nobody could ever use it."),
        Refusal(422, "not_payable", "nobody can pay parts of its currency that small."),
        DATABASE_AWAY,
    ),
)
INSPECT: Final = Operation(
    method="GET",
    path="/admin/store-credits",
    id="inspectStoreCredit",
    summary="See a customer's store credit, and who gave it.",
    callers=READERS,
    query=CustomerQuery,
    answers=(Answer(200, "Balances, grants, and a page of the statement.", CustomerCredit),),
    refusals=(DATABASE_AWAY,),
)
OF_STAFF: Final = (GRANT, INSPECT)


@dataclass(frozen=True, slots=True)
class Door:
    """One public route, whose `reads` are counted, and those of staff on the internal port."""

    crediting: Crediting
    people: Verifier
    reads: OwnLimiting

    async def show(self, request: web.Request) -> web.Response:
        """The signed-in customer's balances, and a page of his statement."""
        person = require(request, self.people, *SHOW.roles)
        page = read_query(request, StatementQuery)
        count_here(request, self.reads, f"sub:{person.subject}")
        return web.json_response(_statement(await self._found(person.subject, page)), headers=PRIVATE)

    async def grant(self, request: web.Request) -> web.Response:
        """Give credit; 200 where it was given before."""
        person = require(request, self.people, *GRANT.roles)
        body = await read_json(request, GrantRequest)
        with unavailable_as_retryable():
            granted, is_new = await self.crediting.grant(_asked(body, person.subject), person.email)
        return web.json_response(_grant(granted), status=201 if is_new else 200)

    async def inspect(self, request: web.Request) -> web.Response:
        """A customer's credit."""
        require(request, self.people, *INSPECT.roles)
        page = read_query(request, CustomerQuery)
        found = await self._found(page.customer, page)
        with unavailable_as_retryable():
            grants = await self.crediting.grants(page.customer)
        body: CustomerCredit = {
            "customer": page.customer,
            "grants": [_grant(grant) for grant in grants],
            **_statement(found),
        }
        return web.json_response(body)

    async def _found(self, subject: str, page: StatementQuery) -> Found:
        after = parse_external_id("cre", page.cursor) if page.cursor else None
        with unavailable_as_retryable():
            return await self.crediting.statement(subject, after=after, limit=page.limit)


def _asked(body: GrantRequest, actor: str) -> Grant:
    try:
        payable({body.currency: body.amount_minor})
    except ValueError as error:
        errors = [FieldError("/amount_minor", str(error), "not_payable")]
        raise Refused("not_payable", str(error), status=422, errors=errors) from None
    return Grant(
        id=new_id(),
        customer_subject=body.customer,
        currency=body.currency,
        amount_minor=body.amount_minor,
        expires_at=body.expires_at,
        source=CreditSource.ADMIN,
        reference=body.reference,
        note=body.note,
        granted_by=actor,
        created_at=datetime.min.replace(tzinfo=UTC),  # the business clock says when
    )


def _statement(found: Found) -> Statement:
    return {
        "balances": [_balance(balance) for balance in found.balances],
        "entries": [_entry(entry) for entry in found.entries],
        "next_cursor": external_id("cre", found.entries[-1].id) if found.more else None,
    }


def _balance(balance: Balance) -> BalanceShown:
    return {
        "currency": balance.currency,
        "available_minor": balance.available_minor,
        "reserved_minor": balance.reserved_minor,
        "expiring_minor": balance.expiring_minor,
        "expires_at": _time(balance.expires_at) if balance.expires_at else None,
    }


def _entry(entry: EntryShown) -> Entry:
    return {
        "id": external_id("cre", entry.id),
        "kind": entry.kind,
        "currency": entry.currency,
        "amount_minor": entry.amount_minor,
        "grant_id": external_id("crg", entry.grant_id),
        "source": entry.source,
        "order_id": external_id("ord", entry.order_id) if entry.order_id else None,
        "at": _time(entry.at),
    }


def _grant(grant: Grant) -> GrantShown:
    return {
        "id": external_id("crg", grant.id),
        "customer": grant.customer_subject,
        "currency": grant.currency,
        "amount_minor": grant.amount_minor,
        "reserved_minor": grant.reserved_minor,
        "spent_minor": grant.spent_minor,
        "expired_minor": grant.expired_minor,
        "expires_at": _time(grant.expires_at) if grant.expires_at else None,
        "source": grant.source.value,
        "reference": grant.reference,
        "note": grant.note,
        "granted_by": grant.granted_by,
        "created_at": _time(grant.created_at),
    }


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def routes(door: Door) -> Sequence[web.RouteDef]:
    """Routes of the public port."""
    return [SHOW.to(door.show)]


def staff_routes(door: Door) -> Sequence[web.RouteDef]:
    """Routes of the internal port."""
    return [GRANT.to(door.grant), INSPECT.to(door.inspect)]
