"""Stripe's objects, with every field that its specification requires."""

from typing import Any, Final

from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.stripe.store import Json, Store, new_id

CARDS: Final[dict[str, tuple[str, str | None]]] = {
    "4242424242424242": ("succeed", None),
    "4000056655665556": ("succeed", None),
    "5555555555554444": ("succeed", None),
    "4000000000000002": ("decline", "generic_decline"),
    "4000000000009995": ("decline", "insufficient_funds"),
    "4000000000009987": ("decline", "lost_card"),
    "4000000000009979": ("decline", "stolen_card"),
    "4000000000000069": ("decline", "expired_card"),
    "4000000000000127": ("decline", "incorrect_cvc"),
    "4000000000000119": ("decline", "processing_error"),
    "4000002500003155": ("challenge", None),
    "4000002760003184": ("challenge", None),
    "4000000000003220": ("challenge", None),
    "4000000000007726": ("succeed", "refund_pending"),
    "4000000000005126": ("succeed", "refund_fails"),
}
DECLINE_CODES: Final = {
    "expired_card": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "processing_error": "processing_error",
}


def payment_method(
    store: Store, number: str, *, kind: str = "card", name: str | None = None, email: str | None = None
) -> Json:
    """A payment method made from what a buyer typed. The number is reduced to what Stripe shows."""
    details: Json = {
        "address": {
            "city": None,
            "country": None,
            "line1": None,
            "line2": None,
            "postal_code": None,
            "state": None,
        },
        "email": email,
        "name": name,
        "phone": None,
        "tax_id": None,
    }
    value: Json = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": details,
        "created": store.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": kind,
    }
    if kind == "card":
        value["card"] = {
            "brand": "mastercard" if number.startswith("5") else "visa",
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": "visa",
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": "fp" + number[-8:],
            "funding": "credit",
            "generated_from": None,
            "last4": number[-4:],
            "networks": {"available": ["visa"], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    else:
        value["sepa_debit"] = {
            "bank_code": "37040044", "branch_code": "", "country": "DE", "fingerprint": "fpsepa",
            "generated_from": {"charge": None, "setup_attempt": None}, "last4": number[-4:],
        }  # fmt: skip
    store.put("payment_method", value)
    store.put("_secret_number", {"id": "num_" + value["id"], "number": number})
    return value


def payment_intent(store: Store, *, amount: int, currency: str, **given: Any) -> Json:
    """A new intent."""
    intent_id = new_id("pi")
    value: Json = {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{new_id('x', 20)[2:]}",
        "confirmation_method": "automatic",
        "created": store.now(),
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
    }
    value.update(given)
    return store.put("payment_intent", value)


def charge(store: Store, intent: Json, method: Json, *, status: str, decline_code: str | None = None) -> Json:
    """A charge of an intent."""
    paid = status == "succeeded"
    failure = DECLINE_CODES.get(decline_code or "", "card_declined") if status == "failed" else None
    value: Json = {
        "id": new_id("ch" if method["type"] == "card" else "py"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if paid else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": "SANDBOX",
        "captured": paid,
        "created": store.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": failure,
        "failure_message": "Your card was declined." if failure else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": None,
        "outcome": {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "declined_by_network" if failure else "approved_by_network",
            "reason": decline_code if failure else None,
            "risk_level": "normal",
            "seller_message": "The bank declined." if failure else "Payment complete.",
            "type": "issuer_declined" if failure else "authorized",
        },
        "paid": paid or status == "pending",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: {}},
        "presentment_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }
    value.pop("presentment_details")
    value["payment_method_details"] = _method_details(method)
    return store.put("charge", value)


def _method_details(method: Json) -> Json:
    if method["type"] != "card":
        debit = method["sepa_debit"]
        return {
            "type": "sepa_debit",
            "sepa_debit": {
                "bank_code": debit["bank_code"], "branch_code": "", "country": "DE", "expected_debit_date": None,
                "fingerprint": debit["fingerprint"], "last4": debit["last4"], "mandate": None,
            },
        }  # fmt: skip
    card = method["card"]
    return {
        "type": "card",
        "card": {
            "amount_authorized": None, "authorization_code": None, "brand": card["brand"], "checks": card["checks"],
            "country": card["country"], "exp_month": card["exp_month"], "exp_year": card["exp_year"],
            "fingerprint": card["fingerprint"], "funding": card["funding"], "installments": None,
            "last4": card["last4"], "mandate": None, "network": "visa", "network_token": {"used": False},
            "network_transaction_id": None, "regulated_status": "unregulated", "three_d_secure": None, "wallet": None,
        },
    }  # fmt: skip


def refund(
    store: Store,
    taken: Json,
    intent_id: str | None,
    *,
    amount: int,
    status: str,
    metadata: Json,
    reason: str | None,
) -> Json:
    """A refund of a charge."""
    value: Json = {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": taken["id"],
        "created": store.now(),
        "currency": taken["currency"],
        "metadata": metadata,
        "payment_intent": intent_id,
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    if status == "pending":
        value["pending_reason"] = "processing"
    return store.put("refund", value)


def session(store: Store, public_url: str, **given: Any) -> Json:
    """A new Checkout Session; `given` overrides what depends on the request."""
    session_id = new_id("cs_test", 58)
    value: Json = {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": 0,
        "amount_total": 0,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": None,
        "client_reference_id": None,
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": store.now(),
        "currency": None,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None, "terms_of_service_acceptance": None},
        "customer": None,
        "customer_account": None,
        "customer_creation": "if_required",
        "customer_details": None,
        "customer_email": None,
        "discounts": [],
        "expires_at": store.now() + 86_400,
        "invoice": None,
        "invoice_creation": {
            "enabled": False,
            "invoice_data": {
                "account_tax_ids": None, "custom_fields": None, "description": None, "footer": None, "issuer": None,
                "metadata": {}, "rendering_options": None,
            },
        },
        "livemode": False,
        "locale": None,
        "metadata": {},
        "mode": "payment",
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {},
        "payment_method_types": ["card", "sepa_debit"],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": None,
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": f"{public_url}/c/pay/{session_id}",
        "wallet_options": None,
    }  # fmt: skip
    value.update(given)
    return store.put("checkout.session", value)


def line_item(index_id: str, line: Json, currency: str) -> Json:
    """A line of a session; `line` has quantity, unit_amount and name."""
    amount = line["quantity"] * line["unit_amount"]
    return {
        "id": index_id,
        "object": "item",
        "amount_discount": line.get("discount", 0),
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount - line.get("discount", 0),
        "currency": currency,
        "description": line["name"],
        "metadata": {},
        "price": {
            "id": "price_" + index_id[3:],
            "object": "price",
            "active": False,
            "billing_scheme": "per_unit",
            "created": line["created"],
            "currency": currency,
            "custom_unit_amount": None,
            "livemode": False,
            "lookup_key": None,
            "metadata": {},
            "nickname": None,
            "product": line["product"],
            "recurring": None,
            "tax_behavior": "unspecified",
            "tiers_mode": None,
            "transform_quantity": None,
            "type": "one_time",
            "unit_amount": line["unit_amount"],
            "unit_amount_decimal": str(line["unit_amount"]),
        },
        "quantity": line["quantity"],
    }


def event(store: Store, type_: str, subject: Json, *, request_id: str | None, key: str | None) -> Json:
    """An event about `subject` as it is now."""
    value: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": STRIPE_VERSION,
        "created": store.now(),
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": request_id, "idempotency_key": key},
        "type": type_,
    }
    return store.put("event", value)
