"""Refunds that wait for a second person or are put off, as refunds keeps them. It decides who may do what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operations.gateway.staff import Json, Staff
from operations.handlers.trailing import Trailing
from operations.model.people import Access
from operations.model.trail import Errand

WAITING: Final = "awaiting_approval"
PATH: Final = "/api/payments/refunds"
PAGE: Final = 50


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a list; `following` is where the next of them begin."""

    rows: Sequence[Json]
    following: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody saw of a request and agrees to."""

    amount_minor: int
    currency: str
    version: int


@dataclass(frozen=True, slots=True)
class Agreeing:
    """One method per question and act; each under the name of who asks."""

    refunds: Staff
    trail: Trailing

    async def listed(self, access: Access, status: str | None, cursor: str | None, *, limit: int = PAGE) -> Page:
        """Requests, the newest first."""
        given: Mapping[str, str | None] = {"status": status, "cursor": cursor, "limit": str(limit)}
        query = {name: value for name, value in given.items() if value is not None}
        found = await self.refunds.ask(access, "GET", PATH, query=query)
        return Page(found["refunds"], found["next_cursor"])

    async def shown(self, access: Access, refund_id: str) -> Json:
        """One request with its history.

        Raises:
            Refused: 404.
        """
        return await self.refunds.ask(access, "GET", f"{PATH}/{refund_id}")

    async def approve(self, access: Access, refund_id: str, seen: Seen, reason: str, *, actor: str) -> None:
        """Let the money go back.

        Raises:
            Refused: 403 `own_request`, 409 `refund_changed`, `already_decided`, `amount_exceeds_refundable`; 504
                `answer_lost`.
        """
        body = {
            "amount_minor": seen.amount_minor,
            "currency": seen.currency,
            "version": seen.version,
            "note": reason,
        }
        detail = {"amount_minor": seen.amount_minor, "currency": seen.currency}
        async with self.trail.follow(Errand("refund_approve", actor, reason, "refunds", refund_id, detail)):
            await self.refunds.ask(access, "POST", f"{PATH}/{refund_id}/approve", body=body)

    async def reject(self, access: Access, refund_id: str, reason: str, *, actor: str) -> None:
        """Refuse a request.

        Raises:
            Refused: 403 `own_request`, 409 `already_decided`; 504 `answer_lost`.
        """
        async with self.trail.follow(Errand("refund_reject", actor, reason, "refunds", refund_id)):
            await self.refunds.ask(access, "POST", f"{PATH}/{refund_id}/reject", body={"note": reason})

    async def take_back(self, access: Access, refund_id: str, reason: str, *, actor: str) -> None:
        """Take back a request that is put off, so that nothing of it goes back.

        Raises:
            Refused: 403 `not_own_request`, 409 `already_decided`; 504 `answer_lost`.
        """
        async with self.trail.follow(Errand("refund_cancel", actor, reason, "refunds", refund_id)):
            await self.refunds.ask(access, "POST", f"{PATH}/{refund_id}/cancel", body={"note": reason})
