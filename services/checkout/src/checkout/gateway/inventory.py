"""The stock hold at inventory."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import aiohttp

from payments_shared import tracing
from payments_shared.auth import ServiceTokens
from payments_shared.errors import Refused, Retryable
from payments_shared.ids import external_id

HOLD_TIMEOUT_SECONDS: Final = 5.0


class HoldUnknown(Retryable):
    """Inventory did not answer: the hold may or may not exist."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The one internal call between services."""

    http: aiohttp.ClientSession
    url: str
    tokens: ServiceTokens

    async def hold(
        self, order_id: UUID, lines: Sequence[tuple[str, int]], expires_at: datetime, *, attempt: int = 0
    ) -> None:
        """Hold stock for the order, or hold it anew for a later `attempt` to charge it; repeating it is harmless.

        Raises:
            Refused: 409 `out_of_stock` with `available`, or `reservation_closed`.
            HoldUnknown: no answer, or one that says nothing about the hold.
        """
        body = {
            "order_id": external_id("ord", order_id),
            "expires_at": expires_at.isoformat(),
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
            **({"attempt": attempt} if attempt else {}),
        }
        headers = {"Authorization": f"Bearer {self.tokens.token()}"} | tracing.carried()
        try:
            async with (
                asyncio.timeout(HOLD_TIMEOUT_SECONDS),
                self.http.post(f"{self.url}/internal/reservations", json=body, headers=headers) as answer,
            ):
                status, content = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise HoldUnknown("inventory_unavailable", "Stock could not be checked.") from error
        if status in (200, 201):
            return
        if status == 409 and (refusal := _refusal(content)) is not None:
            raise refusal
        raise HoldUnknown("inventory_unavailable", f"Stock could not be checked ({status}).")


def _refusal(content: bytes) -> Refused | None:
    """What inventory said no with; None for a 409 of somebody between us, which says nothing about the hold."""
    try:
        problem = json.loads(content)
        extra = {"available": problem["available"]} if "available" in problem else {}
        return Refused(problem["code"], problem["detail"], extra=extra)
    except (ValueError, TypeError, KeyError):
        return None
