"""The administrators' door to promotion codes, on the internal port."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StrictInt

from checkout.handlers.promoting import Promoting
from checkout.model.carts import Promotion
from checkout.routes.admin import INT_MAX, Amounts
from checkout.routes.ordering import COUPON, checked_email
from payments_shared.auth import Verifier, require
from payments_shared.http import read_json
from payments_shared.postgres import unavailable_as_retryable

CODE: Final = "{code:[A-Za-z0-9_-]{1,40}}"


class PromotionRequest(BaseModel):
    """`PUT /admin/promotion-codes/{code}`. With `email` or `customer_subject` the code is for that customer alone."""

    model_config = ConfigDict(extra="forbid")

    coupon: Annotated[str, Field(pattern=COUPON)]
    active: bool = True
    max_redemptions: Annotated[StrictInt, Field(ge=0, le=INT_MAX)] | None = None
    first_order_only: bool = False
    minimum_minor: Amounts = Field(default_factory=dict)
    email: Annotated[str, AfterValidator(checked_email)] | None = None
    customer_subject: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    valid_until: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Writing needs the role admin, reading also operator or support."""

    promoting: Promoting
    people: Verifier

    async def put(self, request: web.Request) -> web.Response:
        """Create or replace a code."""
        require(request, self.people, "admin")
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
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            return web.json_response(_shown(await self.promoting.one(request.match_info["code"])))

    async def of_coupon(self, request: web.Request) -> web.Response:
        """All codes that stand for a coupon."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            found = await self.promoting.of(request.match_info["code"])
        return web.json_response({"promotion_codes": [_shown(promotion) for promotion in found]})


def _shown(promotion: Promotion) -> dict[str, object]:
    until: datetime | None = promotion.valid_until
    return {**asdict(promotion), "valid_until": until.isoformat() if until else None}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.put(f"/admin/promotion-codes/{CODE}", door.put),
        web.get(f"/admin/promotion-codes/{CODE}", door.one),
        web.get(f"/admin/coupons/{CODE}/promotion-codes", door.of_coupon),
    ]
