"""Stripe events of about 2 KB, each with ids of its own: a completed Checkout Session, a succeeded PaymentIntent."""

import hashlib
import json
from typing import Any


def stripe_event(run: str, number: int, *, created: int) -> bytes:
    """Event `number` of `run`; the same arguments give the same bytes."""
    mark = _mark(run, number)
    return _event(mark, "checkout.session.completed", _session(mark, created), created)


def intent_event(run: str, number: int, *, created: int, kind: str = "payment_intent.succeeded") -> bytes:
    """The same for an intent. `kind` gives it another type: for who only stores an event, its object is no matter."""
    mark = _mark(run, number)
    return _event(mark, kind, intent(f"pi_3{mark[:23]}", f"ord_{mark[:32]}", created), created)


def _mark(run: str, number: int) -> str:
    return hashlib.sha256(f"{run}/{number}".encode()).hexdigest()


def _event(mark: str, kind: str, subject: dict[str, Any], created: int) -> bytes:  # Any: JSON
    event = {
        "id": f"evt_1{mark[:23]}",
        "object": "event",
        "api_version": "2026-08-26.dahlia",
        "created": created,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
    return json.dumps(event, indent=2).encode()  # as Stripe sends them


def intent(intent_id: str, order: str, created: int) -> dict[str, Any]:  # Any: JSON
    """A PaymentIntent whose money is here."""
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": 5400,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 5400,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{'0' * 24}",
        "confirmation_method": "automatic",
        "created": created,
        "currency": "usd",
        "customer": None,
        "description": f"Order {order}",
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {"order_id": order},
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
        "receipt_email": "ada@example.com",
        "review": None,
        "setup_future_usage": None,
        "shipping": {
            "address": {
                "city": "London",
                "country": "GB",
                "line1": "12 St James's Square",
                "line2": None,
                "postal_code": "SW1Y 4JH",
                "state": None,
            },
            "carrier": None,
            "name": "Ada Lovelace",
            "phone": None,
            "tracking_number": None,
        },
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


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
