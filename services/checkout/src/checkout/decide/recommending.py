"""Which saved method is the likeliest to be charged with success. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from checkout.decide.charging import DEBITED_IN
from checkout.decide.methods import Shown
from checkout.model.customers import LastCharge

NEVER: Final = datetime.min.replace(tzinfo=UTC)


def recommended(methods: Sequence[Shown], charges: Mapping[str, LastCharge], currency: str | None) -> tuple[Shown, ...]:
    """The same methods with one at most recommended: that which was charged last with success, else the default, else
    any that was never charged. None that has expired, whose last charge failed, or that does not pay in `currency`.

    `charges` are the last ones by method; one that is not in it was never charged.
    """
    fit = [one for one in methods if _fits(one, charges.get(one.saved.method.id), currency)]
    best = max(fit, key=lambda one: _rank(one, charges.get(one.saved.method.id)), default=None)
    return tuple(replace(one, recommended=one is best) for one in methods)


def _fits(one: Shown, charge: LastCharge | None, currency: str | None) -> bool:
    debited = DEBITED_IN.get(one.saved.method.type or "")
    pays = currency is None or debited is None or currency in debited
    return pays and not one.expired and (charge is None or charge.succeeded)


def _rank(one: Shown, charge: LastCharge | None) -> tuple[datetime, bool]:
    return charge.at if charge is not None else NEVER, one.default
