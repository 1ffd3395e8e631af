"""Test cards, accounts and tokens: what each of them does."""

from typing import Final

CARDS: Final[dict[str, tuple[str, str | None]]] = {
    "4242424242424242": ("succeed", None),
    "4000056655665556": ("succeed", None),
    "5555555555554444": ("succeed", None),
    "4000000000000002": ("decline", "generic_decline"),
    "4000000000009995": ("decline", "insufficient_funds"),
    "4000000000009987": ("decline", "lost_card"),
    "4000000000009979": ("decline", "stolen_card"),
    "4000000000000069": ("decline", "expired_card"),
    "4000000000000341": ("decline_charge", "generic_decline"),
    "4000000000000127": ("decline", "incorrect_cvc"),
    "4000000000000119": ("decline", "processing_error"),
    "4000002500003155": ("challenge", None),
    "4000002760003184": ("challenge", None),
    "4000000000003220": ("challenge", None),
    "4000000000007726": ("succeed", "refund_pending"),
    "4000000000005126": ("succeed", "refund_fails"),
    "4000000000990095": ("succeed", "refund_lacks_funds"),
    "4000000000990103": ("succeed", "refund_asks_buyer"),
    "4000000000000259": ("succeed", "dispute"),
    "4000000000001976": ("succeed", "inquiry"),
    "4000000000009235": ("succeed", "review"),
    "4000000000005423": ("succeed", "warning"),
    "4100000000000019": ("decline", "fraudulent"),
}
"""Those that end in 990095 and 990103 are the simulator's own: Stripe has none whose refunds wait for funds or a buyer."""
LATER: Final[dict[str, tuple[str | None, ...]]] = {
    "4000000000990012": ("insufficient_funds", None),
    "4000000000990020": ("insufficient_funds", "insufficient_funds", None),
    "4000000000990038": ("processing_error", "lost_card"),
    "4000000000990046": ("insufficient_funds", "authentication_required"),
    "4000000000990053": ("insufficient_funds",),
    "4000000000990061": ("do_not_honor", None),
    "4000000000990079": ("do_not_honor",),
    "4000000000990087": ("insufficient_funds",),
}
"""Cards that can be saved, with how the bank declines each attempt of one intent, the last word for all that follow; None:
it says yes. Stripe has none whose answer changes, so these numbers are the simulator's own."""
ADVICE: Final = {
    "4000000000990012": "try_again_later",
    "4000000000990061": "try_again_later",
    "4000000000990079": "do_not_try_again",
    "4000000000990087": "do_not_try_again",
}
"""What the bank advises with each decline.

Source: Stripe API, PaymentIntent, "last_payment_error.advice_code".
"""
RISKS: Final = {
    "4000000000009235": ("elevated", 67),
    "4000000000004954": ("highest", 87),
    "4100000000000019": ("highest", 91),
}
"""Radar's level and score of cards that are not as good as others."""
BLOCKED: Final = frozenset({"4100000000000019"})
DECLINE_CODES: Final = {
    "authentication_required": "authentication_required",
    "expired_card": "expired_card",
    "incorrect_cvc": "incorrect_cvc",
    "processing_error": "processing_error",
}
READY_ONCE_SAVED: Final = frozenset({"4000002500003155"})  # asks for its owner only until it was set up with him
BAD_IBANS: Final = frozenset({"IT60X0542811101000000123456", "AT861904300235473202", "DE62370400440532013001"})
TOKENS: Final = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_pendingRefund": "4000000000007726",
    "pm_card_refundFail": "4000000000005126",
    "pm_card_refundLacksFunds": "4000000000990095",
    "pm_card_refundAsksBuyer": "4000000000990103",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createDisputeInquiry": "4000000000001976",
    "tok_visa": "4242424242424242",
    "tok_chargeDeclined": "4000000000000002",
    "tok_visa_chargeDeclined": "4000000000000002",
}


def behaviour(number: str) -> tuple[str, str | None]:
    """What an attempt with this number does, and its decline code or later quirk. `decline_charge` can be saved, and is
    declined when it is to pay."""
    return CARDS.get(number, ("succeed", None))


def declined_later(number: str, tries: int) -> str | None:
    """How the bank of a card in `LATER` declines an attempt after `tries` others with the same intent; None: it does not."""
    codes = LATER[number]
    return codes[min(tries, len(codes) - 1)]
