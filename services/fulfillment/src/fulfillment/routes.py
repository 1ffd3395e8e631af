"""The internal door of fulfillment: what people and carriers report."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from fulfillment.decide import Deliver, Movement, Return, Ship
from fulfillment.handlers import Handlers
from fulfillment.model import Shipment, ShipmentNotFound
from payments_shared.auth import Principal, Verifier, require
from payments_shared.errors import FieldError, Refused
from payments_shared.http import read_json
from payments_shared.ids import external_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable

Label = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class ShipRequest(BaseModel):
    """`POST /admin/shipments/{id}/ship`."""

    model_config = ConfigDict(extra="forbid")

    carrier: Label
    tracking_number: Label | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Routes for people with the role operator or admin; support may look."""

    handlers: Handlers
    people: Verifier

    async def ship(self, request: web.Request) -> web.Response:
        """200 shipped, also when repeated; 409 `shipment_held` or `illegal_step`."""
        principal = require(request, self.people, "operator", "admin")
        body = await read_json(request, ShipRequest)
        return await self._move(request, principal, Ship(body.carrier, body.tracking_number))

    async def deliver(self, request: web.Request) -> web.Response:
        """200 delivered, also when repeated; 409 `illegal_step`."""
        return await self._move(request, require(request, self.people, "operator", "admin"), Deliver())

    async def give_back(self, request: web.Request) -> web.Response:
        """200 returned, also when repeated; 409 `illegal_step`."""
        return await self._move(request, require(request, self.people, "operator", "admin"), Return())

    async def list_shipments(self, request: web.Request) -> web.Response:
        """The shipments of `?order_id=`, and the address they go to."""
        require(request, self.people, "operator", "admin", "support")
        order_id = _order_id(request)
        with unavailable_as_retryable():
            found, address = await self.handlers.shipments(order_id)
        return web.json_response({"shipments": [_rendered(s) for s in found], "address": address})

    async def _move(self, request: web.Request, principal: Principal, movement: Movement) -> web.Response:
        try:
            shipment_id = parse_external_id("shp", request.match_info["shipment_id"])
        except ValueError:
            raise ShipmentNotFound from None
        with unavailable_as_retryable():
            shipment = await self.handlers.move(shipment_id, movement, actor=f"person:{principal.subject}")
        return web.json_response(_rendered(shipment))


def _order_id(request: web.Request) -> UUID:
    try:
        return parse_external_id("ord", request.query.get("order_id", ""))
    except ValueError as error:
        field = FieldError("/order_id", str(error))
        raise Refused("validation_failed", "Name the order.", status=422, errors=[field]) from None


def _rendered(shipment: Shipment) -> dict[str, object]:
    return {
        "id": external_id("shp", shipment.id),
        "order_id": external_id("ord", shipment.order_id),
        "status": shipment.state.value,
        "lines": [{"sku": line.sku, "quantity": line.quantity} for line in shipment.lines],
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.get("/admin/shipments", door.list_shipments, allow_head=False),
        web.post("/admin/shipments/{shipment_id}/ship", door.ship),
        web.post("/admin/shipments/{shipment_id}/deliver", door.deliver),
        web.post("/admin/shipments/{shipment_id}/return", door.give_back),
    ]
