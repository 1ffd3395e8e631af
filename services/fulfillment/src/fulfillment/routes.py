"""The internal door of fulfillment: what clerks and carriers report."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from fulfillment.handlers import Handlers
from fulfillment.model import Shipment, ShipmentState
from payments_shared.auth import Verifier, require
from payments_shared.errors import Refused
from payments_shared.http import read_json
from payments_shared.ids import external_id, parse_external_id
from payments_shared.postgres import unavailable_as_retryable

_VERBS = {
    "ship": ShipmentState.SHIPPED,
    "deliver": ShipmentState.DELIVERED,
    "return": ShipmentState.RETURNED,
    "cancel": ShipmentState.CANCELED,
}


class MoveRequest(BaseModel):
    """`POST /admin/shipments/{id}/{verb}`."""

    model_config = ConfigDict(extra="forbid")

    carrier: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    tracking_number: Annotated[str, Field(min_length=1, max_length=60)] | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Routes for people with the role operator or admin."""

    handlers: Handlers
    people: Verifier

    async def move(self, request: web.Request) -> web.Response:
        """Report that a parcel was shipped, delivered, returned or canceled."""
        require(request, self.people, "operator", "admin")
        shipment_id = _parsed("shp", request.match_info["shipment_id"])
        body = await read_json(request, MoveRequest)
        wanted = _VERBS[request.match_info["verb"]]
        with unavailable_as_retryable():
            shipment = await self.handlers.move(
                shipment_id, wanted, carrier=body.carrier, tracking_number=body.tracking_number
            )
        return web.json_response(_rendered(shipment))

    async def list_shipments(self, request: web.Request) -> web.Response:
        """The shipments of `?order_id=`."""
        require(request, self.people, "operator", "admin", "support")
        order_id = _parsed("ord", request.query.get("order_id", ""))
        with unavailable_as_retryable():
            found = await self.handlers.shipments(order_id)
        return web.json_response({"shipments": [_rendered(shipment) for shipment in found]})


def _parsed(prefix: str, text: str) -> UUID:
    try:
        return parse_external_id(prefix, text)
    except ValueError:
        raise Refused("not_found", "There is no such thing.", status=404) from None


def _rendered(shipment: Shipment) -> dict[str, object]:
    return {
        "id": external_id("shp", shipment.id),
        "order_id": external_id("ord", shipment.order_id),
        "state": shipment.state.value,
        "lines": [{"sku": line.sku, "quantity": line.quantity} for line in shipment.lines],
        "carrier": shipment.carrier,
        "tracking_number": shipment.tracking_number,
    }


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the internal port."""
    return [
        web.get("/admin/shipments", door.list_shipments),
        web.post("/admin/shipments/{shipment_id}/{verb:ship|deliver|return|cancel}", door.move),
    ]
