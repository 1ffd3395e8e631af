"""What people may stop, as the services that keep its switches say and do it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from operations.gateway.staff import Json, Staff
from operations.handlers.trailing import Trailing
from operations.model.people import Access
from operations.model.switches import Switch
from operations.model.trail import Errand

VERBS: Final[Mapping[str, str]] = {"stopped": "stop", "open": "open"}


@dataclass(frozen=True, slots=True)
class Switching:
    """Each under the name of who asks. `keepers`: who keeps which switch, as far as it is said where they are."""

    keepers: Mapping[Switch, Staff]
    trail: Trailing

    async def shown(self, access: Access, switch: Switch) -> Json:
        """Where it stands, and who turned it lately."""
        return await self.keepers[switch].ask(access, "GET", _path(switch))

    async def turn(self, access: Access, switch: Switch, state: str, reason: str, *, actor: str) -> None:
        """Stop what it is for, or let it go on; to turn it to where it stands changes nothing.

        Raises:
            Refused: 403; 504 `answer_lost`.
        """
        keeper = self.keepers[switch]
        async with self.trail.follow(Errand(f"{switch}_{VERBS[state]}", actor, reason, keeper.service, switch)):
            await keeper.ask(access, "PUT", _path(switch), body={"state": state, "reason": reason})


def _path(switch: Switch) -> str:
    return f"/admin/switches/{switch}"
