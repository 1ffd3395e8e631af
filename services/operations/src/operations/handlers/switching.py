"""The switch that stops new orders, as checkout keeps it."""

from dataclasses import dataclass
from typing import Final

from operations.gateway.staff import Json, Staff
from operations.handlers.trailing import Trailing
from operations.model import Access, Errand

PATH: Final = "/admin/switches/checkouts"
ACTIONS: Final = {"stopped": "checkouts_stop", "open": "checkouts_open"}


@dataclass(frozen=True, slots=True)
class Switching:
    """Each under the name of who asks."""

    checkout: Staff
    trail: Trailing

    async def shown(self, access: Access) -> Json:
        """Where it stands, and who turned it lately."""
        return await self.checkout.ask(access, "GET", PATH)

    async def turn(self, access: Access, state: str, reason: str, *, actor: str) -> None:
        """Stop new orders, or take them again; to turn it to where it stands changes nothing.

        Raises:
            Refused: 403; 504 `answer_lost`.
        """
        async with self.trail.follow(Errand(ACTIONS[state], actor, reason, "checkout", "checkouts")):
            await self.checkout.ask(access, "PUT", PATH, body={"state": state, "reason": reason})
