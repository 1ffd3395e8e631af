"""What a page at Stripe offers and how long it lives. Pure.

Source: Stripe API, "Create a Checkout Session".
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from checkout.model.carts import Quote
from checkout.model.delivery import Destination
from checkout.model.options import Device, PageRules, PageWish
from payments_shared.errors import FieldError, Refused

_KINDS: Final = (
    "acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit bancontact billie bizum blik "
    "boleto card cashapp crypto customer_balance eps fpx giropay grabpay ideal kakao_pay klarna konbini kr_card mb_way "
    "mobilepay multibanco naver_pay nz_bank_account oxxo p24 pay_by_bank payco paynow paypal payto pix promptpay "
    "revolut_pay samsung_pay satispay scalapay sepa_debit sofort sunbit swish twint upi us_bank_account wechat_pay zip"
)
PAYMENT_METHODS: Final = frozenset(_KINDS.split())
"""All kinds that a page can leave out, `excluded_payment_method_types`, at the version that is sent."""

SECONDS_MIN: Final = 2700
"""Stripe takes half an hour; a hold at inventory that lives so briefly would end while somebody types."""
SECONDS_MAX: Final = 86_000  # Stripe takes a day from when it is asked, which may be a little later
METADATA_MAX: Final = 40
METADATA_KEY: Final = r"^[A-Za-z0-9_.:-]{1,40}$"
METADATA_VALUE_MAX: Final = 500
ORIGINS: Final = {Device.WEB: "web", Device.MOBILE: "mobile_app"}
OWN_METADATA: Final = frozenset({"order_id"})


def end_of(wish: PageWish, rules: PageRules, now: datetime) -> datetime:
    """When the page ends, in whole seconds. A buyer with a telephone pays at once or not at all.

    Raises:
        Refused: 422 `expiry_out_of_range`.
    """
    if wish.expires_at is not None:
        end = wish.expires_at
        pointer = "/expires_at"
    elif wish.expires_in_minutes is not None:
        end, pointer = now + timedelta(minutes=wish.expires_in_minutes), "/expires_in_minutes"
    else:
        seconds = SECONDS_MIN if wish.device is Device.MOBILE else rules.session_seconds
        return (now + timedelta(seconds=seconds)).replace(microsecond=0)
    if not SECONDS_MIN <= (end - now).total_seconds() <= SECONDS_MAX:
        detail = f"A page lives for {SECONDS_MIN // 60} to {SECONDS_MAX // 60} minutes."
        raise Refused("expiry_out_of_range", detail, status=422, errors=[FieldError(pointer, detail, "range")])
    return end.replace(microsecond=0)


def page_params(
    wish: PageWish, quote: Quote, rules: PageRules, destination: Destination
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """What is asked of the page. Nothing that Stripe chooses better by itself is named."""
    params: dict[str, Any] = {}
    if wish.payment_methods is not None:
        params["excluded_payment_method_types"] = sorted(PAYMENT_METHODS - set(wish.payment_methods))
    if wish.device is not None:
        params["origin_context"] = ORIGINS[wish.device]
        if wish.device is Device.MOBILE:
            params["wallet_options"] = {"link": {"display": "auto"}}
    return params | secured_params(quote, rules, destination)


def secured_params(
    quote: Quote, rules: PageRules, destination: Destination
) -> dict[str, Any]:  # Any: Stripe's parameters, nested
    """3-D Secure, where the amount or the country demands it; of a page as of an intent."""
    if not is_secured(quote, rules, destination):
        return {}
    return {"payment_method_options": {"card": {"request_three_d_secure": "any"}}}


def wish_again(request: Mapping[str, Any]) -> PageWish:  # Any: Stripe's parameters, nested
    """What was said of the page when it was asked for with `request`; how long it shall live is said anew."""
    excluded = request.get("excluded_payment_method_types")
    offered = None if excluded is None else sorted(PAYMENT_METHODS - set(excluded))
    device = next((one for one, name in ORIGINS.items() if name == request.get("origin_context")), None)
    return PageWish(payment_methods=offered, device=device, metadata=shops_own(request.get("metadata", {})))


def shops_own(metadata: Mapping[str, str]) -> dict[str, str]:
    """What the shop gave, among what a session carries."""
    return {key: value for key, value in metadata.items() if key not in OWN_METADATA}


def is_secured(quote: Quote, rules: PageRules, destination: Destination) -> bool:
    """Whether whoever pays by card must confirm with 3-D Secure, where his bank can ask. Counts what he may come to by
    his choice of shipping."""
    above = rules.secured_above.get(quote.currency)
    return (above is not None and quote.largest_minor >= above) or destination.country in rules.secured_countries
