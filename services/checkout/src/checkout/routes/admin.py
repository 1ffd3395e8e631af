"""The administrators' door, on the internal port."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, model_validator

from checkout.decide.importing import DESCRIPTION_MAX, IMAGE_MAX, NAME_MAX
from checkout.handlers.catalog import Catalog
from checkout.handlers.facts import Facts
from checkout.model.carts import Coupon
from checkout.model.catalog import Product
from checkout.routes.public import shown
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.ids import parse_external_id
from payments_shared.messaging import Outbox
from payments_shared.money import SUPPORTED
from payments_shared.postgres import unavailable_as_retryable

SKU: Final = r"^[A-Za-z0-9._-]{1,64}$"
INT_MAX: Final = 2**31 - 1


def _amounts(value: dict[str, int]) -> dict[str, int]:
    if unknown := sorted(value.keys() - SUPPORTED):
        raise ValueError(f"unsupported currency {unknown[0]}")
    return value


Amounts = Annotated[dict[str, Annotated[StrictInt, Field(gt=0, le=99_999_999)]], AfterValidator(_amounts)]


class ProductRequest(BaseModel):
    """`PUT /admin/products/{sku}`. With `parts`, SKUs and how many of each, it is a bundle: sold under its own price,
    held and sent in its parts. A `digital` one is not sent at all."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
    description: Annotated[str, Field(max_length=DESCRIPTION_MAX)] = ""
    image: Annotated[str, Field(max_length=IMAGE_MAX)] = ""
    active: bool = True
    tax_code: Annotated[str, Field(pattern=r"^txcd_[0-9]{8}$")] | None = None
    prices: Annotated[Amounts, Field(min_length=1)]
    parts: Annotated[
        dict[Annotated[str, Field(pattern=SKU)], Annotated[StrictInt, Field(ge=1, le=99)]], Field(max_length=20)
    ] = Field(default_factory=dict)
    digital: bool = False


class CouponRequest(BaseModel):
    """`PUT /admin/coupons/{code}`: `percent_off` in whole percent, or `amounts_off` in minor units by currency.

    With `skus` something is taken off these products only. `first_order_only` is for customers who never ordered.
    """

    model_config = ConfigDict(extra="forbid")

    percent_off: Annotated[StrictInt, Field(ge=1, le=100)] | None = None
    amounts_off: Annotated[Amounts, Field(min_length=1)] | None = None
    minimum_minor: Amounts = Field(default_factory=dict)
    max_redemptions: Annotated[StrictInt, Field(ge=0, le=INT_MAX)] | None = None
    per_customer: Annotated[StrictInt, Field(ge=1, le=INT_MAX)] | None = None
    first_order_only: bool = False
    skus: Annotated[list[Annotated[str, Field(pattern=SKU)]], Field(min_length=1, max_length=1000)] | None = None
    active: bool = True
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "CouponRequest":
        if (self.percent_off is None) == (self.amounts_off is None):
            raise ValueError("give either percent_off or amounts_off")
        return self


@dataclass(frozen=True, slots=True)
class Door:
    """Admin routes; writing needs the role admin, reading also operator or support."""

    catalog: Catalog
    facts: Facts
    outbox: Outbox
    people: Verifier

    async def list_products(self, request: web.Request) -> web.Response:
        """All products with their prices."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            products = await self.catalog.products()
        return web.json_response({"products": [asdict(product) for product in products]})

    async def put_product(self, request: web.Request) -> web.Response:
        """Create or replace a product."""
        require(request, self.people, "admin")
        body = await read_json(request, ProductRequest)
        product = Product(
            request.match_info["sku"],
            body.name,
            body.description,
            body.image,
            body.active,
            body.tax_code,
            body.prices,
            body.parts,
            body.digital,
        )
        with unavailable_as_retryable():
            await self.catalog.put_product(product)
        return web.json_response(asdict(product))

    async def put_coupon(self, request: web.Request) -> web.Response:
        """Create or replace a coupon."""
        require(request, self.people, "admin")
        body = await read_json(request, CouponRequest)
        code = request.match_info["code"]
        with unavailable_as_retryable():
            await self.catalog.put_coupon(_made(code, body))
            return web.json_response(_coupon(await self.catalog.coupon(code)))

    async def get_coupon(self, request: web.Request) -> web.Response:
        """A coupon with its uses."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            return web.json_response(_coupon(await self.catalog.coupon(request.match_info["code"])))

    async def get_order(self, request: web.Request) -> web.Response:
        """An order with everything learned about it."""
        require(request, self.people, "admin", "operator", "support")
        order_id = _order_id(request)
        with unavailable_as_retryable():
            order = await self.catalog.order(order_id)
            if order is None:
                raise Refused("not_found", "There is no such order.", status=404)
            facts = await self.catalog.facts(order_id)
            risks = await self.catalog.risks(order_id)
        rows = [{"kind": type(fact).__name__, "key": fact.key} for fact in facts]
        stripe = {"session": order.stripe_session_id, "payment_intent": order.stripe_payment_intent}
        decided = [{**asdict(risk), "at": risk.at.isoformat()} for risk in risks]
        held = {"held_reason": order.held_reason}
        return web.json_response(
            {**shown(order), **held, "state": order.state.value, "stripe": stripe, "facts": rows, "risk": decided}
        )

    async def release_order(self, request: web.Request) -> web.Response:
        """Let a held order go on, as a person's decision. `held_reason` is what holds it still."""
        person = require(request, self.people, "admin")
        order_id = _order_id(request)
        with unavailable_as_retryable():
            async with self.outbox.transaction() as tx:
                order = await self.facts.release(tx, order_id, person.subject)
        return web.json_response({"released": True, "held_reason": order.held_reason})


def _order_id(request: web.Request) -> UUID:
    try:
        return parse_external_id("ord", request.match_info["order_id"])
    except ValueError:
        raise Refused("not_found", "There is no such order.", status=404) from None


def _made(code: str, body: CouponRequest) -> Coupon:
    return Coupon(
        code=code,
        percent_basis_points=body.percent_off * 100 if body.percent_off is not None else None,
        amounts_off=body.amounts_off,
        minimums=body.minimum_minor,
        max_redemptions=body.max_redemptions,
        per_customer=body.per_customer,
        first_order_only=body.first_order_only,
        skus=sorted(set(body.skus)) if body.skus else None,
        active=body.active,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
    )


def _coupon(coupon: Coupon) -> dict[str, object]:
    times = {
        name: value.isoformat() if value else None
        for name, value in (("valid_from", coupon.valid_from), ("valid_until", coupon.valid_until))
    }
    return {**asdict(coupon), **times}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.get("/admin/products", door.list_products),
        web.put(r"/admin/products/{sku:[A-Za-z0-9._-]{1,64}}", door.put_product),
        web.put(r"/admin/coupons/{code:[A-Za-z0-9_-]{1,40}}", door.put_coupon),
        web.get(r"/admin/coupons/{code:[A-Za-z0-9_-]{1,40}}", door.get_coupon),
        web.get("/admin/orders/{order_id}", door.get_order),
        web.post("/admin/orders/{order_id}/release", door.release_order),
    ]
