"""How long payments can be refunded. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from payments_shared.errors import FieldError, Refused
from refunds.model.patterns import Charge

REFUNDABLE_DAYS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "acss_debit": 180,
        "affirm": 120,
        "afterpay_clearpay": 120,
        "alipay": 90,
        "amazon_pay": 90,
        "au_becs_debit": 90,
        "bacs_debit": 180,
        "bancontact": 180,
        "eps": 180,
        "fpx": 60,
        "giropay": 180,
        "grabpay": 90,
        "ideal": 180,
        "klarna": 180,
        "p24": 180,
        "paypal": 180,
        "pix": 90,
        "sepa_debit": 180,
        "sofort": 180,
        "us_bank_account": 180,
        "wechat_pay": 180,
    }
)
"""Days after the payment in which Stripe refunds it, by the type of the payment method. Stripe names none for cards,
and a method that is not here is not refused here: Stripe itself says no.

Source: Stripe documentation, the section "Refunds" on the page of each payment method, such as
https://docs.stripe.com/payments/amazon-pay and https://docs.stripe.com/payments/grabpay.
"""


def refundable_until(charge: Charge) -> datetime | None:
    """The last moment at which Stripe refunds a charge; None: it names none."""
    days = REFUNDABLE_DAYS.get(charge.method_type or "")
    return None if days is None else charge.charged_at + timedelta(days=days)


def admit(charges: Sequence[Charge], payment_intents: Collection[str], now: datetime) -> None:
    """Let payments be refunded that Stripe still refunds.

    Raises:
        Refused: 422 `too_old_for_method` with `refundable_until`, `method_type` and `payment_intent`: store credit is
            still possible.
    """
    for charge in charges:
        until = refundable_until(charge)
        if charge.payment_intent in payment_intents and until is not None and now > until:
            detail = (
                f"Payments by {charge.method_type} are refunded for {REFUNDABLE_DAYS[charge.method_type or '']} days."
            )
            raise Refused(
                "too_old_for_method",
                detail,
                status=422,
                errors=[FieldError("/destination", detail, "too_old_for_method")],
                extra={
                    "refundable_until": until.astimezone(UTC).isoformat().replace("+00:00", "Z"),
                    "method_type": charge.method_type,
                    "payment_intent": charge.payment_intent,
                },
            )
