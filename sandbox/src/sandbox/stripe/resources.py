"""The resources that a payment needs: sessions, intents, charges, refunds, coupons, customers, events and such."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from sandbox.stripe import objects, params
from sandbox.stripe.errors import StripeError, invalid, missing_param, no_such
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.store import Json, Store, new_id

Given = dict[str, Any]  # Any: nested parameters

SESSION_PARAMS = frozenset(
    {
        "mode", "client_reference_id", "customer_email", "customer", "currency", "line_items", "success_url",
        "cancel_url", "expires_at", "metadata", "payment_intent_data", "discounts", "locale",
        "shipping_address_collection", "payment_method_types", "allow_promotion_codes", "ui_mode", "submit_type",
        "billing_address_collection", "customer_creation", "phone_number_collection", "automatic_tax",
    }
)  # fmt: skip


def page(rows: Sequence[Json], given: Given, url: str) -> Json:
    """A list page, newest first, with Stripe's cursors."""
    limit = money_of(given.get("limit", 10), "limit", minimum=1)
    if limit > 100:
        raise invalid("This value must be less than or equal to 100.", param="limit")
    found = list(reversed(rows))
    created = given.get("created")
    if isinstance(created, dict):
        found = [r for r in found if _within(r["created"], created)]
    ids = [row["id"] for row in found]
    if after := given.get("starting_after"):
        if after not in ids:
            raise no_such("object", after, param="starting_after")
        found = found[ids.index(after) + 1 :]
    elif before := given.get("ending_before"):
        if before not in ids:
            raise no_such("object", before, param="ending_before")
        newer = found[: ids.index(before)]
        return {"object": "list", "data": newer[-limit:], "has_more": len(newer) > limit, "url": url}
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit, "url": url}


def _within(at: int, bounds: Given) -> bool:
    tests = {
        "gte": lambda bound: at >= bound,
        "gt": lambda bound: at > bound,
        "lte": lambda bound: at <= bound,
        "lt": lambda bound: at < bound,
    }
    return all(tests[name](int(bound)) for name, bound in bounds.items() if name in tests)


def expanded(store: Store, value: Json, paths: Any) -> Json:  # Any: a form value
    """`value` with references replaced by their objects."""
    for path in paths if isinstance(paths, list) else []:
        value = _expand(store, value, str(path).split("."))
    return value


def _expand(store: Store, value: Any, steps: list[str]) -> Any:  # Any: any part of an object
    if not steps or value is None:
        return value
    if isinstance(value, list):
        return [_expand(store, item, steps) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value.get(steps[0])
    if isinstance(inner, str) and inner in store.objects:
        inner = store.objects[inner]
    if steps[0] == "line_items" and value.get("object") == "checkout.session":
        inner = line_items(store, value)
    return {**value, steps[0]: _expand(store, inner, steps[1:])}


def line_items(store: Store, session: Json) -> Json:
    """The lines of a session as a list."""
    hidden = store.objects["req_" + session["id"]]
    url = f"/v1/checkout/sessions/{session['id']}/line_items"
    return {"object": "list", "data": hidden["line_items"], "has_more": False, "url": url}


class Sessions:
    """Checkout Sessions."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.store = machine.store

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, SESSION_PARAMS)
        if given.get("mode", "payment") != "payment":
            raise invalid("Only payment mode is simulated.", param="mode")
        lines = self._lines(given)
        currency = given.get("currency") or lines[0]["currency"]
        subtotal = sum(line["quantity"] * line["unit_amount"] for line in lines)
        discount, discounts = self._discount(given, currency, subtotal)
        _spread(lines, discount)
        intent_data = params.group(given, "payment_intent_data")
        params.only(intent_data, ("metadata", "description", "capture_method", "receipt_email"), "payment_intent_data")
        if "success_url" not in given:
            raise missing_param("success_url")
        if subtotal - discount < 50 and currency in ("usd", "eur"):
            raise invalid(
                "The Checkout Session's total amount must convert to at least 50 cents.",
                code="amount_too_small",
            )
        made = objects.session(
            self.store,
            self.machine.public_url,
            amount_subtotal=subtotal,
            amount_total=subtotal - discount,
            cancel_url=given.get("cancel_url"),
            client_reference_id=given.get("client_reference_id"),
            currency=currency,
            customer_email=given.get("customer_email"),
            discounts=discounts,
            expires_at=self._expires_at(given),
            locale=given.get("locale"),
            metadata=params.texts(given, "metadata"),
            shipping_address_collection=params.group(given, "shipping_address_collection") or None,
            success_url=given["success_url"],
            total_details={"amount_discount": discount, "amount_shipping": 0, "amount_tax": 0},
        )
        items = [objects.line_item(new_id("li"), line, currency) for line in lines]
        self.store.put(
            "_session_request",
            {
                "id": "req_" + made["id"],
                "line_items": items,
                "intent_metadata": params.texts(intent_data, "metadata"),
            },
        )
        return made

    def _expires_at(self, given: Given) -> int:
        now = self.store.now()
        if "expires_at" not in given:
            return now + 86_400
        wanted = money_of(given["expires_at"], "expires_at")
        if not now + 1_800 - 60 <= wanted <= now + 86_400 + 60:
            raise invalid(
                "The `expires_at` timestamp must be at least 30 minutes and at most 24 hours from now.",
                param="expires_at",
            )
        return wanted

    def _lines(self, given: Given) -> list[Json]:
        rows = params.rows(given, "line_items")
        if not rows:
            raise missing_param("line_items")
        if len(rows) > 100:
            raise invalid("At most 100 line items are allowed.", param="line_items")
        return [self._line(index, row) for index, row in enumerate(rows)]

    def _line(self, index: int, row: Given) -> Json:
        where = f"line_items[{index}]"
        params.only(row, ("quantity", "price_data", "price"), where)
        data = params.group(row, "price_data")
        if "price" in row:
            price = self.machine.get("price", row["price"])
            product = self.store.objects[price["product"]]
            unit, currency, name = price["unit_amount"], price["currency"], product["name"]
        else:
            params.only(
                data,
                ("currency", "unit_amount", "product_data", "product", "tax_behavior"),
                f"{where}[price_data]",
            )
            product_data = params.group(data, "product_data")
            params.only(
                product_data,
                ("name", "metadata", "description", "images", "tax_code"),
                f"{where}[price_data][product_data]",
            )
            for name_, holder in (("currency", data), ("unit_amount", data)):
                if name_ not in holder:
                    raise missing_param(f"{where}[price_data][{name_}]")
            if "name" not in product_data:
                raise missing_param(f"{where}[price_data][product_data][name]")
            unit = money_of(data["unit_amount"], f"{where}[price_data][unit_amount]")
            currency, name = data["currency"].lower(), product_data["name"]
        return {
            "quantity": money_of(row.get("quantity", 1), f"{where}[quantity]", minimum=1),
            "unit_amount": unit,
            "currency": currency,
            "name": name,
            "created": self.store.now(),
            "product": new_id("prod", 14),
        }

    def _discount(self, given: Given, currency: str, subtotal: int) -> tuple[int, list[Json]]:
        rows = params.rows(given, "discounts")
        if not rows:
            return 0, []
        params.only(rows[0], ("coupon", "promotion_code"), "discounts[0]")
        coupon = self.machine.get("coupon", rows[0].get("coupon", ""))
        if coupon["percent_off"] is not None:
            amount = int(subtotal * coupon["percent_off"] // 100)
        elif coupon["currency"] != currency:
            raise invalid("The coupon's currency does not match.", param="discounts")
        else:
            amount = min(coupon["amount_off"], subtotal)
        return amount, [{"coupon": coupon["id"], "promotion_code": None}]

    def one(self, request: web.Request, _: Given) -> Json:
        found = self.machine.get("checkout.session", request.match_info["id"])
        self.machine.expire_if_due(found)
        return found

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "status", "customer"))
        rows = self.store.all("checkout.session")
        for name in ("payment_intent", "status", "customer"):
            if name in given:
                rows = [row for row in rows if row[name] == given[name]]
        return page(rows, given, "/v1/checkout/sessions")

    def expire(self, request: web.Request, given: Given) -> Json:
        found = self.one(request, given)
        if found["status"] != "open":
            raise invalid(
                f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of {found["status"]}.'
            )
        return self.machine.expire(found)

    def lines(self, request: web.Request, given: Given) -> Json:
        return line_items(self.store, self.one(request, given))


def _spread(lines: list[Json], discount: int) -> None:
    left, weight = discount, sum(line["quantity"] * line["unit_amount"] for line in lines)
    for line in lines:
        amount = line["quantity"] * line["unit_amount"]
        line["discount"] = left if line is lines[-1] else discount * amount // max(weight, 1)
        left -= line["discount"]


class Intents:
    """Payment intents and charges."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.store = machine.store

    CREATE = frozenset(
        {
            "amount", "currency", "payment_method", "payment_method_types", "confirm", "customer", "description",
            "metadata", "capture_method", "off_session", "receipt_email", "return_url", "setup_future_usage",
            "automatic_payment_methods", "payment_method_data", "payment_method_options", "shipping",
            "allowed_payment_method_types",
        }
    )  # fmt: skip

    def create(self, request: web.Request, given: Given) -> Json:
        params.only(given, self.CREATE)
        for name in ("amount", "currency"):
            if name not in given:
                raise missing_param(name)
        made = objects.payment_intent(
            self.store,
            amount=money_of(given["amount"], "amount", minimum=1),
            currency=str(given["currency"]).lower(),
            description=given.get("description"),
            metadata=params.texts(given, "metadata"),
            capture_method=given.get("capture_method", "automatic_async"),
        )
        self.machine.emit("payment_intent.created", made)
        if params.flag(given.get("confirm", False)):
            return self._confirm(made, given)
        return made

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("payment_intent", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "customer"))
        return page(self.store.all("payment_intent"), given, "/v1/payment_intents")

    def confirm(self, request: web.Request, given: Given) -> Json:
        params.only(
            given,
            ("payment_method", "return_url", "off_session", "payment_method_data", "payment_method_types"),
        )
        return self._confirm(self.one(request, given), given)

    def _confirm(self, intent: Json, given: Given) -> Json:
        if intent["status"] not in ("requires_payment_method", "requires_confirmation"):
            raise invalid("This PaymentIntent could not be confirmed.", code="payment_intent_unexpected_state")
        method, number = self._method(given)
        intent["payment_method"] = method["id"]
        self.machine.attempt(intent, method, number)
        error = intent["last_payment_error"]
        if error is not None:
            raise StripeError(
                402, "card_error", error["message"], code=error["code"],
                decline_code=error["decline_code"], charge=error["charge"], payment_intent=intent,
            )  # fmt: skip
        return intent

    def _method(self, given: Given) -> tuple[Json, str]:
        name = str(given.get("payment_method", "pm_card_visa"))
        stored = self.store.find("payment_method", name)
        if stored is not None:
            return stored, self.store.objects["num_" + name]["number"]
        number = TOKENS.get(name)
        if number is None:
            raise no_such("PaymentMethod", name, param="payment_method")
        return objects.payment_method(self.store, number), number

    def cancel(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("cancellation_reason",))
        return self.machine.cancel_intent(self.one(request, given), reason=given.get("cancellation_reason"))

    def charge(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("charge", request.match_info["id"])

    def charges(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "customer"))
        rows = self.store.all("charge")
        if "payment_intent" in given:
            rows = [row for row in rows if row["payment_intent"] == given["payment_intent"]]
        return page(rows, given, "/v1/charges")


TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "tok_visa": "4242424242424242",
    "tok_chargeDeclined": "4000000000000002",
    "tok_visa_chargeDeclined": "4000000000000002",
}


class Refunds:
    """Refunds."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.store = machine.store

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("payment_intent", "charge", "amount", "reason", "metadata"))
        intent_id = given.get("payment_intent")
        if intent_id:
            intent = self.machine.get("payment_intent", intent_id)
            if not intent["latest_charge"] or intent["status"] != "succeeded":
                raise invalid(f"This PaymentIntent ({intent_id}) does not have a successful charge to refund.")
            taken = self.machine.get("charge", intent["latest_charge"])
        elif "charge" in given:
            taken = self.machine.get("charge", given["charge"])
            intent_id = taken["payment_intent"]
        else:
            raise missing_param("payment_intent")
        amount = money_of(given["amount"], "amount", minimum=1) if "amount" in given else None
        reason = given.get("reason")
        if reason not in (None, "duplicate", "fraudulent", "requested_by_customer"):
            raise invalid(
                "Invalid reason: must be one of duplicate, fraudulent, or requested_by_customer",
                param="reason",
            )
        return self.machine.refund(taken, intent_id, amount, params.texts(given, "metadata"), reason)

    def one(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("refund", request.match_info["id"])

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "charge"))
        rows = self.store.all("refund")
        for name in ("payment_intent", "charge"):
            if name in given:
                rows = [row for row in rows if row[name] == given[name]]
        return page(rows, given, "/v1/refunds")

    def update(self, request: web.Request, given: Given) -> Json:
        params.only(given, ("metadata",))
        found = self.one(request, given)
        found["metadata"].update(params.texts(given, "metadata"))
        self.store.put("refund", found)
        self.machine.emit("refund.updated", found)
        return found

    def cancel(self, request: web.Request, given: Given) -> Json:
        found = self.one(request, given)
        if found["status"] != "requires_action":
            raise invalid("Only refunds that require action can be canceled.")
        return self.machine.change_refund(found, "canceled")


class Things:
    """Coupons, customers, products, prices, payment methods and events."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.store = machine.store

    def create_coupon(self, _: web.Request, given: Given) -> Json:
        params.only(
            given,
            (
                "id",
                "amount_off",
                "percent_off",
                "currency",
                "duration",
                "max_redemptions",
                "name",
                "metadata",
            ),
        )
        coupon_id = given.get("id") or new_id("cpn", 8)[4:]
        if self.store.find("coupon", coupon_id):
            raise invalid(f"Coupon already exists: {coupon_id}", param="id", code="resource_already_exists")
        if "amount_off" in given and "currency" not in given:
            raise missing_param("currency")
        value: Json = {
            "id": coupon_id,
            "object": "coupon",
            "amount_off": money_of(given["amount_off"], "amount_off", minimum=1) if "amount_off" in given else None,
            "created": self.store.now(),
            "currency": given.get("currency"),
            "duration": given.get("duration", "once"),
            "duration_in_months": None,
            "livemode": False,
            "max_redemptions": money_of(given["max_redemptions"], "max_redemptions", minimum=1)
            if "max_redemptions" in given
            else None,
            "metadata": params.texts(given, "metadata"),
            "name": given.get("name"),
            "percent_off": float(given["percent_off"]) if "percent_off" in given else None,
            "redeem_by": None,
            "times_redeemed": 0,
            "valid": True,
        }
        return self.store.put("coupon", value)

    def coupon(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("coupon", request.match_info["id"])

    def create_customer(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("email", "name", "description", "metadata", "phone", "payment_method", "source"))
        value: Json = {
            "id": new_id("cus", 14),
            "object": "customer",
            "address": None,
            "balance": 0,
            "created": self.store.now(),
            "currency": None,
            "default_source": None,
            "delinquent": False,
            "description": given.get("description"),
            "discount": None,
            "email": given.get("email"),
            "invoice_prefix": new_id("x", 8)[2:].upper(),
            "invoice_settings": {
                "custom_fields": None,
                "default_payment_method": None,
                "footer": None,
                "rendering_options": None,
            },
            "livemode": False,
            "metadata": params.texts(given, "metadata"),
            "name": given.get("name"),
            "next_invoice_sequence": 1,
            "phone": given.get("phone"),
            "preferred_locales": [],
            "shipping": None,
            "tax_exempt": "none",
            "test_clock": None,
        }
        self.machine.emit("customer.created", value)
        return self.store.put("customer", value)

    def customer(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("customer", request.match_info["id"])

    def create_product(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("name", "description", "metadata", "default_price_data", "active", "id"))
        if "name" not in given:
            raise missing_param("name")
        value: Json = {
            "id": given.get("id") or new_id("prod", 14),
            "object": "product",
            "active": True,
            "created": self.store.now(),
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
            "type": "service",
            "unit_label": None,
            "updated": self.store.now(),
            "url": None,
        }
        self.machine.emit("product.created", value)
        return self.store.put("product", value)

    def create_price(self, _: web.Request, given: Given) -> Json:
        params.only(given, ("currency", "unit_amount", "product", "product_data", "recurring", "metadata", "nickname"))
        product_id = given.get("product")
        if product_id is None:
            made = self.create_product(_, {"name": params.group(given, "product_data").get("name", "product")})
            product_id = made["id"]
        value: Json = {
            "id": new_id("price"),
            "object": "price",
            "active": True,
            "billing_scheme": "per_unit",
            "created": self.store.now(),
            "currency": given.get("currency", "usd"),
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": params.texts(given, "metadata"),
            "nickname": given.get("nickname"),
            "product": product_id,
            "recurring": None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": money_of(given.get("unit_amount", 0), "unit_amount"),
            "unit_amount_decimal": str(given.get("unit_amount", 0)),
        }
        self.machine.emit("price.created", value)
        return self.store.put("price", value)

    def events(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "type", "types", "delivery_success"))
        rows = self.store.all("event")
        kinds = given.get("types") or ([given["type"]] if "type" in given else None)
        if kinds:
            rows = [row for row in rows if row["type"] in kinds]
        if "delivery_success" in given:
            wanted = params.flag(given["delivery_success"])
            rows = [r for r in rows if (self.store.objects["dlv_" + r["id"]]["state"] == "delivered") == wanted]
        return page(rows, given, "/v1/events")

    def event(self, request: web.Request, _: Given) -> Json:
        return self.machine.get("event", request.match_info["id"])


class PaymentPages:
    """The private door through which Stripe's command line tool completes a session."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def one(self, request: web.Request, _: Given) -> Json:
        session = self.machine.get("checkout.session", request.match_info["id"])
        return {**session, "session_id": session["id"]}

    def confirm(self, request: web.Request, given: Given) -> Json:
        session = self.machine.get("checkout.session", request.match_info["id"])
        name = str(given.get("payment_method", "pm_card_visa"))
        stored = self.machine.store.objects.get("num_" + name)
        number = stored["number"] if stored else TOKENS.get(name, "4242424242424242")
        kind = "card"
        if stored is not None:
            kind = self.machine.store.objects[name]["type"]
        expected = given.get("expected_amount")
        if expected is not None and int(expected) != session["amount_total"]:
            raise invalid("The expected amount does not match.", param="expected_amount")
        self.machine.pay_session(session, number, kind=kind, name="Jenny Rosen", email="jenny@example.com")
        return {**session, "session_id": session["id"]}
