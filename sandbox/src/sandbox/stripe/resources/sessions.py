"""Checkout Sessions, and the private door through which Stripe's command line tool completes one."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from payments_shared.money import allocate
from sandbox.stripe import objects, params, taxes
from sandbox.stripe.amounts import MINIMUM, check_payable
from sandbox.stripe.cards import TOKENS
from sandbox.stripe.errors import invalid, missing_param
from sandbox.stripe.machine import Machine, money_of
from sandbox.stripe.resources import offering, shipping
from sandbox.stripe.resources.lists import Given, Row, line_items, page
from sandbox.stripe.resources.taxes import behavior
from sandbox.stripe.store import Json, new_id
from sandbox.stripe.transitions import sessions, setups, totals

SESSION_PARAMS: Final = frozenset(
    {
        "mode", "client_reference_id", "customer_email", "customer", "currency", "line_items", "success_url",
        "cancel_url", "expires_at", "metadata", "payment_intent_data", "discounts", "locale",
        "shipping_address_collection", "payment_method_types", "allow_promotion_codes", "ui_mode", "submit_type",
        "billing_address_collection", "customer_creation", "phone_number_collection", "automatic_tax",
        "saved_payment_method_options", "setup_intent_data", "shipping_options", "customer_update",
        "excluded_payment_method_types", "payment_method_options", "origin_context", "wallet_options",
    }
)  # fmt: skip
INTENT_PARAMS: Final = ("metadata", "description", "capture_method", "receipt_email", "setup_future_usage", "shipping")
EXPIRY_SECONDS: Final = (1_800, 86_400)
EXPIRY_GRACE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Sessions:
    """Checkout Sessions."""

    machine: Machine

    def table(self) -> list[Row]:
        """The routes."""
        return [
            ("POST", "checkout/sessions", self.create),
            ("GET", "checkout/sessions", self.listed),
            ("GET", "checkout/sessions/{id}", self.one),
            ("POST", "checkout/sessions/{id}/expire", self.expire),
            ("GET", "checkout/sessions/{id}/line_items", self.lines),
            ("GET", "payment_pages/{id}", self.payment_page),
            ("POST", "payment_pages/{id}/confirm", self.confirm),
        ]

    def create(self, _: web.Request, given: Given) -> Json:
        params.only(given, SESSION_PARAMS)
        if given.get("mode", "payment") not in ("payment", "setup"):
            raise invalid("Only payment and setup mode are simulated.", param="mode")
        if given.get("ui_mode", "hosted_page") != "hosted_page":
            raise invalid("Invalid ui_mode: only hosted_page is simulated.", param="ui_mode")
        if "success_url" not in given:
            raise missing_param("success_url")
        if "customer" in given:
            if "customer_email" in given:
                raise invalid("You may only specify one of these parameters: customer, customer_email.")
            self.machine.get("customer", str(given["customer"]), param="customer", status=400)
        return self._setup(given) if given.get("mode") == "setup" else self._payment(given)

    def _setup(self, given: Given) -> Json:
        for name in (
            "line_items",
            "payment_intent_data",
            "discounts",
            "saved_payment_method_options",
            "shipping_options",
        ):
            if name in given:
                raise invalid(f"You can not pass `{name}` in `setup` mode.", param=name)
        if "currency" not in given and "payment_method_types" not in given:
            raise missing_param("currency")
        data = params.group(given, "setup_intent_data")
        params.only(data, ("metadata", "description"), "setup_intent_data")
        made = objects.session(
            self.machine.store,
            self.machine.public_url,
            **_facts(given),
            amount_subtotal=None,
            amount_total=None,
            currency=given.get("currency"),
            expires_at=self._expires_at(given),
            mode="setup",
            payment_status="no_payment_required",
            total_details=None,
        )
        intent = setups.create(
            self.machine,
            customer=made["customer"],
            description=data.get("description"),
            metadata=params.texts(data, "metadata"),
            payment_method_types=made["payment_method_types"],
            payment_method_options={},
        )
        made["setup_intent"] = intent["id"]
        self.machine.store.put("_owner", {"id": "own_" + intent["id"], "session": made["id"]})
        self.machine.store.put("_session_request", {"id": "req_" + made["id"], "line_items": [], "intent": {}})
        self.machine.schedule("expire", made["id"], made["expires_at"])
        return self.machine.store.put("checkout.session", made)

    def _payment(self, given: Given) -> Json:
        if "setup_intent_data" in given:
            raise invalid("You can not pass `setup_intent_data` in `payment` mode.", param="setup_intent_data")
        lines = self._lines(given)
        currency = str(given.get("currency") or lines[0]["currency"]).lower()
        subtotal = sum(line["quantity"] * line["unit_amount"] for line in lines)
        discount, discounts = self._discount(given, currency, subtotal)
        rates = shipping.rates(given, currency)
        if subtotal - discount + (rates[0]["amount"] if rates else 0) < MINIMUM.get(currency, 1):
            raise invalid(
                "The Checkout Session's total amount must convert to at least 50 cents.",
                code="amount_too_small",
            )
        check_payable(subtotal - discount, currency)
        intent = _intent_facts(given)
        made = objects.session(
            self.machine.store,
            self.machine.public_url,
            **(_facts(given) | offering.offered(given)),
            amount_subtotal=subtotal,
            amount_total=subtotal - discount,
            automatic_tax=_automatic_tax(given),
            currency=currency,
            discounts=discounts,
            expires_at=self._expires_at(given),
            saved_payment_method_options=_saving(given),
            shipping_options=[{"shipping_amount": rate["amount"], "shipping_rate": rate["id"]} for rate in rates],
            total_details={"amount_discount": discount, "amount_shipping": 0, "amount_tax": 0},
        )
        for line, share in zip(lines, allocate(discount, [_cost(line) for line in lines]), strict=True):
            line["discount"] = share
        items = [objects.line_item(new_id("li"), line, currency) for line in lines]
        hidden: Json = {"id": "req_" + made["id"], "line_items": items, "intent": intent, "shipping": rates}
        hidden["taxed"] = [{"tax_code": line["tax_code"], "tax_behavior": line["tax_behavior"]} for line in lines]
        totals.sum_up(made, hidden, None)
        self.machine.store.put("_session_request", hidden)
        self.machine.schedule("expire", made["id"], made["expires_at"])
        return self.machine.store.put("checkout.session", made)

    def _expires_at(self, given: Given) -> int:
        now = self.machine.store.now()
        if "expires_at" not in given:
            return now + EXPIRY_SECONDS[1]
        wanted = money_of(given["expires_at"], "expires_at")
        low, high = now + EXPIRY_SECONDS[0] - EXPIRY_GRACE_SECONDS, now + EXPIRY_SECONDS[1] + EXPIRY_GRACE_SECONDS
        if not low <= wanted <= high:
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
        priced = self._by_price(row, where) if "price" in row else self._by_data(row, where)
        return priced | {
            "quantity": money_of(row.get("quantity", 1), f"{where}[quantity]", minimum=1),
            "created": self.machine.store.now(),
        }

    def _by_price(self, row: Given, where: str) -> Json:
        price = self.machine.get("price", row["price"], param=f"{where}[price]", status=400)
        product = self.machine.store.objects[price["product"]]
        return {
            "unit_amount": price["unit_amount"],
            "currency": price["currency"],
            "name": product["name"],
            "product": product["id"],
            "tax_behavior": None,
            "tax_code": taxes.GENERAL,
        }

    def _by_data(self, row: Given, where: str) -> Json:
        data = params.group(row, "price_data")
        where = f"{where}[price_data]"
        params.only(data, ("currency", "unit_amount", "product_data", "product", "tax_behavior"), where)
        product = params.group(data, "product_data")
        params.only(product, ("name", "metadata", "description", "images", "tax_code"), f"{where}[product_data]")
        for name in ("currency", "unit_amount"):
            if name not in data:
                raise missing_param(f"{where}[{name}]")
        if "name" not in product:
            raise missing_param(f"{where}[product_data][name]")
        return {
            "unit_amount": money_of(data["unit_amount"], f"{where}[unit_amount]"),
            "currency": str(data["currency"]).lower(),
            "name": product["name"],
            "product": new_id("prod", 14),
            "tax_behavior": behavior(data, where),
            "tax_code": product.get("tax_code", taxes.GENERAL),
        }

    def _discount(self, given: Given, currency: str, subtotal: int) -> tuple[int, list[Json]]:
        rows = params.rows(given, "discounts")
        if not rows:
            return 0, []
        params.only(rows[0], ("coupon", "promotion_code"), "discounts[0]")
        coupon = self.machine.get("coupon", rows[0].get("coupon", ""), param="discounts[0][coupon]", status=400)
        if coupon["percent_off"] is not None:
            amount = subtotal * int(coupon["percent_off"] * 100) // 10_000
        elif coupon["currency"] != currency:
            raise invalid("The coupon's currency does not match.", param="discounts")
        else:
            amount = min(coupon["amount_off"], subtotal)
        return amount, [{"coupon": coupon["id"], "promotion_code": None}]

    def one(self, request: web.Request, _: Given) -> Json:
        found = self.machine.get("checkout.session", request.match_info["id"])
        sessions.expire_if_due(self.machine, found)
        return found

    def listed(self, _: web.Request, given: Given) -> Json:
        params.only(given, (*params.LISTING, "payment_intent", "status", "customer"))
        rows = self.machine.store.all("checkout.session")
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
        return sessions.expire(self.machine, found)

    def lines(self, request: web.Request, given: Given) -> Json:
        return line_items(self.machine.store, self.one(request, given))

    def payment_page(self, request: web.Request, _: Given) -> Json:
        session = self.one(request, {})
        return {**session, "session_id": session["id"]}

    def confirm(self, request: web.Request, given: Given) -> Json:
        session = self.one(request, {})
        name = str(given.get("payment_method", "pm_card_visa"))
        stored = self.machine.store.find("payment_method", name)
        if stored is None and name not in TOKENS:
            raise invalid(f"No such PaymentMethod: '{name}'", param="payment_method", code="resource_missing")
        expected = given.get("expected_amount")
        if expected is not None and money_of(expected, "expected_amount") != session["amount_total"]:
            raise invalid("The expected amount does not match.", param="expected_amount")
        number = objects.number_of(self.machine.store, name) if stored else TOKENS[name]
        kind = stored["type"] if stored else "card"
        sessions.pay(self.machine, session, number, kind=kind, name="Jenny Rosen", email="jenny@example.com")
        return {**session, "session_id": session["id"]}


def _facts(given: Given) -> Json:
    """What a session keeps of its request as it was given."""
    billing = given.get("billing_address_collection")
    kept: Json = {name: given.get(name) for name in ("cancel_url", "client_reference_id", "customer_email", "locale")}
    if "payment_method_types" in given:
        kept["payment_method_types"] = list(given["payment_method_types"])
    return kept | {
        "billing_address_collection": billing,
        "customer": given.get("customer"),
        "customer_creation": None if "customer" in given or given.get("mode") == "setup" else "if_required",
        "metadata": params.texts(given, "metadata"),
        "shipping_address_collection": shipping.collection(given),
        "submit_type": given.get("submit_type"),
        "success_url": given["success_url"],
    }


def _saving(given: Given) -> Json | None:
    """What a buyer may do with payment methods on the page. Only those that may be shown again are shown."""
    if "saved_payment_method_options" not in given:
        return None
    options = params.group(given, "saved_payment_method_options")
    params.only(options, ("payment_method_save",), "saved_payment_method_options")
    save = options.get("payment_method_save")
    if save not in ("enabled", "disabled"):
        raise invalid("Invalid payment_method_save: must be one of disabled, enabled", param="payment_method_save")
    return {"allow_redisplay_filters": ["always"], "payment_method_remove": "disabled", "payment_method_save": save}


def _intent_facts(given: Given) -> Json:
    """What the intent of a session will keep: the session's metadata is not copied to it."""
    data = params.group(given, "payment_intent_data")
    params.only(data, INTENT_PARAMS, "payment_intent_data")
    kept: Json = {"metadata": params.texts(data, "metadata")}
    kept |= {name: data[name] for name in INTENT_PARAMS[1:-1] if name in data}
    if "shipping" in data:
        kept["shipping"] = params.shipping(data, "payment_intent_data[shipping]")
    return kept


def _cost(line: Json) -> int:
    return int(line["quantity"] * line["unit_amount"])


def _automatic_tax(given: Given) -> Json:
    """Whether Stripe Tax finds the tax; it waits for the buyer's address."""
    asked = params.group(given, "automatic_tax")
    params.only(asked, ("enabled", "liability"), "automatic_tax")
    enabled = params.flag(asked.get("enabled"))
    if enabled and "customer" in given:
        update = params.group(given, "customer_update")
        needed = "shipping" if "shipping_address_collection" in given else "address"
        if "auto" not in (update.get(needed), update.get("address")):
            raise invalid(
                "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to the "
                "Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to 'auto'.",
                code="customer_tax_location_invalid",
            )
    status = "requires_location_inputs" if enabled else None
    liability = {"type": "self"} if enabled else None
    return {"enabled": enabled, "liability": liability, "provider": "stripe" if enabled else None, "status": status}
