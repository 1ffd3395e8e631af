"""The internal door of fulfillment: what people and carriers report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, NotRequired

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fulfillment.decide import Deliver, Movement, Return, Ship
from fulfillment.handlers import Handlers
from fulfillment.model import Line, Order, Shipment, ShipmentNotFound, ShipmentState
from payments_shared.auth import Principal, Verifier, require
from payments_shared.http import Api, read_json, read_query
from payments_shared.http.operations import DATABASE_AWAY, Answer, Body, Operation, Parameter, Refusal, Section, people
from payments_shared.ids import external_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable

ShipmentId = Annotated[str, Field(pattern=r"^shp_[0-9a-f]{32}$")]
Label = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ShipRequest(BaseModel):
    """`POST /admin/shipments/{id}/ship`."""

    model_config = ConfigDict(extra="forbid")

    carrier: Label
    tracking_number: Label | None = None


class ShipmentsQuery(BaseModel):
    """`GET /admin/shipments`."""

    model_config = ConfigDict(extra="forbid")

    order_id: Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$", description="Whose shipments.")]


class ShipmentLine(TypedDict):
    """What is in the parcel."""

    sku: str
    quantity: Annotated[int, Field(ge=1)]


class ShipmentShown(TypedDict):
    """A shipment."""

    id: ShipmentId
    order_id: Annotated[str, Field(pattern=r"^ord_[0-9a-f]{32}$")]
    status: ShipmentState
    lines: list[ShipmentLine]
    carrier: str | None
    tracking_number: str | None


class DigitalShown(TypedDict):
    """What of an order is not sent. `delivered`: it is the buyer's."""

    lines: Annotated[list[ShipmentLine], Field(min_length=1)]
    delivered: bool


class Shipments(TypedDict):
    """An order's shipments. `address` is null until the order was paid, and `shipping_option`, by `code` and `name` the
    way to ship that the buyer chose, also where there was none to choose. `digital` is null where all of it is sent."""

    shipments: list[ShipmentShown]
    address: Mapping[str, str | None] | None
    shipping_option: NotRequired[Mapping[str, str] | None]
    digital: NotRequired[DigitalShown | None]


SHIPMENT_ID: Final = Parameter("shipment_id", "path", "The shipment.", ShipmentId)
MOVERS: Final = (people("operator", "admin"),)
UNKNOWN: Final = Refusal(404, "shipment_not_found", "there is no such shipment.")
ILLEGAL: Final = Refusal(409, "illegal_step", "the parcel is not where this could happen to it.")
LIST: Final = Operation(
    method="GET",
    path="/admin/shipments",
    id="listShipments",
    summary="List the shipments of an order, with the address they go to and the way to ship.",
    callers=(people("operator", "admin", "support"),),
    query=ShipmentsQuery,
    answers=(Answer(200, "What is known; nothing for an order that is not.", Shipments),),
    refusals=(DATABASE_AWAY,),
)
SHIP: Final = Operation(
    method="POST",
    path="/admin/shipments/{shipment_id}/ship",
    id="shipShipment",
    summary="Report that a parcel was handed to its carrier.",
    description="Asking again gets the same answer.",
    callers=MOVERS,
    parameters=(SHIPMENT_ID,),
    body=Body(ShipRequest, {"carrier": "DHL", "tracking_number": "00340434161094042557"}),
    answers=(Answer(200, "The shipment, which is on its way.", ShipmentShown),),
    refusals=(
        UNKNOWN,
        ILLEGAL,
        Refusal(409, "shipment_held", "the order is held or disputed, or a refund of it is under way."),
        DATABASE_AWAY,
    ),
)
DELIVER: Final = Operation(
    method="POST",
    path="/admin/shipments/{shipment_id}/deliver",
    id="deliverShipment",
    summary="Report that a parcel arrived.",
    description="Asking again gets the same answer.",
    callers=MOVERS,
    parameters=(SHIPMENT_ID,),
    answers=(Answer(200, "The shipment, which is delivered.", ShipmentShown),),
    refusals=(UNKNOWN, ILLEGAL, DATABASE_AWAY),
)
RETURN: Final = Operation(
    method="POST",
    path="/admin/shipments/{shipment_id}/return",
    id="returnShipment",
    summary="Report that a parcel came back.",
    description="Asking again gets the same answer.",
    callers=MOVERS,
    parameters=(SHIPMENT_ID,),
    answers=(Answer(200, "The shipment, which is returned.", ShipmentShown),),
    refusals=(UNKNOWN, ILLEGAL, DATABASE_AWAY),
)
API: Final = Api(
    service="fulfillment",
    summary="What people and carriers report about shipments.",
    internal=(
        Section("shipments", "For operators and administrators; support may look.", (LIST, SHIP, DELIVER, RETURN)),
    ),
)


@dataclass(frozen=True, slots=True)
class Door:
    """Routes for people with the role operator or admin; support may look."""

    handlers: Handlers
    people: Verifier

    async def ship(self, request: web.Request) -> web.Response:
        """The parcel was handed to its carrier."""
        principal = require(request, self.people, *SHIP.roles)
        body = await read_json(request, ShipRequest)
        return await self._move(request, principal, Ship(body.carrier, body.tracking_number))

    async def deliver(self, request: web.Request) -> web.Response:
        """The parcel arrived."""
        return await self._move(request, require(request, self.people, *DELIVER.roles), Deliver())

    async def give_back(self, request: web.Request) -> web.Response:
        """The parcel came back."""
        return await self._move(request, require(request, self.people, *RETURN.roles), Return())

    async def list_shipments(self, request: web.Request) -> web.Response:
        """The shipments of an order, and the address they go to."""
        require(request, self.people, *LIST.roles)
        order_id = parse_external_id("ord", read_query(request, ShipmentsQuery).order_id)
        with unavailable_as_retryable():
            found, order = await self.handlers.shipments(order_id)
        goods = order.goods if order else None
        answer: Shipments = {
            "shipments": [_rendered(s) for s in found],
            "address": goods.address if goods else None,
            "shipping_option": goods.way if goods else None,
            "digital": _digital(order) if order else None,
        }
        return web.json_response(answer)

    async def _move(self, request: web.Request, principal: Principal, movement: Movement) -> web.Response:
        try:
            shipment_id = parse_external_id("shp", request.match_info["shipment_id"])
        except ValueError:
            raise ShipmentNotFound from None
        with unavailable_as_retryable():
            shipment = await self.handlers.move(shipment_id, movement, actor=f"person:{principal.subject}")
        return web.json_response(_rendered(shipment))


def _rendered(shipment: Shipment) -> ShipmentShown:
    return {
        "id": external_id("shp", shipment.id),
        "order_id": external_id("ord", shipment.order_id),
        "status": shipment.state,
        "lines": _lines(shipment.lines),
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
    }


def _digital(order: Order) -> DigitalShown | None:
    if order.goods is None or not order.goods.digital:
        return None
    return {"lines": _lines(order.goods.digital), "delivered": order.digital_delivered}


def _lines(lines: Sequence[Line]) -> list[ShipmentLine]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        LIST.to(door.list_shipments, allow_head=False),
        SHIP.to(door.ship),
        DELIVER.to(door.deliver),
        RETURN.to(door.give_back),
    ]
