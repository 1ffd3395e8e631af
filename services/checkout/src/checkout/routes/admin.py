"""The administrators' door, on the internal port."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, model_validator
from typing_extensions import TypedDict

from checkout.decide.importing import DESCRIPTION_MAX, IMAGE_MAX, NAME_MAX
from checkout.handlers.catalog import Catalog
from checkout.model.carts import Coupon
from checkout.model.catalog import Product
from checkout.model.orders import State
from checkout.model.risks import Decided
from checkout.routes import shapes
from checkout.routes.ordering import Currency
from checkout.routes.paging import named
from checkout.routes.public import shown
from checkout.routes.shapes import ORDER_ID
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import Time, read_json
from payments_shared.http.operations import (
    DATABASE_AWAY,
    NOT_FOUND,
    Answer,
    Body,
    Operation,
    Parameter,
    Refusal,
    people,
)
from payments_shared.ids import parse_external_id
from payments_shared.money import payable_unit
from payments_shared.postgres import unavailable_as_retryable

SKU: Final = r"^[A-Za-z0-9._-]{1,64}$"
INT_MAX: Final = 2**31 - 1


def payable(value: dict[str, int]) -> dict[str, int]:
    """Amounts by currency, all of which can be paid.

    Raises:
        ValueError: one has a part that nobody can pay.
    """
    for currency, amount in value.items():
        if amount % (unit := payable_unit(currency)):
            raise ValueError(f"{currency} is charged in multiples of {unit} minor units")
    return value


Amounts = Annotated[dict[Currency, Annotated[StrictInt, Field(gt=0, le=99_999_999)]], AfterValidator(payable)]


class ProductRequest(BaseModel):
    """`PUT /admin/products/{sku}`. With `parts`, SKUs and how many of each, it is a bundle: sold under its own price,
    held and sent in its parts. A `digital` one is not sent at all; of a bundle, its parts tell what is."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=NAME_MAX), AfterValidator(named)]
    description: Annotated[str, Field(max_length=DESCRIPTION_MAX)] = ""
    image: Annotated[str, Field(max_length=IMAGE_MAX)] = ""
    active: StrictBool = True
    tax_code: Annotated[str, Field(pattern=r"^txcd_[0-9]{8}$")] | None = None
    prices: Annotated[Amounts, Field(min_length=1)]
    parts: Annotated[
        dict[Annotated[str, Field(pattern=SKU)], Annotated[StrictInt, Field(ge=1, le=99)]], Field(max_length=20)
    ] = Field(default_factory=dict)
    digital: StrictBool = False


class CouponRequest(BaseModel):
    """`PUT /admin/coupons/{code}`: `percent_off` in whole percent, or `amounts_off` in minor units by currency.

    With `skus` something is taken off these products only. `first_order_only` is for customers who never ordered.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["percent_off"], "properties": {"percent_off": {"type": "integer"}}},
                {"required": ["amounts_off"], "properties": {"amounts_off": {"type": "object"}}},
            ]
        },
    )

    percent_off: Annotated[StrictInt, Field(ge=1, le=100)] | None = None
    amounts_off: Annotated[Amounts, Field(min_length=1)] | None = None
    minimum_minor: Amounts = Field(default_factory=dict)
    max_redemptions: Annotated[StrictInt, Field(ge=0, le=INT_MAX)] | None = None
    per_customer: Annotated[StrictInt, Field(ge=1, le=INT_MAX)] | None = None
    first_order_only: StrictBool = False
    skus: Annotated[list[Annotated[str, Field(pattern=SKU)]], Field(min_length=1, max_length=1000)] | None = None
    active: StrictBool = True
    valid_from: Time | None = None
    valid_until: Time | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "CouponRequest":
        if (self.percent_off is None) == (self.amounts_off is None):
            raise ValueError("give either percent_off or amounts_off")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> "CouponRequest":
        if self.valid_from is not None and self.valid_until is not None and self.valid_from >= self.valid_until:
            raise ValueError("valid_until is not after valid_from")
        return self


class Products(TypedDict):
    """All products."""

    products: list[Product]


class FactKnown(TypedDict):
    """Something learned about an order."""

    kind: str
    key: str


class AtStripe(TypedDict):
    """What belongs to an order at Stripe."""

    session: str | None
    payment_intent: str | None


class RiskDecided(TypedDict):
    """What a gate against fraud decided, and why."""

    at: shapes.Moment
    gate: str
    outcome: str
    reasons: list[str]
    detail: Mapping[str, Any]  # Any: jsonb


class OrderKnown(shapes.Order):
    """An order with everything learned about it. `state` tells apart what `status` shows buyers as failed."""

    held_reason: str | None
    state: State
    stripe: AtStripe
    facts: list[FactKnown]
    risk: Annotated[list[RiskDecided], Field(description="What gates against fraud decided, the first decision first.")]


READERS: Final = (people("admin", "operator", "support"),)
WRITERS: Final = (people("admin"),)
CODE: Final = Parameter("code", "path", "The coupon.")
COUPON_NOT_FOUND: Final = Refusal(404, "coupon_not_found", "there is no such coupon.")
LIST_PRODUCTS: Final = Operation(
    method="GET",
    path="/admin/products",
    id="listProducts",
    summary="List all products with their prices.",
    callers=READERS,
    answers=(Answer(200, "All of them.", Products),),
    refusals=(DATABASE_AWAY,),
)
PUT_PRODUCT: Final = Operation(
    method="PUT",
    path=r"/admin/products/{sku:[A-Za-z0-9._-]{1,64}}",
    id="putProduct",
    summary="Create or replace a product.",
    description="It gets exactly the prices given, and exactly the parts.",
    callers=WRITERS,
    parameters=(Parameter("sku", "path", "The product."),),
    body=Body(ProductRequest, {"name": "Clay mug", "prices": {"usd": 1800, "eur": 1700, "jpy": 2400}}),
    answers=(Answer(200, "The product.", Product),),
    refusals=(
        Refusal(422, "unknown_sku", "a part is no product."),
        Refusal(422, "nested_bundle", "a bundle cannot be part of a bundle."),
        DATABASE_AWAY,
    ),
)
PUT_COUPON: Final = Operation(
    method="PUT",
    path=r"/admin/coupons/{code:[A-Za-z0-9_-]{1,40}}",
    id="putCoupon",
    summary="Create or replace a coupon.",
    description="Its uses stay.",
    callers=WRITERS,
    parameters=(CODE,),
    body=Body(CouponRequest, {"percent_off": 10, "per_customer": 1}),
    answers=(Answer(200, "The coupon with its uses.", Coupon),),
    refusals=(
        Refusal(409, "code_in_use", "it stands for another coupon."),
        Refusal(409, "below_used", "more uses than `max_redemptions` are `held` and `redeemed` already."),
        DATABASE_AWAY,
    ),
)
GET_COUPON: Final = Operation(
    method="GET",
    path=r"/admin/coupons/{code:[A-Za-z0-9_-]{1,40}}",
    id="getCoupon",
    summary="See a coupon with its uses.",
    callers=READERS,
    parameters=(CODE,),
    answers=(Answer(200, "The coupon.", Coupon),),
    refusals=(COUPON_NOT_FOUND, DATABASE_AWAY),
)
GET_ORDER: Final = Operation(
    method="GET",
    path="/admin/orders/{order_id}",
    id="inspectOrder",
    summary="See an order with everything learned about it.",
    callers=READERS,
    parameters=(ORDER_ID,),
    answers=(Answer(200, "The order.", OrderKnown),),
    refusals=(NOT_FOUND, DATABASE_AWAY),
)
CATALOG: Final = (LIST_PRODUCTS, PUT_PRODUCT, PUT_COUPON, GET_COUPON)
ORDERS: Final = (GET_ORDER,)


@dataclass(frozen=True, slots=True)
class Door:
    """Admin routes; writing needs the role admin, reading also operator or support."""

    catalog: Catalog
    people: Verifier

    async def list_products(self, request: web.Request) -> web.Response:
        """All products with their prices."""
        require(request, self.people, *LIST_PRODUCTS.roles)
        with unavailable_as_retryable():
            products = await self.catalog.products()
        return web.json_response({"products": [asdict(product) for product in products]})

    async def put_product(self, request: web.Request) -> web.Response:
        """Create or replace a product."""
        require(request, self.people, *PUT_PRODUCT.roles)
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
        require(request, self.people, *PUT_COUPON.roles)
        body = await read_json(request, CouponRequest)
        code = request.match_info["code"]
        with unavailable_as_retryable():
            await self.catalog.put_coupon(_made(code, body))
            return web.json_response(_coupon(await self.catalog.coupon(code)))

    async def get_coupon(self, request: web.Request) -> web.Response:
        """A coupon with its uses."""
        require(request, self.people, *GET_COUPON.roles)
        with unavailable_as_retryable():
            return web.json_response(_coupon(await self.catalog.coupon(request.match_info["code"])))

    async def get_order(self, request: web.Request) -> web.Response:
        """An order with everything learned about it."""
        require(request, self.people, *GET_ORDER.roles)
        order_id = order_id_of(request)
        with unavailable_as_retryable():
            order = await self.catalog.order(order_id)
            if order is None:
                raise Refused("not_found", "There is no such order.", status=404)
            facts = await self.catalog.facts(order_id)
            risks = await self.catalog.risks(order_id)
        answer: OrderKnown = {
            **shown(order),
            "held_reason": order.held_reason,
            "state": order.state,
            "stripe": {"session": order.stripe_session_id, "payment_intent": order.stripe_payment_intent},
            "facts": [{"kind": type(fact).__name__, "key": fact.key} for fact in facts],
            "risk": [_risk(risk) for risk in risks],
        }
        return web.json_response(answer)


def order_id_of(request: web.Request) -> UUID:
    """The order that the path names.

    Raises:
        Refused: 404.
    """
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


def _risk(decided: Decided) -> RiskDecided:
    return {
        "at": decided.at.isoformat(),
        "gate": decided.gate,
        "outcome": decided.outcome,
        "reasons": decided.reasons,
        "detail": decided.detail,
    }


def _coupon(coupon: Coupon) -> dict[str, object]:
    times = {
        name: value.isoformat() if value else None
        for name, value in (("valid_from", coupon.valid_from), ("valid_until", coupon.valid_until))
    }
    return {**asdict(coupon), **times}


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        LIST_PRODUCTS.to(door.list_products),
        PUT_PRODUCT.to(door.put_product),
        PUT_COUPON.to(door.put_coupon),
        GET_COUPON.to(door.get_coupon),
        GET_ORDER.to(door.get_order),
    ]
