"""The door to a signed-in customer's saved payment methods."""

import re
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from checkout.decide.currencies import currencies_of
from checkout.decide.methods import Shown
from checkout.handlers.methods import Methods, unknown
from checkout.handlers.saving import Form, Page, Person, Saving
from checkout.routes.ordering import Currency, OwnPath, is_email
from checkout.routes.public import PRIVATE, as_response
from checkout.routes.wishes import Country
from payments_shared import idempotency
from payments_shared.auth import Principal, Verifier, require
from payments_shared.http import read_json
from payments_shared.postgres import unavailable_as_retryable

METHODS_PATH: Final = "/api/payments/methods"
METHOD_PATH: Final = "/api/payments/methods/{method_id}"
DEFAULT_PATH: Final = "/api/payments/methods/{method_id}/default"
LABEL_MAX: Final = 60

_METHOD_ID: Final = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)


def _readable(value: str) -> str:
    if not value.isprintable() or not value.strip():
        raise ValueError("must be text that can be read")
    return value


class AddRequest(BaseModel):
    """`POST /api/payments/methods`. Currency, country and paths are for Stripe's page; a form of the shop's own has no
    use for them."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    using: Literal["page", "form"] = "page"
    currency: Currency | None = None
    country: Country | None = None
    success_path: OwnPath | None = None
    cancel_path: OwnPath | None = None


class LabelRequest(BaseModel):
    """`PATCH /api/payments/methods/{id}`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    label: Annotated[str, Field(min_length=1, max_length=LABEL_MAX), AfterValidator(_readable)]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request may leave out. `origin` is the shop's own, `path` the page there that shows saved methods."""

    origin: str
    currency: str
    path: str


@dataclass(frozen=True, slots=True)
class Door:
    """Routes for people with the role customer. A method that is not his answers 404, as one that does not exist."""

    methods: Methods
    saving: Saving
    people: Verifier
    defaults: Defaults

    async def listed(self, request: web.Request) -> web.Response:
        """What he saved, the newest first."""
        person = self._person(request)
        with unavailable_as_retryable():
            found = await self.methods.of(person.subject)
        return web.json_response({"methods": [shown(one) for one in found]}, headers=PRIVATE)

    async def add(self, request: web.Request) -> web.Response:
        """201 with the `url` of a page that saves a method, or with the `client_secret` for a form that does; the same
        answer again under the same key."""
        key_text = idempotency.parse_key(request)
        person = self._person(request)
        body = await read_json(request, AddRequest)
        key = idempotency.Key(
            f"sub:{person.subject}", METHODS_PATH, key_text, idempotency.fingerprint(body.model_dump())
        )
        email = person.email if person.email and is_email(person.email) else None
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
        person, method_id = self._person(request), _method_id(request)
        with unavailable_as_retryable():
            return web.json_response(shown(await self.methods.choose(person.subject, method_id)), headers=PRIVATE)

    async def label(self, request: web.Request) -> web.Response:
        """The method with its new label."""
        person, method_id = self._person(request), _method_id(request)
        body = await read_json(request, LabelRequest)
        with unavailable_as_retryable():
            labelled = await self.methods.label(person.subject, method_id, body.label)
        return web.json_response(shown(labelled), headers=PRIVATE)

    async def detach(self, request: web.Request) -> web.Response:
        """204 once it is gone, at Stripe as well; asking again changes nothing."""
        person, method_id = self._person(request), _method_id(request)
        with unavailable_as_retryable():
            await self.saving.detach(person.subject, method_id)
        return web.Response(status=204)

    def _person(self, request: web.Request) -> Principal:
        return require(request, self.people, "customer")


def _method_id(request: web.Request) -> str:
    method_id = request.match_info["method_id"]
    if not _METHOD_ID.fullmatch(method_id):
        raise unknown()
    return method_id


def shown(one: Shown) -> dict[str, object]:
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
        "expired": one.expired,
        "expires_soon": one.expires_soon,
        "added_at": method.added_at.astimezone(UTC).isoformat().replace("+00:00", "Z") if method.added_at else None,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        web.get(METHODS_PATH, door.listed),
        web.post(METHODS_PATH, door.add),
        web.post(DEFAULT_PATH, door.choose),
        web.patch(METHOD_PATH, door.label),
        web.delete(METHOD_PATH, door.detach),
    ]
