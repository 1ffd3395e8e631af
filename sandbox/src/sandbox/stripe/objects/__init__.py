"""Stripe's objects, with every field that its specification requires."""

from sandbox.stripe.objects.afterwards import (
    EVIDENCE,
    asked_by_mail,
    balance_transaction,
    dispute,
    early_fraud_warning,
    event,
    file,
    refund,
    review,
)
from sandbox.stripe.objects.payments import EXPIRY, card_options, charge, number_of, payment_intent, payment_method
from sandbox.stripe.objects.sessions import line_item, session
from sandbox.stripe.objects.setups import setup_intent

__all__ = [
    "EVIDENCE",
    "EXPIRY",
    "asked_by_mail",
    "balance_transaction",
    "card_options",
    "charge",
    "dispute",
    "early_fraud_warning",
    "event",
    "file",
    "line_item",
    "number_of",
    "payment_intent",
    "payment_method",
    "refund",
    "review",
    "session",
    "setup_intent",
]
