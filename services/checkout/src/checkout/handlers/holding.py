"""Orders of which nothing may leave: somebody must decide."""

from dataclasses import dataclass
from typing import Final

from checkout.decide.declines import PROBLEMS, UNKNOWN
from checkout.decide.risks import OUTCOMES
from checkout.model.risks import Held
from checkout.store import risks as store
from payments_shared import metrics
from payments_shared.postgres import Pool, acquire
from payments_shared.sweeper import Round

REASONS: Final = ("amount_mismatch", "currency_mismatch", "review", "review_rejected", "early_fraud_warning")


@dataclass(frozen=True, slots=True)
class Holding:
    """One sweep, and what is measured of gates."""

    pool: Pool

    def begin(self) -> None:
        """Show each decision that a gate can come to from 0 on, so that the first of its kind is seen to happen."""
        for gate, outcomes in OUTCOMES.items():
            metrics.from_zero(metrics.RISK_DECISIONS, gate=[gate], outcome=outcomes)
        metrics.from_zero(metrics.RISK_DECISIONS, gate=["openings"], outcome=["refused"])
        metrics.from_zero(metrics.PAYMENT_DECLINES, method=["card"], code=[*PROBLEMS, UNKNOWN])

    async def measure(self) -> Round:
        """Sweep: set the gauges of held orders."""
        async with acquire(self.pool) as connection:
            found = {held.held_reason: held for held in await store.measure_held(connection)}
        for reason in REASONS:
            held = found.get(reason, Held(reason, 0, 0.0))
            metrics.ORDERS_HELD.labels(reason).set(held.orders)
            metrics.ORDERS_UNDECIDED_SECONDS.labels(reason).set(held.undecided_seconds)
        return Round()
