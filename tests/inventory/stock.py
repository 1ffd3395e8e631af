"""What tests ask of inventory's internal port."""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import aiohttp

from tests.inventory.builders import hold_request
from tests.support.one_service import OneService

Piles = tuple[int, int, int]
"""(available, held, committed)."""


async def put_stock(inventory: OneService, http: aiohttp.ClientSession, sku: str, total: int) -> None:
    """Set the total of `sku`."""
    async with http.put(f"/admin/stock/{sku}", json={"total": total}, headers=inventory.person("admin")) as answer:
        assert answer.status == 200, await answer.text()


async def piles(inventory: OneService, http: aiohttp.ClientSession, sku: str) -> Piles:
    """Where the units of `sku` are."""
    async with http.get("/admin/stock", headers=inventory.person("support")) as answer:
        rows = (await answer.json())["stock"]
    row = next(row for row in rows if row["sku"] == sku)
    assert row["available"] + row["held"] + row["committed"] == row["total"]
    return row["available"], row["held"], row["committed"]


async def hold(
    inventory: OneService,
    http: aiohttp.ClientSession,
    order_id: UUID,
    quantities: Mapping[str, int],
    *,
    expires_in: timedelta = timedelta(minutes=45),
    **given: object,
) -> tuple[int, dict[str, object]]:
    """Ask for a hold; status and body."""
    body = hold_request(order_id, quantities, expires_in, **given)
    async with http.post("/internal/reservations", json=body, headers=inventory.checkout()) as answer:
        return answer.status, await answer.json()


COUNTERS_DISAGREE = """
SELECT s.sku
  FROM inventory.stock AS s
  LEFT JOIN inventory.reservation_lines AS l USING (sku)
  LEFT JOIN inventory.reservations AS r USING (order_id)
 GROUP BY s.sku, s.held, s.committed
HAVING coalesce(sum(l.quantity) FILTER (WHERE r.state = 'held'), 0) <> s.held
    OR coalesce(sum(l.quantity - l.restocked) FILTER (WHERE r.state = 'committed'), 0) <> s.committed
"""


async def assert_counters_agree(inventory: OneService) -> None:
    """What the stock says is promised is what the reservations say."""
    rows = await inventory.owner.fetch(COUNTERS_DISAGREE)
    assert [row["sku"] for row in rows] == []
