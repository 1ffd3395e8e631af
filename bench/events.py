"""Stripe events of about 2 KB, each with ids of its own: a completed Checkout Session."""

import hashlib
import json
from typing import Any


def stripe_event(run: str, number: int, *, created: int) -> bytes:
    """Event `number` of `run`; the same arguments give the same bytes."""
    mark = hashlib.sha256(f"{run}/{number}".encode()).hexdigest()
    event = {
        "id": f"evt_1{mark[:23]}",
        "object": "event",
        "api_version": "2026-08-26.dahlia",
        "created": created,
        "data": {"object": _session(mark, created)},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "checkout.session.completed",
    }
    return json.dumps(event, indent=2).encode()  # as Stripe sends them


def _session(mark: str, created: int) -> dict[str, Any]:  # Any: JSON
    order = f"ord_{mark[:32]}"
    return {
        "id": f"cs_test_{mark}",
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": 5400,
        "amount_total": 5400,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": f"https://shop.example/cart?order_id={order}",
        "client_reference_id": order,
        "consent": None,
        "created": created,
        "currency": "usd",
        "customer": None,
        "customer_creation": "if_required",
        "customer_details": {
            "address": {
                "city": "London",
                "country": "GB",
                "line1": "12 St James's Square",
                "line2": None,
                "postal_code": "SW1Y 4JH",
                "state": None,
            },
            "email": "ada@example.com",
            "name": "Ada Lovelace",
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "customer_email": "ada@example.com",
        "expires_at": created + 3600,
        "invoice": None,
        "livemode": False,
        "metadata": {"order_id": order},
        "mode": "payment",
        "payment_intent": f"pi_3{mark[:23]}",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "paid",
        "status": "complete",
        "success_url": f"https://shop.example/success?order_id={order}",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted",
        "url": None,
    }
