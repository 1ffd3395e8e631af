"""The internal door of inventory: the hold for checkout, stock for administrators."""

from dataclasses import asdict, dataclass
from typing import Annotated

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictInt

from inventory.handlers import Handlers
from inventory.model import Line
from payments_shared.auth import Verifier, require
from payments_shared.contracts.message import OrderId
from payments_shared.http import read_json
from payments_shared.ids import external_id
from payments_shared.postgres import unavailable_as_retryable

Sku = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class HoldLine(BaseModel):
    """One wanted line."""

    model_config = ConfigDict(extra="forbid")

    sku: Sku
    quantity: Annotated[StrictInt, Field(ge=1, le=10_000)]


class HoldRequest(BaseModel):
    """`POST /internal/reservations`."""

    model_config = ConfigDict(extra="forbid")

    order_id: OrderId
    expires_at: AwareDatetime
    lines: Annotated[list[HoldLine], Field(min_length=1, max_length=100)]


class StockRequest(BaseModel):
    """`PUT /admin/stock/{sku}`."""

    model_config = ConfigDict(extra="forbid")

    total: Annotated[StrictInt, Field(ge=0, le=100_000_000)]


@dataclass(frozen=True, slots=True)
class Door:
    """`services` verifies checkout's token, `people` those of administrators."""

    handlers: Handlers
    services: Verifier
    people: Verifier

    async def hold(self, request: web.Request) -> web.Response:
        """201 held, 200 held before; 409 `out_of_stock`, `reservation_closed` or `reservation_differs`."""
        require(request, self.services, "service")
        wanted = await read_json(request, HoldRequest)
        lines = [Line(line.sku, line.quantity) for line in wanted.lines]
        with unavailable_as_retryable():
            state, new = await self.handlers.hold(wanted.order_id, lines, wanted.expires_at)
        body = {"order_id": external_id("ord", wanted.order_id), "state": state.value}
        return web.json_response(body, status=201 if new else 200)

    async def list_stock(self, request: web.Request) -> web.Response:
        """All SKUs."""
        require(request, self.people, "admin", "operator", "support")
        with unavailable_as_retryable():
            rows = await self.handlers.stock()
        return web.json_response({"stock": [asdict(row) for row in rows]})

    async def put_stock(self, request: web.Request) -> web.Response:
        """Set a total."""
        require(request, self.people, "admin")
        wanted = await read_json(request, StockRequest)
        with unavailable_as_retryable():
            row = await self.handlers.put_stock(request.match_info["sku"], wanted.total)
        return web.json_response(asdict(row))


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.post("/internal/reservations", door.hold),
        web.get("/admin/stock", door.list_stock),
        web.put(r"/admin/stock/{sku:[A-Za-z0-9._-]{1,64}}", door.put_stock),
    ]
