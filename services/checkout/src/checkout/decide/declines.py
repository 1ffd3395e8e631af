"""What a buyer is told when his payment is declined: what he can do, and never what a thief should not learn. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from checkout.model.orders import Order, State


class Problem(StrEnum):
    """What is wrong, by what helps. Stable: shops show texts of their own for these."""

    TRY_AGAIN = "try_again"
    CHECK_DETAILS = "check_details"
    AUTHENTICATE = "authenticate"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_REACHED = "limit_reached"
    CARD_EXPIRED = "card_expired"
    NOT_SUPPORTED = "not_supported"
    USE_ANOTHER_CARD = "use_another_card"
    CONTACT_BANK = "contact_bank"
    DUPLICATE = "duplicate"
    NOT_RECEIVED = "not_received"


@dataclass(frozen=True, slots=True)
class Advice:
    """What the buyer is told. `retryable`: the same card may well work. `alternatives`: what else he can pay with,
    `another_card`, `wallet` or `bank_debit`."""

    code: Problem
    advice: str
    retryable: bool
    alternatives: tuple[str, ...]


PROBLEMS: Final[Mapping[str, Problem]] = {
    "approve_with_id": Problem.TRY_AGAIN,
    "authentication_not_handled": Problem.AUTHENTICATE,
    "authentication_required": Problem.AUTHENTICATE,
    "bank_account_declined": Problem.NOT_RECEIVED,
    "call_issuer": Problem.CONTACT_BANK,
    "card_declined": Problem.CONTACT_BANK,
    "card_not_supported": Problem.NOT_SUPPORTED,
    "card_velocity_exceeded": Problem.LIMIT_REACHED,
    "currency_not_supported": Problem.NOT_SUPPORTED,
    "do_not_honor": Problem.CONTACT_BANK,
    "do_not_try_again": Problem.CONTACT_BANK,
    "duplicate_transaction": Problem.DUPLICATE,
    "expired_card": Problem.CARD_EXPIRED,
    "fraudulent": Problem.CONTACT_BANK,
    "generic_decline": Problem.CONTACT_BANK,
    "highest_risk_level": Problem.CONTACT_BANK,
    "elevated_risk_level": Problem.CONTACT_BANK,
    "incorrect_address": Problem.CHECK_DETAILS,
    "incorrect_cvc": Problem.CHECK_DETAILS,
    "incorrect_number": Problem.CHECK_DETAILS,
    "incorrect_pin": Problem.CHECK_DETAILS,
    "incorrect_zip": Problem.CHECK_DETAILS,
    "insufficient_funds": Problem.INSUFFICIENT_FUNDS,
    "invalid_account": Problem.USE_ANOTHER_CARD,
    "invalid_amount": Problem.LIMIT_REACHED,
    "invalid_cvc": Problem.CHECK_DETAILS,
    "invalid_expiry_month": Problem.CHECK_DETAILS,
    "invalid_expiry_year": Problem.CHECK_DETAILS,
    "invalid_number": Problem.CHECK_DETAILS,
    "invalid_pin": Problem.CHECK_DETAILS,
    "issuer_not_available": Problem.TRY_AGAIN,
    "lost_card": Problem.CONTACT_BANK,
    "merchant_blacklist": Problem.CONTACT_BANK,
    "mobile_device_authentication_required": Problem.AUTHENTICATE,
    "new_account_information_available": Problem.USE_ANOTHER_CARD,
    "no_action_taken": Problem.CONTACT_BANK,
    "not_permitted": Problem.CONTACT_BANK,
    "offline_pin_required": Problem.AUTHENTICATE,
    "online_or_offline_pin_required": Problem.AUTHENTICATE,
    "payment_intent_authentication_failure": Problem.AUTHENTICATE,
    "payment_intent_payment_attempt_expired": Problem.TRY_AGAIN,
    "payment_intent_payment_attempt_failed": Problem.NOT_RECEIVED,
    "payment_method_provider_decline": Problem.USE_ANOTHER_CARD,
    "payment_method_provider_timeout": Problem.TRY_AGAIN,
    "payment_method_not_available": Problem.NOT_SUPPORTED,
    "pickup_card": Problem.CONTACT_BANK,
    "pin_try_exceeded": Problem.USE_ANOTHER_CARD,
    "processing_error": Problem.TRY_AGAIN,
    "reenter_transaction": Problem.TRY_AGAIN,
    "restricted_card": Problem.CONTACT_BANK,
    "revocation_of_all_authorizations": Problem.CONTACT_BANK,
    "revocation_of_authorization": Problem.CONTACT_BANK,
    "security_violation": Problem.CONTACT_BANK,
    "service_not_allowed": Problem.CONTACT_BANK,
    "stolen_card": Problem.CONTACT_BANK,
    "stop_payment_order": Problem.CONTACT_BANK,
    "testmode_decline": Problem.USE_ANOTHER_CARD,
    "transaction_not_allowed": Problem.CONTACT_BANK,
    "try_again_later": Problem.TRY_AGAIN,
    "withdrawal_count_limit_exceeded": Problem.LIMIT_REACHED,
}
"""By Stripe's `decline_code`, else its error `code`. What hints at loss, theft or suspicion reads like any decline.

Source: Stripe, "Decline codes" and "Error codes".
"""

ADVISED: Final[Mapping[str, Problem]] = {
    "confirm_card_data": Problem.CHECK_DETAILS,
    "do_not_try_again": Problem.USE_ANOTHER_CARD,
    "try_again_later": Problem.TRY_AGAIN,
}
"""By Stripe's `advice_code`, for declines whose own code says no more than "no".

Source: Stripe, "Card declines", issuer advice.
"""

SOFT: Final = frozenset(
    {
        "approve_with_id",
        "card_velocity_exceeded",
        "insufficient_funds",
        "issuer_not_available",
        "payment_method_provider_timeout",
        "processing_error",
        "reenter_transaction",
        "try_again_later",
        "withdrawal_count_limit_exceeded",
    }
)
"""Declines after which the same card may be charged again some time later, without its owner.

Source: Stripe, "Decline codes", next steps. Networks forbid to repeat what will never be approved, and bound how often
the rest is (Visa: 15 times in 30 days).
"""

UNSAID: Final = frozenset({"card_declined", "do_not_honor", "generic_decline", "no_action_taken"})
"""Declines that name no reason; only the bank's advice tells whether they pass."""

UNKNOWN: Final = "other"
"""What a decline is counted as whose code is not known here."""

_TEXTS: Final[Mapping[Problem, str]] = {
    Problem.TRY_AGAIN: "Your bank could not answer just now. Please try again in a moment, or pay another way.",
    Problem.CHECK_DETAILS: "Please check the card number, the date, the security code and your address.",
    Problem.AUTHENTICATE: "Your bank wants you to confirm the payment. Please try again and follow its steps.",
    Problem.INSUFFICIENT_FUNDS: "There is not enough money in the account. Please pay with another card.",
    Problem.LIMIT_REACHED: "The card has reached a limit. Please pay with another card, or ask your bank.",
    Problem.CARD_EXPIRED: "The card has expired. Please pay with another one.",
    Problem.NOT_SUPPORTED: "The card does not support this payment. Please pay another way.",
    Problem.USE_ANOTHER_CARD: "This card cannot be used here. Please pay with another one.",
    Problem.CONTACT_BANK: "Your bank declined the payment. Please pay with another card, or ask your bank.",
    Problem.DUPLICATE: "The same payment was made a moment ago. Please look whether it is there before you try again.",
    Problem.NOT_RECEIVED: "The money did not arrive from your bank. Please pay another way.",
}
_ALONE: Final = (
    "Your bank wants you to confirm the payment, which two cards together cannot wait for. Nothing was charged. "
    "Please pay all of it with one card and follow its bank's steps, or pay another way."
)  # the same two cards would be refused again
_RETRYABLE: Final = frozenset(
    {Problem.TRY_AGAIN, Problem.CHECK_DETAILS, Problem.AUTHENTICATE, Problem.INSUFFICIENT_FUNDS, Problem.LIMIT_REACHED}
)
_DEBITS: Final = frozenset({"eur", "usd", "gbp", "cad", "aud"})  # currencies with a bank debit at Stripe
_TOLD_IN: Final = frozenset({State.DECLINED, State.EXPIRED, State.SETTLEMENT_FAILED})


def problem_of(code: str | None, advice_code: str | None = None) -> Problem:
    """What is wrong, from Stripe's codes; one that nobody knows yet is a decline like any other."""
    known = PROBLEMS.get(code or "", Problem.CONTACT_BANK)
    return ADVISED.get(advice_code or "", known) if known is Problem.CONTACT_BANK else known


def known_code(*codes: str | None) -> str:
    """The first of Stripe's codes for one decline that is known here, else `other`: the most telling comes first."""
    return next((code for code in codes if code is not None and code in PROBLEMS), UNKNOWN)


def is_soft(code: str | None, advice_code: str | None) -> bool:
    """Whether a card that was declined so may be charged again by itself. The bank's advice comes first."""
    if advice_code in ("do_not_try_again", "confirm_card_data"):
        return False
    return code in SOFT or (advice_code == "try_again_later" and (code or "card_declined") in UNSAID)


def advice_for(order: Order) -> Advice | None:
    """What the buyer of an order that nobody has paid is told; None where no payment failed."""
    if order.state not in _TOLD_IN:
        return None
    if order.payment_problem is not None:
        told = advice_on(Problem(order.payment_problem), order.currency)
        asks_in_vain = order.split is not None and told.code is Problem.AUTHENTICATE
        return replace(told, advice=_ALONE, retryable=False) if asks_in_vain else told
    return advice_on(Problem.NOT_RECEIVED, order.currency) if order.state is State.SETTLEMENT_FAILED else None


def advice_on(problem: Problem, currency: str) -> Advice:
    """The words for `problem`, and what else can be paid with in `currency`."""
    alternatives = ("another_card", "wallet", *(("bank_debit",) if currency in _DEBITS else ()))
    if problem is Problem.NOT_RECEIVED:
        alternatives = ("another_card", "wallet")
    return Advice(problem, _TEXTS[problem], problem in _RETRYABLE, alternatives)
