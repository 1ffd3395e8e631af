"""Store credit pays for orders: how much of it, from which grants, and what is left to ask of Stripe. Pure.

Credit is a way to pay and no discount: an order's prices, tax and total are the same with it. Only what Stripe is asked
for is less. Stripe knows no such thing, so there it is taken off the lines, and where it reaches further off each way
to ship, which leaves exactly what is due whichever way the buyer chooses.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from checkout.model.carts import Quote
from checkout.model.credit import Balance, Book, CreditEntry, CreditState, CreditUse, Grant, GrantLimits
from checkout.model.delivery import Recipient, TaxSource
from checkout.model.orders import Order
from payments_shared.errors import FieldError, Refused
from payments_shared.identity import mailboxes_of
from payments_shared.money import MINIMUM_MINOR, payable_unit

GONE: Final = "store_credit_gone"
"""Why an order is ended whose late payment finds its credit used by others."""

ADMINISTRATOR_WINDOW: Final = timedelta(days=1)
POINTER: Final = "/use_store_credit"
NAME_MAX: Final = 40  # of a coupon at Stripe


@dataclass(frozen=True, slots=True)
class Taken:
    """How credit is taken off what Stripe is asked for: off the lines of the session, and off each way to ship."""

    lines_minor: int
    shipping_minor: int


@dataclass(frozen=True, slots=True)
class Need:
    """What an order is to be paid with of the credit of `subject`."""

    order_id: UUID
    subject: str
    amount_minor: int
    currency: str


# -- how much ----------------------------------------------------------------------------------------------------------


def smallest_charge(currency: str) -> int:
    """The least that Stripe charges, in amounts that can be paid."""
    least, unit = MINIMUM_MINOR.get(currency, 1), payable_unit(currency)
    return -(-least // unit) * unit


def usable(total_minor: int, available_minor: int, currency: str, *, has_page: bool) -> int:
    """How much of the available credit pays for a total that can be charged. What is left is nothing, or can be
    charged itself. `has_page`: an address is typed on Stripe's page, which opens for what is due alone."""
    credit = min(total_minor, available_minor)
    credit -= credit % payable_unit(currency)
    if credit == total_minor and not has_page:
        return credit
    return max(0, min(credit, total_minor - smallest_charge(currency)))


def with_credit(quote: Quote, grants: Iterable[Grant], now: datetime, *, recipient: Recipient | None = None) -> Quote:
    """The quote, paid with as much of `grants`, all of one customer, as can be used for it. Without a `recipient` where
    its goods go is typed on a page.

    Raises:
        Refused: 409 `store_credit_not_offered`: Stripe Tax finds the tax of what is left on the page, and would find
            too little.
    """
    if quote.covered:
        return quote
    if quote.tax.source is TaxSource.STRIPE:
        detail = "Stripe finds the tax on its page, and would take credit for a discount; pay without it."
        raise Refused("store_credit_not_offered", detail, errors=[FieldError(POINTER, detail, "not_offered")])
    available = free_minor(grants, quote.currency, now)
    has_page = quote.delivery is not None and recipient is None
    return replace(quote, store_credit_minor=usable(quote.total_minor, available, quote.currency, has_page=has_page))


def without_account() -> Refused:
    """422: a guest has no credit."""
    detail = "Store credit is for customers who are signed in."
    return Refused("sign_in_needed", detail, status=422, errors=[FieldError(POINTER, detail, "sign_in_needed")])


# -- what Stripe is asked for ------------------------------------------------------------------------------------------


def taken_off(credit_minor: int, lines_minor: int) -> Taken:
    """How `credit_minor` is taken off a session whose lines come to `lines_minor`, their discount taken off."""
    on_lines = min(credit_minor, lines_minor)
    return Taken(on_lines, credit_minor - on_lines)


def off_quote(quote: Quote) -> Taken:
    """As above, for an order that is being placed."""
    lines = quote.subtotal_minor - quote.discount_minor + quote.tax.added_minor
    return taken_off(quote.store_credit_minor, lines)


def off_order(order: Order) -> Taken:
    """As above, for an order as it is stored, however it was paid since."""
    lines = order.subtotal_minor - order.discount_minor + own_tax(order.tax)
    return taken_off(order.store_credit_minor, lines)


def own_tax(tax: Mapping[str, Any] | None) -> int:  # Any: jsonb
    """The tax by the shop's own table, which is lines of the session."""
    kept = tax or {}
    return int(kept.get("added_minor", 0)) if kept.get("source") == TaxSource.TABLE else 0


def discount_at_stripe(order: Order) -> tuple[int, str]:
    """What one coupon at Stripe takes off the lines of an order's session, and what it is called there."""
    off = off_order(order).lines_minor
    names = [order.coupon or "Discount"] if order.discount_minor else []
    return order.discount_minor + off, ", ".join([*names, *(["Store credit"] if off else [])])[:NAME_MAX]


# -- from which grants -------------------------------------------------------------------------------------------------


def free_minor(grants: Iterable[Grant], currency: str, now: datetime) -> int:
    """What may be reserved of grants in a currency."""
    return sum(grant.free_minor(now) for grant in grants if grant.currency == currency)


def _in_order(grants: Iterable[Grant]) -> list[Grant]:
    """What expires soonest is used first."""
    return sorted(grants, key=lambda grant: (grant.expires_at is None, grant.expires_at or grant.created_at, grant.id))


def spread(grants: Iterable[Grant], need: Need, now: datetime) -> tuple[tuple[Grant, int], ...]:
    """How much of which of `grants`, which have as much as is needed."""
    parts, left = [], need.amount_minor
    for grant in _in_order(grants):
        part = min(left, grant.free_minor(now)) if grant.currency == need.currency else 0
        if part:
            parts.append((grant, part))
            left -= part
    assert left == 0  # noqa: S101 - as much was there under the same lock
    return tuple(parts)


def reserved(book: Book, need: Need, now: datetime) -> Book:
    """The book once a new order keeps what it needs."""
    for grant, part in spread(_of(book, need.subject), need, now):
        book = _moved(book, CreditUse(need.order_id, grant.id, part, CreditState.RELEASED), CreditState.RESERVED)
    return book


def has_again(book: Book, order: Order, now: datetime) -> bool:
    """Whether what an order had reserved, and gave back, is there to be used by it once more."""
    return free_minor(_of(book, order.customer_subject), order.currency, now) >= order.store_credit_minor


def moved(book: Book, order: Order, now: datetime) -> Book:
    """The book once the order's use of credit is as the order says. What was released is taken anew."""
    state = CreditState(order.store_credit_state or CreditState.RELEASED)
    if state is CreditState.SPENT and not _kept(book, order.id):
        need = Need(order.id, order.customer_subject or "", order.store_credit_minor, order.currency)
        book = reserved(book, need, now)
    for use in _kept(book, order.id):
        if use.state is not state:
            book = _moved(book, use, state)
    return book


def _kept(book: Book, order_id: UUID) -> list[CreditUse]:
    return [use for use in book.uses.values() if use.order_id == order_id and use.state is not CreditState.RELEASED]


def expired(book: Book) -> Book:
    """The book once what is left of its grants, whose time has passed, is lost."""
    grants = {
        grant.id: replace(grant, expired_minor=grant.expired_minor + grant.left_minor) for grant in book.grants.values()
    }
    lost = [CreditEntry("expired", grant.id, None, grant.left_minor) for grant in book.grants.values()]
    return replace(book, grants=MappingProxyType(grants), entries=(*book.entries, *lost))


def _of(book: Book, subject: str | None) -> list[Grant]:
    return [grant for grant in book.grants.values() if grant.customer_subject == subject]


def _moved(book: Book, use: CreditUse, state: CreditState) -> Book:
    grant, amount = book.grants[use.grant_id], use.amount_minor
    change = dict.fromkeys(("reserved", "spent"), 0)
    for one, sign in ((use.state, -1), (state, 1)):
        if one is not CreditState.RELEASED:
            change[one] += sign * amount
    after = replace(
        grant,
        reserved_minor=grant.reserved_minor + change["reserved"],
        spent_minor=grant.spent_minor + change["spent"],
    )
    key = (use.order_id, use.grant_id)
    return Book(
        grants=MappingProxyType({**book.grants, grant.id: after}),
        uses=MappingProxyType({**book.uses, key: replace(use, state=state)}),
        entries=(*book.entries, CreditEntry(state.value, grant.id, use.order_id, amount)),
    )


# -- what people see ---------------------------------------------------------------------------------------------------


def balances(grants: Sequence[Grant], now: datetime) -> tuple[Balance, ...]:
    """A customer's credit, by currency."""
    currencies = sorted({grant.currency for grant in grants})
    return tuple(
        _balance([one for one in grants if one.currency == currency], currency, now) for currency in currencies
    )


def _balance(grants: Sequence[Grant], currency: str, now: datetime) -> Balance:
    dated = [grant for grant in grants if grant.expires_at is not None and grant.free_minor(now)]
    soonest = min((grant.expires_at for grant in dated if grant.expires_at is not None), default=None)
    return Balance(
        currency,
        available_minor=sum(grant.free_minor(now) for grant in grants),
        reserved_minor=sum(map(attrgetter("reserved_minor"), grants)),
        expiring_minor=sum(one.free_minor(now) for one in dated if one.expires_at == soonest) if soonest else None,
        expires_at=soonest,
    )


def check_grant(grant: Grant, now: datetime) -> None:
    """Whether a grant can be made.

    Raises:
        Refused: 422 `expires_in_the_past`.
    """
    if grant.expires_at is not None and grant.expires_at <= now:
        detail = "It would have expired already."
        raise Refused(
            "expires_in_the_past", detail, status=422, errors=[FieldError("/expires_at", detail, "expires_in_the_past")]
        )


def check_giver(grant: Grant, giver_email: str | None, account_email: str | None) -> None:
    """Whether somebody else is given it than who gives, however either is written: `giver_email` is the address in the
    giver's token, `account_email` the customer's, None where he is not known by one.

    Raises:
        Refused: 403 `own_account`.
    """
    giver = mailboxes_of(grant.granted_by, giver_email)
    if not giver.isdisjoint(mailboxes_of(grant.customer_subject, account_email)):
        raise Refused("own_account", "Somebody else must give it to you.", status=403)


def check_limits(grant: Grant, given_minor: int, limits: GrantLimits) -> None:
    """Whether an administrator may give as much, who gave `given_minor` in its currency within `ADMINISTRATOR_WINDOW`.

    Raises:
        Refused: 403 `over_grant_limit` with `limit_minor`; 403 `over_daily_limit` with `given_minor` as well.
    """
    limit = limits.per_grant.get(grant.currency, 0)
    if grant.amount_minor > limit:
        detail = f"One grant is at most {limit} minor units of {grant.currency}."
        raise Refused("over_grant_limit", detail, status=403, extra={"limit_minor": limit})
    limit = limits.per_admin_day.get(grant.currency, 0)
    if given_minor + grant.amount_minor > limit:
        detail = f"Within a day you may give {limit} minor units of {grant.currency}, and gave {given_minor} already."
        extra = {"limit_minor": limit, "given_minor": given_minor}
        raise Refused("over_daily_limit", detail, status=403, extra=extra)


def check_same(known: Grant, wanted: Grant) -> None:
    """Whether what is given under a reference that is known is what was given under it.

    Raises:
        Refused: 409 `reference_in_use`.
    """

    def what(grant: Grant) -> tuple[object, ...]:
        return grant.customer_subject, grant.currency, grant.amount_minor, grant.expires_at

    if what(known) != what(wanted):
        raise Refused("reference_in_use", "Something else was given under this reference.")
