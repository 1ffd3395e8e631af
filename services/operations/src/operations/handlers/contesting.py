"""Disputes, as refunds keeps them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from operations.gateway.staff import Json, Staff
from operations.handlers.agreeing import Page
from operations.model.people import Access

PATH: Final = "/api/payments/disputes"
PAGE: Final = 50
DUE_PAGES: Final = 10
DUE_PAGE: Final = 100
YEAR_HOURS: Final = 24 * 365


@dataclass(frozen=True, slots=True)
class Due:
    """Disputes that wait for evidence, the soonest due first. `more`: there are others than these."""

    rows: list[Json]
    more: bool


@dataclass(frozen=True, slots=True)
class Contesting:
    """One method per question; each under the name of who asks."""

    refunds: Staff

    async def due(self, access: Access, within_hours: int = YEAR_HOURS) -> Due:
        """Those for which evidence is due and none was handed in."""
        found: list[Json] = []
        query = {"due_within_hours": str(within_hours), "limit": str(DUE_PAGE)}
        for _ in range(DUE_PAGES):
            page = await self.refunds.ask(access, "GET", PATH, query=query)
            found += page["disputes"]
            if page["next_cursor"] is None:
                return Due(_soonest_first(found), more=False)
            query["cursor"] = page["next_cursor"]
        return Due(_soonest_first(found), more=True)

    async def listed(self, access: Access, status: str | None, cursor: str | None) -> Page:
        """All of them, the newest first."""
        given = {"status": status, "cursor": cursor, "limit": str(PAGE)}
        query = {name: value for name, value in given.items() if value is not None}
        found = await self.refunds.ask(access, "GET", PATH, query=query)
        return Page(found["disputes"], found["next_cursor"])

    async def shown(self, access: Access, dispute_id: str) -> Json:
        """One dispute with its history.

        Raises:
            Refused: 404.
        """
        return await self.refunds.ask(access, "GET", f"{PATH}/{dispute_id}")

    async def evidence(self, access: Access, dispute_id: str) -> Json:
        """What proves its payment, and what was handed in.

        Raises:
            Refused: 404; 403 for whoever may not see buyers' addresses.
        """
        return await self.refunds.ask(access, "GET", f"{PATH}/{dispute_id}/evidence")

    async def document(self, access: Access, dispute_id: str) -> bytes:
        """The same as the bank gets it, a PDF.

        Raises:
            Refused: as `evidence`.
        """
        return await self.refunds.download(access, f"{PATH}/{dispute_id}/evidence.pdf")


def _soonest_first(found: list[Json]) -> list[Json]:
    return sorted(found, key=lambda one: (datetime.fromisoformat(one["due_by"]), str(one["dispute_id"])))
