"""The internal door of inventory: the hold for checkout, stock for administrators."""

from dataclasses import asdict, dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from typing_extensions import TypedDict

from inventory.handlers import Handlers
from inventory.model import Line, State, Stock
from payments_shared.auth import Verifier, require
from payments_shared.contracts.message import OrderId
from payments_shared.http import Api, Time, read_json
from payments_shared.http.operations import (
    DATABASE_AWAY,
    SERVICES,
    Answer,
    Body,
    Credential,
    Operation,
    Parameter,
    Refusal,
    Section,
    people,
)
from payments_shared.ids import external_id
from payments_shared.logs import about_order
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
    expires_at: Time
    lines: Annotated[list[HoldLine], Field(min_length=1, max_length=100)]
    attempt: Annotated[StrictInt, Field(ge=0, le=100)] = 0


class StockRequest(BaseModel):
    """`PUT /admin/stock/{sku}`."""

    model_config = ConfigDict(extra="forbid")

    total: Annotated[StrictInt, Field(ge=0, le=100_000_000)]


class Held(TypedDict):
    """What is promised to the order now."""

    order_id: Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
    state: State


class StockListed(TypedDict):
    """All SKUs."""

    stock: list[Stock]


HOLD: Final = Operation(
    method="POST",
    path="/internal/reservations",
    id="holdStock",
    summary="Hold the stock of an order.",
    description="All lines or none. The same order again gets the same answer. With an `attempt` above 0 what was "
    "given back after an earlier attempt to charge the order is held anew.",
    callers=(Credential(SERVICES, ("service",)),),
    body=Body(
        HoldRequest,
        {
            "order_id": "ord_0198c0a0b0c07def8123456789abcdef",
            "expires_at": "2026-08-26T13:00:00Z",
            "lines": [{"sku": "MUG-CLAY", "quantity": 2}],
        },
    ),
    answers=(Answer(200, "It was held before.", Held), Answer(201, "It is held.", Held)),
    refusals=(
        Refusal(409, "out_of_stock", "some lines cannot be had; `available` says how much of each there is."),
        Refusal(409, "reservation_closed", "the order has ended, perhaps before its hold arrived."),
        Refusal(409, "reservation_differs", "the order holds other lines."),
        DATABASE_AWAY,
    ),
)
LIST: Final = Operation(
    method="GET",
    path="/admin/stock",
    id="listStock",
    summary="List the stock of all SKUs.",
    callers=(people("admin", "operator", "support"),),
    answers=(Answer(200, "All of it.", StockListed),),
    refusals=(DATABASE_AWAY,),
)
PUT: Final = Operation(
    method="PUT",
    path=r"/admin/stock/{sku:[A-Za-z0-9._-]{1,64}}",
    id="setStock",
    summary="Say how many units of a SKU there are in all.",
    callers=(people("admin"),),
    parameters=(Parameter("sku", "path", "The article."),),
    body=Body(StockRequest, {"total": 100}),
    answers=(Answer(200, "Its stock now.", Stock),),
    refusals=(
        Refusal(409, "below_promised", "more than that is held or sold."),
        DATABASE_AWAY,
    ),
)
API: Final = Api(
    service="inventory",
    summary="Stock, and what of it is promised to orders.",
    internal=(
        Section("reservations", "For checkout, with a token of its own.", (HOLD,)),
        Section("stock", "For administrators; operators and support may look.", (LIST, PUT)),
    ),
)


@dataclass(frozen=True, slots=True)
class Door:
    """`services` verifies checkout's token, `people` those of administrators."""

    handlers: Handlers
    services: Verifier
    people: Verifier

    async def hold(self, request: web.Request) -> web.Response:
        """Hold what an order wants."""
        require(request, self.services, *HOLD.roles)
        wanted = await read_json(request, HoldRequest)
        about_order(wanted.order_id)
        lines = [Line(line.sku, line.quantity) for line in wanted.lines]
        with unavailable_as_retryable():
            if wanted.attempt:
                state = await self.handlers.hold_again(wanted.order_id, lines, wanted.expires_at, wanted.attempt)
                new = False
            else:
                state, new = await self.handlers.hold(wanted.order_id, lines, wanted.expires_at)
        body: Held = {"order_id": external_id("ord", wanted.order_id), "state": state}
        return web.json_response(body, status=201 if new else 200)

    async def list_stock(self, request: web.Request) -> web.Response:
        """All SKUs."""
        require(request, self.people, *LIST.roles)
        with unavailable_as_retryable():
            rows = await self.handlers.stock()
        return web.json_response({"stock": [asdict(row) for row in rows]})

    async def put_stock(self, request: web.Request) -> web.Response:
        """Set a total."""
        require(request, self.people, *PUT.roles)
        wanted = await read_json(request, StockRequest)
        with unavailable_as_retryable():
            row = await self.handlers.put_stock(request.match_info["sku"], wanted.total)
        return web.json_response(asdict(row))


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [HOLD.to(door.hold), LIST.to(door.list_stock), PUT.to(door.put_stock)]
