"""Payment methods, intents and charges."""

from typing import Any, Final

from sandbox.stripe.cards import ADVICE, BLOCKED, DECLINE_CODES, RISKS
from sandbox.stripe.store import Json, Store, new_id

EXPIRY: Final = (12, 2034)  # month and year of a card of which nobody said more


def payment_method(
    store: Store,
    number: str,
    *,
    kind: str = "card",
    name: str | None = None,
    email: str | None = None,
    expiry: tuple[int, int] = EXPIRY,
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
        brand = "mastercard" if number.startswith("5") else "visa"
        value["card"] = {
            "brand": brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": brand,
            "exp_month": expiry[0],
            "exp_year": expiry[1],
            "fingerprint": "fp" + number[-8:],
            "funding": "credit",
            "generated_from": None,
            "last4": number[-4:],
            "networks": {"available": [brand], "preferred": None},
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


def number_of(store: Store, method_id: str) -> str:
    """The number behind a payment method, empty when there is none. No caller of the API may see it."""
    secret = store.find("_secret_number", "num_" + method_id)
    return str(secret["number"]) if secret else ""


def card_options(asked: Json) -> Json:
    """`payment_method_options` of an intent, with what was asked for cards."""
    card = asked.get("card")
    return {"card": {"installments": None, "mandate_options": None, "network": None, **card}} if card else {}


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
        "outcome": _outcome(number_of(store, method["id"]), decline_code if failure else None),
        "paid": paid or status == "pending",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"type": method["type"], method["type"]: {}},
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": status,
        "transfer_data": None,
        "transfer_group": None,
    }
    value["payment_method_details"] = _method_details(method)
    return store.put("charge", value)


def _outcome(number: str, decline_code: str | None) -> Json:
    level, score = RISKS.get(number, ("normal", 12))
    value: Json = {
        "advice_code": ADVICE.get(number) if decline_code else None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if decline_code else "approved_by_network",
        "reason": decline_code,
        "risk_level": level,
        "risk_score": score,
        "seller_message": "The bank declined." if decline_code else "Payment complete.",
        "type": "issuer_declined" if decline_code else "authorized",
    }
    if number in BLOCKED:
        value |= {
            "network_status": "not_sent_to_network",
            "reason": "highest_risk_level",
            "seller_message": "Stripe blocked this payment as too risky.",
            "type": "blocked",
        }
    elif level == "elevated":
        value |= {"reason": "elevated_risk_level", "type": "manual_review"}
    return value


def _method_details(method: Json) -> Json:
    if method["type"] != "card":
        debit = method["sepa_debit"]
        return {
            "type": "sepa_debit",
            "sepa_debit": {
                "bank_code": debit["bank_code"], "branch_code": "", "country": "DE",
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
