"""Staff look at disputes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from payments_shared.errors import Refused
from payments_shared.messaging import Outbox
from payments_shared.postgres import acquire
from refunds.handlers.requesting import Listed, blocked_of
from refunds.model.disputes import Dispute, DisputeSearch, DisputeStep, FraudWarning
from refunds.model.requests import Search
from refunds.store import disputes, requests
from refunds.store import refunds as store

MOST_REFUNDS = 100


@dataclass(frozen=True, slots=True)
class DisputeView:
    """A dispute with its history, what card networks warned of its payment, and the newest refunds of its order."""

    dispute: Dispute
    history: Sequence[DisputeStep]
    warnings: Sequence[FraudWarning]
    refunds: Sequence[Listed]


@dataclass(frozen=True, slots=True)
class Looking:
    """Reads; changes nothing."""

    outbox: Outbox

    async def show(self, dispute_id: str) -> DisputeView:
        """One dispute.

        Raises:
            Refused: 404 `not_found`.
        """
        async with acquire(self.outbox.pool) as connection:
            dispute = await disputes.load_dispute(connection, dispute_id)
            if dispute is None:
                raise Refused("not_found", "There is no such dispute.", status=404)
            warnings = await disputes.warnings_of(connection, dispute.payment_intent or "")
            listed: list[Listed] = []
            if dispute.order_id is not None:
                found = await requests.list_requests(connection, Search(order_id=dispute.order_id), MOST_REFUNDS)
                parts = await requests.refunds_of(connection, [request.id for request in found])
                blocked = await blocked_of(connection, [refund for each in parts.values() for refund in each])
                listed = [Listed(request, parts[request.id], blocked) for request in found]
            history = await disputes.list_steps(connection, dispute_id)
        return DisputeView(dispute, history, warnings, listed)

    async def search(
        self, search: DisputeSearch, due_within: timedelta | None, limit: int
    ) -> tuple[list[Dispute], bool]:
        """A page of disputes, the newest first, and whether there are more. `due_within`: evidence is due so soon, and
        none was handed in."""
        async with acquire(self.outbox.pool) as connection:
            if due_within is not None:
                search = replace(search, due_before=await store.business_now(connection) + due_within)
            found = await disputes.list_disputes(connection, search, limit + 1)
        return found[:limit], len(found) > limit
