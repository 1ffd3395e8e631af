"""A deployment of its own, in which limits are as narrow as a shop would have them, and what Stripe suspects there."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final

from sandbox.services.deployment import deploy
from sandbox.services.resolver import Servers
from tests.support.shopping import Json, Shopper, eventually, uuid_of

NAMES: Final = (
    "stripe", "mailbox", "frontdoor", "webhook-ingest", "checkout", "inventory", "fulfillment", "refunds",
    "notifications", "operations",
)  # fmt: skip


@contextlib.asynccontextmanager
async def a_careful_shop(servers: Servers, **extra: str) -> AsyncIterator[Shopper]:
    """A shopper of a deployment with these settings."""
    namespace = f"t{secrets.token_hex(4)}"
    async with (
        deploy(servers, namespace=namespace, names=NAMES, extra=extra) as running,
        Shopper.of(running) as shopper,
    ):
        yield shopper


async def charge_of(shopper: Shopper, order: Json) -> str:
    """The charge that paid the order."""
    session = await shopper.stripe("GET", f"/v1/checkout/sessions/{await shopper.session_of(order)}")
    intent = await shopper.stripe("GET", f"/v1/payment_intents/{session['payment_intent']}")
    return str(intent["latest_charge"])


async def reviewed(shopper: Shopper, order: Json) -> str:
    """Stripe opens a review of what paid the order; its id."""
    return str((await shopper.stripe("POST", f"/_sim/charges/{await charge_of(shopper, order)}/review", {}))["id"])


async def warned(shopper: Shopper, order: Json) -> None:
    """The bank of the card that paid the order warns of fraud."""
    await shopper.stripe("POST", f"/_sim/charges/{await charge_of(shopper, order)}/warn", {})


async def looked_at(shopper: Shopper, order: Json) -> Json:
    """The order as support sees it."""
    return (await shopper.admin("GET", "checkout", f"/admin/orders/{order['order_id']}", None, "support")).body


async def decided(shopper: Shopper, order: Json, *gates: str) -> list[tuple[str, str]]:
    """Gates and outcomes of what was decided about the order, without Radar's."""
    found = (await looked_at(shopper, order))["risk"]
    return [(risk["gate"], risk["outcome"]) for risk in found if risk["gate"] != "radar" or "radar" in gates]


async def held(shopper: Shopper, order: Json, reason: str | None) -> Json:
    """The order once it is held for `reason`; None: once it is not held."""

    async def probe() -> Json | None:
        seen = await looked_at(shopper, order)
        return seen if seen["held_reason"] == reason else None

    found: Json = await eventually(probe, what=f"order {order['order_id']} held for {reason}")
    return found


async def parcel(shopper: Shopper, order: Json, state: str) -> str:
    """The order's parcel once it is in `state`."""
    sql = "SELECT id::text FROM fulfillment.shipments WHERE order_id = $1 AND state = $2"

    async def probe() -> Any:
        return await shopper.owner.fetchval(sql, uuid_of(order), state)

    return str(await eventually(probe, what=f"parcel {state}"))


async def ship(shopper: Shopper, order: Json) -> int:
    """A clerk sends the parcel; the status of the answer."""
    shipment = await parcel(shopper, order, "created")
    token = shopper.deployment.keys.token("clerk", "admin", "operator")
    url = f"{shopper.deployment.internal_url('fulfillment')}/admin/shipments/shp_{shipment.replace('-', '')}/ship"
    answer = await shopper.call("POST", url, {"carrier": "DHL"}, Authorization=f"Bearer {token}")
    return answer.status


async def leaves(shopper: Shopper, order: Json) -> bool:
    """Whether a parcel is there and can be sent."""
    return not await no_parcel(shopper, order) and await ship(shopper, order) == 200


async def no_parcel(shopper: Shopper, order: Json) -> bool:
    """Whether nothing lives that could be sent."""
    sql = "SELECT count(*) FROM fulfillment.shipments WHERE order_id = $1 AND state <> 'canceled'"
    return await shopper.count(sql, uuid_of(order)) == 0
