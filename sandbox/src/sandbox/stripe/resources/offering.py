"""Which payment methods a session offers, where its buyer comes from, and whether cards are to be confirmed."""

from typing import Final

from sandbox.stripe import params
from sandbox.stripe.errors import invalid
from sandbox.stripe.resources.lists import Given
from sandbox.stripe.store import Json

KINDS: Final = ("card", "sepa_debit")
SECURE: Final = ("any", "automatic", "challenge")
ORIGINS: Final = ("mobile_app", "web")


def offered(given: Given) -> Json:
    """What a session keeps of these wishes."""
    origin = given.get("origin_context")
    if origin not in (None, *ORIGINS):
        raise invalid(f"Invalid origin_context: must be one of {', '.join(ORIGINS)}", param="origin_context")
    wallets = params.group(given, "wallet_options")
    params.only(wallets, ("link",), "wallet_options")
    kept: Json = {
        "origin_context": origin,
        "payment_method_options": card_options(given),
        "wallet_options": wallets or None,
    }
    if "excluded_payment_method_types" not in given:
        return kept
    if "payment_method_types" in given:
        raise invalid("You cannot pass `excluded_payment_method_types` with `payment_method_types`.")
    excluded = list(given["excluded_payment_method_types"])
    left = [kind for kind in KINDS if kind not in excluded]
    if not left:
        raise invalid(
            "No valid payment method types for this Checkout Session. Please ensure that you have activated payment "
            "methods compatible with your chosen currency in your dashboard.",
            param="excluded_payment_method_types",
        )
    return kept | {"excluded_payment_method_types": excluded, "payment_method_types": left}


def card_options(given: Given) -> Json:
    """Whether whoever pays by card must confirm."""
    options = params.group(given, "payment_method_options")
    params.only(options, ("card",), "payment_method_options")
    card = params.group(options, "card")
    params.only(card, ("request_three_d_secure",), "payment_method_options[card]")
    if not card:
        return {}
    wanted = card["request_three_d_secure"]
    if wanted not in SECURE:
        where = "payment_method_options[card][request_three_d_secure]"
        raise invalid(f"Invalid request_three_d_secure: must be one of {', '.join(SECURE)}", param=where)
    return {"card": {"request_three_d_secure": wanted}}
