"""The administrators' door to promotion codes, on the internal port."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from typing_extensions import TypedDict

from checkout.handlers.promoting import Promoting
from checkout.model.carts import Promotion
from checkout.routes.admin import INT_MAX, READERS, WRITERS, Amounts
from checkout.routes.ordering import COUPON, Email
from payments_shared.auth import Verifier, require
from payments_shared.http import Time, read_json
from payments_shared.http.operations import DATABASE_AWAY, NOT_FOUND, Answer, Body, Operation, Parameter, Refusal
from payments_shared.postgres import unavailable_as_retryable

CODE_PATTERN: Final = "{code:[A-Za-z0-9_-]{1,40}}"


class PromotionRequest(BaseModel):
    """`PUT /admin/promotion-codes/{code}`. With `email` or `customer_subject` the code is for that customer alone.
    Of who is signed in the address of his account counts, whatever he types; a guest may use it who types `email`."""

    model_config = ConfigDict(extra="forbid")

    coupon: Annotated[str, Field(pattern=COUPON)]
    active: StrictBool = True
    max_redemptions: Annotated[StrictInt, Field(ge=0, le=INT_MAX)] | None = None
    first_order_only: StrictBool = False
    minimum_minor: Amounts = Field(default_factory=dict)
    email: Email | None = None
    customer_subject: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    valid_until: Time | None = None


class Promotions(TypedDict):
    """All codes that stand for a coupon."""

    promotion_codes: list[Promotion]


PUT: Final = Operation(
    method="PUT",
    path=f"/admin/promotion-codes/{CODE_PATTERN}",
    id="putPromotionCode",
    summary="Create or replace a code that stands for a coupon.",
    description="Its uses stay.",
    callers=WRITERS,
    parameters=(Parameter("code", "path", "The promotion code."),),
    body=Body(PromotionRequest, {"coupon": "WELCOME10", "max_redemptions": 100}),
    answers=(Answer(200, "The code with its uses.", Promotion),),
    refusals=(
        Refusal(422, "coupon_not_found", "there is no such coupon."),
        Refusal(409, "code_in_use", "it is the code of a coupon, or stands for another one."),
        DATABASE_AWAY,
    ),
)
GET: Final = Operation(
    method="GET",
    path=f"/admin/promotion-codes/{CODE_PATTERN}",
    id="getPromotionCode",
    summary="See a promotion code with its uses.",
    callers=READERS,
    parameters=(Parameter("code", "path", "The promotion code."),),
    answers=(Answer(200, "The code.", Promotion),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
OF_COUPON: Final = Operation(
    method="GET",
    path=f"/admin/coupons/{CODE_PATTERN}/promotion-codes",
    id="listPromotionCodes",
    summary="List the codes that stand for a coupon.",
    callers=READERS,
    parameters=(Parameter("code", "path", "The coupon."),),
    answers=(Answer(200, "All of them.", Promotions),),
    refusals=(Refusal(404, "coupon_not_found", "there is no such coupon."), DATABASE_AWAY),
)
OPERATIONS: Final = (PUT, GET, OF_COUPON)


@dataclass(frozen=True, slots=True)
class Door:
    """Writing needs the role admin, reading also operator or support."""

    promoting: Promoting
    people: Verifier

    async def put(self, request: web.Request) -> web.Response:
        """Create or replace a code."""
        require(request, self.people, *PUT.roles)
        body = await read_json(request, PromotionRequest)
        promotion = Promotion(
            code=request.match_info["code"],
            coupon=body.coupon,
            active=body.active,
            max_redemptions=body.max_redemptions,
            first_order_only=body.first_order_only,
            minimums=body.minimum_minor,
            email=body.email.lower() if body.email else None,
            customer_subject=body.customer_subject,
            valid_until=body.valid_until,
        )
        with unavailable_as_retryable():
            return web.json_response(_shown(await self.promoting.put(promotion)))

    async def one(self, request: web.Request) -> web.Response:
        """A code with its uses."""
        require(request, self.people, *GET.roles)
        with unavailable_as_retryable():
            return web.json_response(_shown(await self.promoting.one(request.match_info["code"])))

    async def of_coupon(self, request: web.Request) -> web.Response:
        """All codes that stand for a coupon."""
        require(request, self.people, *OF_COUPON.roles)
        with unavailable_as_retryable():
            found = await self.promoting.of(request.match_info["code"])
        return web.json_response({"promotion_codes": [_shown(promotion) for promotion in found]})


def _shown(promotion: Promotion) -> dict[str, object]:
    until: datetime | None = promotion.valid_until
    return {**asdict(promotion), "valid_until": until.isoformat() if until else None}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        PUT.to(door.put),
        GET.to(door.one),
        OF_COUPON.to(door.of_coupon),
    ]
