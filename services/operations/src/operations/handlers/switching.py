"""The switch that stops new orders, as checkout keeps it."""

from dataclasses import dataclass
from typing import Final

from operations.gateway.staff import Json, Staff
from operations.model import Access

PATH: Final = "/admin/switches/checkouts"


@dataclass(frozen=True, slots=True)
class Switching:
    """Each under the name of who asks."""

    checkout: Staff

    async def shown(self, access: Access) -> Json:
        """Where it stands, and who turned it lately."""
        return await self.checkout.ask(access, "GET", PATH)

    async def turn(self, access: Access, state: str, reason: str) -> None:
        """Stop new orders, or take them again; to turn it to where it stands changes nothing.

        Raises:
            Refused: 403; 504 `answer_lost`.
        """
        await self.checkout.ask(access, "PUT", PATH, body={"state": state, "reason": reason})
