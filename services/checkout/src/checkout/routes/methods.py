"""The door to a signed-in customer's saved payment methods."""

import re
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from checkout.decide.currencies import currencies_of
from checkout.decide.methods import Shown
from checkout.handlers import methods as handlers
from checkout.handlers.limiting import Limiting, OwnLimiting
from checkout.handlers.saving import Form, Page, Person, Saving
from checkout.routes.counting import count, count_here
from checkout.routes.ordering import Currency, OwnPath, is_email
from checkout.routes.paging import named
from checkout.routes.public import PRIVATE, as_response
from checkout.routes.shapes import RATE_LIMITED, RATE_LIMITS, STRIPE_AWAY, STRIPE_REFUSED, TOO_MANY_CARDS, Time, Url
from checkout.routes.wishes import Country
from payments_shared import idempotency
from payments_shared.auth import Principal, Verifier, require
from payments_shared.http import read_json, read_query
from payments_shared.http.operations import (
    DATABASE_AWAY,
    IDEMPOTENCY_KEY,
    NOT_FOUND,
    REPLAYED,
    Answer,
    Body,
    Operation,
    Parameter,
    people,
)
from payments_shared.postgres import unavailable_as_retryable

LABEL_MAX: Final = 60

_METHOD_ID: Final = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
MethodId = Annotated[str, Field(pattern=f"^{_METHOD_ID.pattern}$")]


class AddRequest(BaseModel):
    """`POST /api/payments/methods`. Currency, country and paths are for Stripe's page; a form of the shop's own has no
    use for them."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    using: Literal["page", "form"] = "page"
    currency: Currency | None = None
    country: Country | None = None
    success_path: OwnPath | None = None
    cancel_path: OwnPath | None = None


class ListQuery(BaseModel):
    """`GET /api/payments/methods`."""

    model_config = ConfigDict(extra="forbid")

    currency: Annotated[Currency | None, Field(description="In which the recommended method shall pay.")] = None


class LabelRequest(BaseModel):
    """`PATCH /api/payments/methods/{id}`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    label: Annotated[str, Field(min_length=1, max_length=LABEL_MAX), AfterValidator(named)]


class Method(TypedDict):
    """A saved payment method, with nothing that could be paid with elsewhere. `type` is Stripe's word, such as card or
    sepa_debit; `recommended`, of one at most: it is the likeliest to be charged with success; `expired`: the month of
    the card is over; `expires_soon`: within sixty days."""

    id: MethodId
    type: str | None
    brand: str | None
    last4: Annotated[str, Field(max_length=4)] | None
    exp_month: Annotated[int, Field(ge=1, le=12)] | None
    exp_year: int | None
    bank_name: str | None
    wallet: Annotated[str | None, Field(description="Such as apple_pay.")]
    label: Annotated[str, Field(min_length=1, max_length=LABEL_MAX)] | None
    default: bool
    recommended: bool
    expired: bool
    expires_soon: bool
    added_at: Time | None


class Methods(TypedDict):
    """What is saved, the newest first. Exactly one is the default."""

    methods: list[Method]


class PageToSaveAt(TypedDict):
    """Where to send the customer."""

    url: Url


class FormToSaveWith(TypedDict):
    """What a form made with Stripe.js needs."""

    client_secret: str


CUSTOMERS: Final = (people("customer"),)
METHOD_ID: Final = Parameter("method_id", "path", "The method, by Stripe's id.", MethodId)
LIST: Final = Operation(
    method="GET",
    path="/api/payments/methods",
    id="listMethods",
    summary="List the saved payment methods of the signed-in customer.",
    description=(
        "The newest first, with nothing that could be paid with elsewhere. Exactly one is the default. At most one is "
        "`recommended`: what was last charged with success by one click, else the default, else what was never charged "
        "so; never what has expired, failed when it was charged last, or does not pay in `currency`."
    ),
    callers=CUSTOMERS,
    query=ListQuery,
    answers=(Answer(200, "What is saved.", Methods, headers=RATE_LIMITS),),
    refusals=(
        RATE_LIMITED,
        DATABASE_AWAY,
    ),
)
ADD: Final = Operation(
    method="POST",
    path="/api/payments/methods",
    id="addMethod",
    summary="Begin to save a payment method.",
    description=(
        "`using` page: send the customer to the `url`, a page of Stripe's. `using` form: give the `client_secret` to a "
        "form of your own made with Stripe.js, and let it confirm with `allow_redisplay` always if the method shall be "
        "offered when the customer pays. The method is listed a moment after Stripe has saved it."
    ),
    callers=CUSTOMERS,
    parameters=(IDEMPOTENCY_KEY,),
    body=Body(AddRequest, {"using": "page", "success_path": "/account/payment-methods"}),
    answers=(
        Answer(201, "Stripe waits for the customer.", PageToSaveAt | FormToSaveWith, headers=(REPLAYED, *RATE_LIMITS)),
    ),
    refusals=(STRIPE_REFUSED, RATE_LIMITED, TOO_MANY_CARDS, STRIPE_AWAY, DATABASE_AWAY),
)
LABEL: Final = Operation(
    method="PATCH",
    path="/api/payments/methods/{method_id}",
    id="labelMethod",
    summary="Name a saved payment method.",
    callers=CUSTOMERS,
    parameters=(METHOD_ID,),
    body=Body(LabelRequest, {"label": "The blue one"}),
    answers=(Answer(200, "The method with its new label.", Method, headers=RATE_LIMITS),),
    refusals=(NOT_FOUND, RATE_LIMITED, DATABASE_AWAY),
)
REMOVE: Final = Operation(
    method="DELETE",
    path="/api/payments/methods/{method_id}",
    id="removeMethod",
    summary="Take a saved payment method away.",
    description="At Stripe first, for good. Asking again gets the same answer.",
    callers=CUSTOMERS,
    parameters=(METHOD_ID,),
    answers=(Answer(204, "It is gone.", headers=RATE_LIMITS),),
    refusals=(NOT_FOUND, STRIPE_REFUSED, RATE_LIMITED, STRIPE_AWAY, DATABASE_AWAY),
)
CHOOSE: Final = Operation(
    method="POST",
    path="/api/payments/methods/{method_id}/default",
    id="chooseMethod",
    summary="Make a saved payment method the default.",
    description="Until one is chosen, and when the chosen one is gone, the oldest is the default.",
    callers=CUSTOMERS,
    parameters=(METHOD_ID,),
    answers=(Answer(200, "The method, which is the default now.", Method, headers=RATE_LIMITS),),
    refusals=(NOT_FOUND, RATE_LIMITED, DATABASE_AWAY),
)
OPERATIONS: Final = (LIST, ADD, LABEL, REMOVE, CHOOSE)


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request may leave out. `origin` is the shop's own, `path` the page there that shows saved methods."""

    origin: str
    currency: str
    path: str


@dataclass(frozen=True, slots=True)
class Door:
    """Routes for people with the role customer. A method that is not his answers 404, as one that does not exist.
    `limiting` counts what a customer begins to save; the cards that he tries there count as those that he tries to pay
    with. `changes` counts what he does with what is saved, and `reads` how often he looks."""

    methods: handlers.Methods
    saving: Saving
    people: Verifier
    defaults: Defaults
    limiting: Limiting
    changes: Limiting
    reads: OwnLimiting

    async def listed(self, request: web.Request) -> web.Response:
        """What he saved, the newest first."""
        person = self._person(request)
        query = read_query(request, ListQuery)
        count_here(request, self.reads, f"sub:{person.subject}")
        with unavailable_as_retryable():
            found = await self.methods.of(person.subject, query.currency)
        return web.json_response({"methods": [shown(one) for one in found]}, headers=PRIVATE)

    async def add(self, request: web.Request) -> web.Response:
        """201 with the `url` of a page that saves a method, or with the `client_secret` for a form that does; the same
        answer again under the same key."""
        key_text = idempotency.parse_key(request)
        person = self._person(request)
        body = await read_json(request, AddRequest)
        key = idempotency.Key(f"sub:{person.subject}", ADD.path, key_text, idempotency.fingerprint(body.model_dump()))
        email = person.email if person.email and is_email(person.email) else None
        await count(request, self.limiting, {"methods": person.subject})
        with unavailable_as_retryable():
            answer = await self.saving.add(Person(person.subject, email), self._wanted(body), key)
        response = as_response(answer, request["request_id"])
        response.headers.update(PRIVATE)
        return response

    def _wanted(self, body: AddRequest) -> Page | Form:
        if body.using == "form":
            return Form()
        given = self.defaults
        currency = currencies_of(body.currency, body.country, "", given.currency)[0]
        success, cancel = (path or given.path for path in (body.success_path, body.cancel_path))
        return Page(currency, given.origin + success, given.origin + cancel)

    async def choose(self, request: web.Request) -> web.Response:
        """The method, which is the default now."""
        person, method_id = await self._changing(request)
        with unavailable_as_retryable():
            return web.json_response(shown(await self.methods.choose(person.subject, method_id)), headers=PRIVATE)

    async def label(self, request: web.Request) -> web.Response:
        """The method with its new label."""
        person, method_id = await self._changing(request)
        body = await read_json(request, LabelRequest)
        with unavailable_as_retryable():
            labelled = await self.methods.label(person.subject, method_id, body.label)
        return web.json_response(shown(labelled), headers=PRIVATE)

    async def detach(self, request: web.Request) -> web.Response:
        """204 once it is gone, at Stripe as well; asking again changes nothing."""
        person, method_id = await self._changing(request)
        with unavailable_as_retryable():
            await self.saving.detach(person.subject, method_id)
        return web.Response(status=204)

    async def _changing(self, request: web.Request) -> tuple[Principal, str]:
        """Who changes which method, counted."""
        person, method_id = self._person(request), _method_id(request)
        await count(request, self.changes, {"changes": person.subject})
        return person, method_id

    def _person(self, request: web.Request) -> Principal:
        return require(request, self.people, *CUSTOMERS[0].roles)


def _method_id(request: web.Request) -> str:
    method_id = request.match_info["method_id"]
    if not _METHOD_ID.fullmatch(method_id):
        raise handlers.unknown()
    return method_id


def shown(one: Shown) -> Method:
    """What its owner sees of a method. An allow-list: nothing is shown because it happens to be stored."""
    method = one.saved.method
    return {
        "id": method.id,
        "type": method.type,
        "brand": method.brand,
        "last4": method.last4,
        "exp_month": method.exp_month,
        "exp_year": method.exp_year,
        "bank_name": method.bank_name,
        "wallet": method.wallet,
        "label": one.saved.label,
        "default": one.default,
        "recommended": one.recommended,
        "expired": one.expired,
        "expires_soon": one.expires_soon,
        "added_at": method.added_at.astimezone(UTC).isoformat().replace("+00:00", "Z") if method.added_at else None,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        LIST.to(door.listed),
        ADD.to(door.add),
        CHOOSE.to(door.choose),
        LABEL.to(door.label),
        REMOVE.to(door.detach),
    ]
