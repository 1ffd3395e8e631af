"""The door to a purchase without a page: a signed-in customer pays with a method that he saved."""

from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from checkout.decide.currencies import currencies_of
from checkout.model.carts import Wanted
from checkout.model.orders import OneClick, Placement
from checkout.routes import public
from checkout.routes.ordering import COUPON, LINES_MAX, CheckoutLine, Currency, OwnPath, is_email
from checkout.routes.public import PRIVATE, as_response
from checkout.routes.wishes import Country, Region, delivery_wish
from payments_shared import idempotency
from payments_shared.auth import Principal, require
from payments_shared.errors import FieldError, Refused
from payments_shared.http import read_json

ONE_CLICK_PATH: Final = "/api/payments/one-click"


class OneClickRequest(BaseModel):
    """`POST /api/payments/one-click`. Without `method_id` the default method pays; the address is the token's."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    lines: Annotated[list[CheckoutLine], Field(min_length=1, max_length=LINES_MAX)]
    coupon: Annotated[str, Field(pattern=COUPON)] | None = None
    currency: Currency | None = None
    country: Country | None = None
    region: Region | None = None
    locale: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = "en-US"
    method_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,255}$")] | None = None
    return_path: OwnPath | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """One route, beside those of `public`, which guard and count placements."""

    public: public.Door

    async def buy(self, request: web.Request) -> web.Response:
        """201 when it is paid or its money is on its way, 202 when the customer's bank asks for him; the same answer
        again under the same key."""
        key_text = idempotency.parse_key(request)
        person = require(request, self.public.people, "customer")
        body = await read_json(request, OneClickRequest)
        wanted = self._placement(body, person, request)
        owner = f"sub:{person.subject}"
        key = idempotency.Key(owner, ONE_CLICK_PATH, key_text, idempotency.fingerprint(body.model_dump()))
        token = self.public.derived("token", ONE_CLICK_PATH, owner, key_text)[:32]
        async with self.public.admission.turn():
            await self.public.count(request, owner, wanted.email)
            answer = await self.public.placing.place(wanted, key, token)
        response = as_response(answer, request["request_id"])
        response.headers.update(PRIVATE)
        return response

    def _placement(self, body: OneClickRequest, person: Principal, request: web.Request) -> Placement:
        if person.email is None or not is_email(person.email):
            raise _without_address()
        defaults = self.public.defaults
        return Placement(
            lines=tuple(Wanted(line.sku, line.quantity) for line in body.lines),
            currencies=currencies_of(
                body.currency, body.country, request.headers.get("Accept-Language", ""), defaults.currency
            ),
            coupon=body.coupon,
            email=person.email,
            customer_subject=person.subject,
            account_email=person.email,
            locale=body.locale,
            success_path=body.return_path or defaults.success_path,
            cancel_path=defaults.cancel_path,
            delivery=delivery_wish(body.country, body.region, None, None),
            address=self.public.caller_address(request),
            one_click=OneClick(body.method_id),
        )


def _without_address() -> Refused:
    detail = "The token must name an e-mail address to write to."
    return Refused("validation_failed", detail, status=422, errors=[FieldError("", detail, "missing")])


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [web.post(ONE_CLICK_PATH, door.buy)]
