"""What a coupon takes off, for whom, and what becomes of an order's use of it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from checkout.model.carts import Coupon, PricedLine, Redemption, Standing
from payments_shared.errors import FieldError, Refused
from payments_shared.money import allocate, payable_unit, percentage

_KEPT = frozenset({("honoured", "redeemed"), ("released", "held"), ("redeemed", "held")})


def discount_of(
    coupon: Coupon, standing: Standing, lines: Sequence[PricedLine], *, currency: str, now: datetime
) -> int:
    """What the coupon takes off `lines`, in minor units; never more than what they cost.

    Raises:
        Refused: 422 `coupon_invalid`, or `coupon_not_in_currency` (in others it may apply); 409 `coupon_exhausted`
            (nobody has a use left) or `coupon_used` (this customer has none).
    """
    subtotal = sum(line.amount_minor for line in lines)
    if not coupon.active:
        raise invalid("The coupon is not valid any more.")
    if coupon.valid_from is not None and now < coupon.valid_from:
        raise invalid("The coupon is not valid yet.")
    if coupon.valid_until is not None and now >= coupon.valid_until:
        raise invalid("The coupon has expired.")
    check_minimum(coupon.minimums, subtotal, currency)
    if coupon.first_order_only and standing.has_ordered:
        raise invalid("The coupon is for a first order.")
    if coupon.max_redemptions is not None and coupon.held + coupon.redeemed >= coupon.max_redemptions:
        raise taken("coupon_exhausted", "All uses of the coupon are taken.")
    if coupon.first_order_only and standing.first_order_uses:
        raise taken("coupon_used", "Something is taken off another first order already.")
    if coupon.per_customer is not None and standing.uses >= coupon.per_customer:
        raise taken("coupon_used", "You have used the coupon as often as you may.")
    eligible = sum(line.amount_minor for line in lines if coupon.skus is None or line.sku in coupon.skus)
    if not eligible:
        raise invalid("The coupon is for other products.")
    if coupon.percent_basis_points is not None:
        return _payable(percentage(eligible, coupon.percent_basis_points), currency)
    amount = (coupon.amounts_off or {}).get(currency)
    if amount is None:
        raise _not_in(currency)
    return _payable(min(amount, eligible), currency)


def _payable(discount_minor: int, currency: str) -> int:
    """Where nothing costs less than a unit of several minor ones, nothing is taken off by less either."""
    return discount_minor - discount_minor % payable_unit(currency)


def check_minimum(minimums: Mapping[str, int], subtotal_minor: int, currency: str) -> None:
    """Whether a cart costs enough. Where minimums are named, other currencies have none that would be right.

    Raises:
        Refused: 422 `coupon_invalid` or `coupon_not_in_currency`.
    """
    if minimums and currency not in minimums:
        raise _not_in(currency)
    if subtotal_minor < minimums.get(currency, 0):
        raise invalid("The cart is below the coupon's minimum.")


def check_taxed_alike(coupon: Coupon, lines: Sequence[PricedLine]) -> None:
    """Whether Stripe Tax finds the right tax under the coupon. A session's discount is spread over all lines: taken off
    some of them, it would be untaxed at the rates of the others.

    Raises:
        Refused: 422 `coupon_invalid`.
    """
    is_partial = coupon.skus is not None and any(line.sku not in coupon.skus for line in lines)
    if is_partial and len({line.tax_code for line in lines}) > 1:
        raise invalid("The coupon is for some products, and others in the cart are taxed differently.")


def spread(coupon: Coupon | None, lines: Sequence[PricedLine], discount_minor: int) -> tuple[int, ...]:
    """What `discount_minor` takes off each line: those that the coupon is for, in proportion to what they cost."""
    skus = coupon.skus if coupon else None
    weights = [line.amount_minor if skus is None or line.sku in skus else 0 for line in lines]
    return allocate(discount_minor, weights)


def unknown() -> Refused:
    """The refusal of a code that does not exist."""
    return invalid("There is no such coupon.")


def invalid(detail: str) -> Refused:
    """The refusal of a code that does not apply."""
    return Refused("coupon_invalid", detail, status=422, errors=[FieldError("/coupon", detail, "coupon_invalid")])


def _not_in(currency: str) -> Refused:
    detail = f"The coupon does not apply in {currency.upper()}."
    return Refused("coupon_not_in_currency", detail, status=422, errors=[FieldError("/coupon", detail, "currency")])


def taken(code: str, detail: str) -> Refused:
    """The refusal of a code of which no use is left."""
    return Refused(code, detail, errors=[FieldError("/coupon", detail, code.removeprefix("coupon_"))])


def check_limit(wanted: Coupon, known: Coupon | None) -> None:
    """Whether a coupon may be limited to so many uses: not to fewer than orders hold or have redeemed. Who wants no
    more of it switches it off.

    Raises:
        Refused: 409 `below_used` with `held` and `redeemed`.
    """
    if known is None or wanted.max_redemptions is None or known.held + known.redeemed <= wanted.max_redemptions:
        return
    detail = "The coupon has more uses than this already; switch it off to have no more."
    extra = {"held": known.held, "redeemed": known.redeemed}
    raise Refused("below_used", detail, errors=[FieldError("/max_redemptions", detail, "below_used")], extra=extra)


def next_use(now: str, wanted: str, coupon: Coupon, others: int, *, code_left: bool = True) -> str:
    """The state of a use that is `now` and should be `wanted`: held, redeemed, released or honoured.

    Late money takes its use again if one is free, for anybody and for this customer, who has `others` besides, and of
    the code that he used; else the discount is honoured and marked so.
    """
    if (now, wanted) in _KEPT:
        return now
    if (now, wanted) == ("released", "redeemed"):
        left = code_left and (coupon.max_redemptions is None or coupon.held + coupon.redeemed < coupon.max_redemptions)
        allowed = 1 if coupon.first_order_only else coupon.per_customer
        return "redeemed" if left and (allowed is None or others < allowed) else "honoured"
    return wanted


def uses_beside(redemption: Redemption, uses: Iterable[Redemption]) -> int:
    """How many of `uses` the customer of `redemption` has of the same coupon for other orders."""
    return sum(
        use.order_id != redemption.order_id
        and use.code == redemption.code
        and use.state != "released"
        and _is_same_customer(use, redemption)
        for use in uses
    )


def _is_same_customer(one: Redemption, other: Redemption) -> bool:
    by_email = one.email is not None and one.email == other.email
    return by_email or (one.customer_subject is not None and one.customer_subject == other.customer_subject)


def counted(coupon: Coupon, now: str, after: str) -> Coupon:
    """The coupon once one use of it went from `now` to `after`."""
    return replace(
        coupon,
        held=coupon.held + int(after == "held") - int(now == "held"),
        redeemed=coupon.redeemed + int(after == "redeemed") - int(now == "redeemed"),
    )
