"""What a promotion code makes of the coupon that it stands for. Pure; the rules of coupons are those of `coupons`."""

from dataclasses import replace
from datetime import datetime

from checkout.decide.coupons import invalid, taken
from checkout.model.carts import Coupon, Promotion
from payments_shared.errors import Refused


def narrowed(coupon: Coupon, promotion: Promotion | None) -> Coupon:
    """The coupon as it is under the code. What a cart must cost, and who may use the code, is checked beside it."""
    if promotion is None:
        return coupon
    return replace(
        coupon,
        active=coupon.active and promotion.active,
        first_order_only=coupon.first_order_only or promotion.first_order_only,
        valid_until=_sooner(coupon.valid_until, promotion.valid_until),
    )


def address_of(*, account_email: str | None, email: str) -> str:
    """The address by which a code is a buyer's: that of his account, whatever he types; of a guest, or where his token
    names none, what he types. The code was sent to it, and mails about the order go there."""
    return account_email or email


def check(promotion: Promotion | None, *, email: str, customer_subject: str | None) -> None:
    """Whether the customer with the address `email`, as `address_of` says, may use the code, and whether a use of it is
    left.

    Raises:
        Refused: 422 `coupon_invalid`, 409 `coupon_exhausted`.
    """
    if promotion is None:
        return
    owners = (promotion.email, promotion.customer_subject)
    if owners != (None, None) and not _owns(promotion, email, customer_subject):
        raise invalid("The code is somebody else's.")
    if not has_use_left(promotion):
        raise taken("coupon_exhausted", "All uses of the code are taken.")


def has_use_left(promotion: Promotion | None) -> bool:
    """Whether the code may be used once more."""
    return promotion is None or promotion.max_redemptions is None or promotion.uses < promotion.max_redemptions


def counted(promotion: Promotion, before: str, after: str) -> Promotion:
    """The code once one use of it went from `before` to `after`."""
    counts = ("held", "redeemed")
    return replace(promotion, uses=promotion.uses + int(after in counts) - int(before in counts))


def clash(code: str) -> Refused:
    """The refusal of a code that is one of the other kind: whoever types it must get one thing."""
    return Refused("code_in_use", f"{code} is the code of a coupon or stands for one already.")


def _owns(promotion: Promotion, email: str, customer_subject: str | None) -> bool:
    by_subject = promotion.customer_subject is not None and promotion.customer_subject == customer_subject
    return by_subject or (promotion.email is not None and promotion.email == email.lower())


def _sooner(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((time for time in (one, other) if time is not None), default=None)
