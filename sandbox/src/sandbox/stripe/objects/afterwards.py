"""What follows a charge: refunds, disputes, balance transactions; and the events about it all."""

from typing import Final

from payments_shared.stripe_client import STRIPE_VERSION
from sandbox.stripe.store import Json, Store, new_id

EVIDENCE_SECONDS: Final = 9 * 86_400
ACTION_SECONDS: Final = 30 * 86_400  # how long the buyer of a refund that requires action can answer
EVIDENCE: Final = (
    "access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
    "cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
    "customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
    "duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
    "refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
    "shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
)  # fmt: skip


def refund(
    store: Store,
    taken: Json,
    intent_id: str | None,
    *,
    amount: int,
    status: str,
    metadata: Json,
    reason: str | None,
    pending_reason: str | None = None,
) -> Json:
    """A refund of a charge. One that requires action waits for the buyer, who was asked by e-mail."""
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
        value["pending_reason"] = pending_reason or "processing"
    if status == "requires_action":
        value["next_action"] = asked_by_mail(store, taken)
    return store.put("refund", value)


def asked_by_mail(store: Store, taken: Json) -> Json:
    """What a refund that requires action waits for: its buyer's answer to an e-mail."""
    return {
        "type": "display_details",
        "display_details": {
            "email_sent": {
                "email_sent_at": store.now(),
                "email_sent_to": taken["billing_details"]["email"] or "buyer@example.com",
            },
            "expires_at": store.now() + ACTION_SECONDS,
        },
    }


def dispute(store: Store, taken: Json, reason: str, *, amount: int, inquiry: bool) -> Json:
    """A dispute of so much of a charge, open."""
    value: Json = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": taken["id"],
        "created": store.now(),
        "currency": taken["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": store.now() + EVIDENCE_SECONDS,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": taken["payment_intent"],
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    return store.put("dispute", value)


def file(store: Store, purpose: str, name: str, kind: str, size: int) -> Json:
    """A file that was uploaded."""
    file_id = new_id("file")
    value: Json = {
        "id": file_id,
        "object": "file",
        "created": store.now(),
        "expires_at": None,
        "filename": name,
        "links": {"object": "list", "data": [], "has_more": False, "url": f"/v1/file_links?file={file_id}"},
        "purpose": purpose,
        "size": size,
        "title": None,
        "type": kind,
        "url": f"https://files.stripe.com/v1/files/{file_id}/contents",
    }
    return store.put("file", value)


def review(store: Store, taken: Json, opened_reason: str) -> Json:
    """A person looks at a charge."""
    value: Json = {
        "id": new_id("prv"),
        "object": "review",
        "billing_zip": None,
        "charge": taken["id"],
        "closed_reason": None,
        "created": store.now(),
        "ip_address": None,
        "ip_address_location": None,
        "livemode": False,
        "open": True,
        "opened_reason": opened_reason,
        "payment_intent": taken["payment_intent"],
        "reason": opened_reason,
        "session": None,
    }
    return store.put("review", value)


def early_fraud_warning(store: Store, taken: Json, fraud_type: str) -> Json:
    """The card's bank believes that a charge was fraud."""
    value: Json = {
        "id": new_id("issfr"),
        "object": "radar.early_fraud_warning",
        "actionable": not taken["refunded"] and not taken["disputed"],
        "charge": taken["id"],
        "created": store.now(),
        "fraud_type": fraud_type,
        "livemode": False,
        "payment_intent": taken["payment_intent"],
    }
    return store.put("radar.early_fraud_warning", value)


def balance_transaction(store: Store, taken: Json) -> Json:
    """What a charge does to the balance. The fee is 2.9 % and 30 of the smallest unit, a figure like any other."""
    amount = taken["amount_captured"]
    fee = min(amount, amount * 29 // 1000 + 30)
    value: Json = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": store.now() + 2 * 86_400,
        "balance_type": "payments",
        "created": store.now(),
        "currency": taken["currency"],
        "description": taken["description"],
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": taken["currency"],
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ],
        "net": amount - fee,
        "reporting_category": "charge",
        "source": taken["id"],
        "status": "pending",
        "type": "charge" if taken["id"].startswith("ch") else "payment",
    }
    return store.put("balance_transaction", value)


def event(
    store: Store, type_: str, subject: Json, *, previous: Json | None, request_id: str | None, key: str | None
) -> Json:
    """An event about `subject` as it is now."""
    data: Json = {"object": subject}
    if previous is not None:
        data["previous_attributes"] = previous
    value: Json = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": STRIPE_VERSION,
        "created": store.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": request_id, "idempotency_key": key},
        "type": type_,
    }
    return store.put("event", value)
