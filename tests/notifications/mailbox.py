"""The mailbox as these tests look at it."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from payments_shared.ids import external_id

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mail server with a web side."""

    http: aiohttp.ClientSession

    async def about(self, order_id: UUID) -> list[Json]:
        """What arrived about an order."""
        async with self.http.get("/api/messages", params={"order_id": external_id("ord", order_id)}) as answer:
            return list((await answer.json())["messages"])

    async def shown(self, mail_id: int) -> tuple[str, str]:
        """The HTML part, and the page with the text part and the headers."""
        async with self.http.get(f"/mail/{mail_id}/html") as html, self.http.get(f"/mail/{mail_id}") as page:
            return await html.text(), await page.text()

    async def raw(self, mail_id: int) -> str:
        """The mail as the server was given it."""
        async with self.http.get(f"/mail/{mail_id}/raw") as answer:
            return await answer.text()

    async def arm(
        self, kind: str, *, about: UUID | None = None, count: int = 1, code: int = 451, seconds: float = 0.0
    ) -> None:
        """What happens to the next mails `about` an order, or to all: `refuse`, `delay` or `swallow` the reply.

        A mail of an earlier test may be on its way still: it takes what was meant for another where no order is named.
        """
        body: Json = {"kind": kind, "count": count, "code": code, "seconds": seconds}
        body |= {"order_id": external_id("ord", about)} if about else {}
        async with self.http.post("/_control/faults", json=body) as answer:
            assert answer.status == 200

    async def struck(self) -> int:
        """How often the fault took effect."""
        async with self.http.get("/_control/faults") as answer:
            return int((await answer.json())["struck"])
