"""Coupons, products and prices."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from aiohttp import web

from sandbox.stripe import params
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources.lists import Given, Row, page
from sandbox.stripe.store import Json, new_id

COUPON: Final = (
    "id", "amount_off", "percent_off", "currency", "duration", "max_redemptions", "name", "metadata",
)  # fmt: skip
PRICE: Final = ("currency", "unit_amount", "product", "product_data", "recurring", "metadata", "nickname")
COUPON_NAME_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is sold, and for how much less."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "coupons", self.create_coupon),
            ("GET", "coupons/{id}", self.coupon),
            ("DELETE", "coupons/{id}", self.delete_coupon),
            ("POST", "products", self.create_product),
            ("GET", "products/{id}", self.product),
            ("POST", "products/{id}", self.update_product),
            ("DELETE", "products/{id}", self.delete_product),
            ("POST", "prices", self.create_price),
            ("GET", "prices", self.prices),
            ("GET", "prices/{id}", self.price),
            ("POST", "prices/{id}", self.update_price),
        ]

    # -- coupons -----------------------------------------------------------------------------------------------------

    def create_coupon(self, _: web.Request, given: Given) -> Json:
        params.only(given, COUPON)
        coupon_id = given.get("id") or new_id("cpn", 8)[4:]
        if self.machine.store.find("coupon", coupon_id):
            raise invalid(f"Coupon already exists: {coupon_id}", param="id", code="resource_already_exists")
        if ("amount_off" in given) == ("percent_off" in given):
            raise invalid("You must pass either percent_off or amount_off, and not both.", param="percent_off")
        if "amount_off" in given and "currency" not in given:
            raise missing_param("currency")
        if len(given.get("name", "")) > COUPON_NAME_MAX:
            raise invalid(f"Invalid string: must be at most {COUPON_NAME_MAX} characters", param="name")
        value: Json = {
            "id": coupon_id,
            "object": "coupon",
            "amount_off": _amount(given, "amount_off"),
            "created": self.machine.store.now(),
            "currency": given.get("currency"),
            "duration": given.get("duration", "once"),
            "duration_in_months": None,
            "livemode": False,
            "max_redemptions": _amount(given, "max_redemptions"),
            "metadata": params.texts(given, "metadata"),
            "name": given.get("name"),
            "percent_off": _percent(given["percent_off"]) if "percent_off" in given else None,
            "redeem_by": None,
            "times_redeemed": 0,
            "valid": True,
        }
        self.machine.store.put("coupon", value)
        self.machine.emit("coupon.created", value)
        return value

    def coupon(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("coupon", request.match_info["id"])

    def delete_coupon(self, request: web.Request, given: Given) -> Json:
        return self._delete("coupon", self.coupon(request, given))

    # -- products ----------------------------------------------------------------------------------------------------

    def create_product(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("name", "description", "metadata", "default_price_data", "active", "id"))
        if "name" not in given:
            raise missing_param("name")
        value: Json = {
            "id": given.get("id") or new_id("prod", 14),
            "object": "product",
            "active": True,
            "created": self.machine.store.now(),
            "default_price": None,
            "description": given.get("description"),
            "images": [],
            "livemode": False,
            "marketing_features": [],
            "metadata": params.texts(given, "metadata"),
            "name": given["name"],
            "package_dimensions": None,
            "shippable": None,
            "statement_descriptor": None,
            "tax_code": None,
            "unit_label": None,
            "updated": self.machine.store.now(),
            "url": None,
        }
        self.machine.store.put("product", value)
        self.machine.emit("product.created", value)
        return value

    def product(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("product", request.match_info["id"])

    def update_product(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("name", "description", "metadata", "active"))
        return params.update(self.machine, self.product(request, given), given, "product.updated")

    def delete_product(self, request: web.Request, given: Given) -> Json:
        return self._delete("product", self.product(request, given))

    def _delete(self, kind: str, value: Json) -> Json:
        self.machine.store.remove(kind, value["id"])
        self.machine.emit(f"{kind}.deleted", value)
        return {"id": value["id"], "object": kind, "deleted": True}

    # -- prices ------------------------------------------------------------------------------------------------------

    def create_price(self, request: web.Request, given: Given) -> Json:
        params.only(given, PRICE)
        if "currency" not in given:
            raise missing_param("currency")
        amount = money_of(given.get("unit_amount", 0), "unit_amount")
        product_id = given.get("product")
        if product_id is None:
            product_id = self.create_product(request, params.group(given, "product_data"))["id"]
        recurring = params.group(given, "recurring")
        value: Json = {
            "id": new_id("price"),
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self.machine.store.now(),
            "currency": str(given["currency"]).lower(),
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": params.texts(given, "metadata"),
            "nickname": given.get("nickname"),
            "product": self.machine.get("product", product_id, param="product", status=400)["id"],
            "recurring": _recurring(recurring) if recurring else None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "recurring" if recurring else "one_time",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        self.machine.store.put("price", value)
        self.machine.emit("price.created", value)
        return value

    def price(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("price", request.match_info["id"])

    def prices(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "product", "currency", "type"))
        return page(params.matching(self.machine.store.all("price"), given), given, "/v1/prices")

    def update_price(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("nickname", "metadata", "active"))
        return params.update(self.machine, self.price(request, given), given, "price.updated")


def _amount(given: Given, name: str) -> int | None:
    return money_of(given[name], name, minimum=1) if name in given else None


def _percent(text: Any) -> float:  # Any: a form value; a rate and not money, and Stripe sends it as a JSON number
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise invalid(f"Invalid decimal: {text}", param="percent_off") from None
    if not 0 < value <= 100:
        raise invalid("This value must be greater than 0 and at most 100.", param="percent_off")
    return float(value)


def _recurring(given: Given) -> Json:
    return {
        "interval": given.get("interval", "month"),
        "interval_count": money_of(given.get("interval_count", 1), "recurring[interval_count]", minimum=1),
        "meter": None,
        "usage_type": "licensed",
    }
