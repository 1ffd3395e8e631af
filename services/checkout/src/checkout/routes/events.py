"""Orders as server-sent events. Source: the HTML standard, "Server-sent events"."""

import contextlib
import hmac
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final
from uuid import UUID

from aiohttp import web
from pydantic import Field

from checkout.decide.order import is_final
from checkout.handlers.following import Following
from checkout.model.orders import Order
from checkout.routes import shapes
from checkout.routes.public import Door as Public
from checkout.routes.public import not_found, odd, shown
from checkout.routes.shapes import BUYERS, ORDER_ID, RATE_LIMITED, RATE_LIMITS, TICKET
from payments_shared.auth import authenticate
from payments_shared.clock import monotonic_seconds, utc_now
from payments_shared.errors import Refused
from payments_shared.http import SECURITY_HEADERS
from payments_shared.http.operations import (
    DATABASE_AWAY,
    NOT_FOUND,
    RETRY_AFTER,
    Answer,
    Credential,
    Operation,
    Parameter,
    Refusal,
)
from payments_shared.ids import external_id

RETRY_MS: Final = 2000

_TICKET: Final = re.compile(r"(?P<until>[0-9]{10})\.(?P<mark>[0-9a-f]{64})", re.ASCII)
_EVENT_ID: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_HEADERS: Final = {
    **SECURITY_HEADERS,
    "Content-Type": "text/event-stream; charset=utf-8",
    "Referrer-Policy": "no-referrer",
    "X-Accel-Buffering": "no",  # nginx would keep events until its buffer is full
}


FOLLOW: Final = Operation(
    method="GET",
    path="/api/payments/orders/{order_id}/events",
    id="followOrder",
    summary="Follow an order as server-sent events.",
    description=(
        "An event `order` with the order as `getOrder` shows it, at once and on each change; its `id` is the order's "
        "version. With the last one as `Last-Event-ID` nothing comes twice. A comment line says every 15 seconds that "
        "all is well. The stream ends after a final state (`paid`, `expired`, `canceled`, `failed` for good) and after "
        "15 minutes at most.\n\n"
        "An EventSource then comes back by itself, and is answered 204 when there is nothing more to come; it sends no "
        "headers of ours, so give it the path that `createEventsTicket` answers."
    ),
    callers=(*BUYERS, Credential(TICKET)),
    parameters=(
        ORDER_ID,
        Parameter(
            "Last-Event-ID", "header", "The `id` of the last event that was seen; anything else is a first visit."
        ),
    ),
    answers=(
        Answer(
            200,
            "The stream.",
            Annotated[str, Field(pattern="^retry: [0-9]+\n\n(id: [0-9]+\n(event: order\ndata: .*\n)?\n|:\n\n)*$")],
            media_type="text/event-stream",
            headers=RATE_LIMITS,
        ),
        Answer(204, "The version seen last is final. Do not come back.", headers=RATE_LIMITS),
    ),
    refusals=(
        Refusal(401, "ticket_expired", "ask for another."),
        NOT_FOUND,
        Refusal(422, "validation_failed", "there is no such parameter."),
        RATE_LIMITED,
        Refusal(503, "streams_full", "too many follow their orders.", (RETRY_AFTER,)),
        DATABASE_AWAY,
    ),
)
CREATE_TICKET: Final = Operation(
    method="POST",
    path="/api/payments/orders/{order_id}/events-ticket",
    id="createEventsTicket",
    summary="Get a path at which an EventSource may follow an order.",
    description="The ticket in it opens the stream of this order alone, for five minutes.",
    callers=BUYERS,
    parameters=(ORDER_ID,),
    answers=(Answer(201, "The ticket.", shapes.Ticket, headers=RATE_LIMITS),),
    refusals=(NOT_FOUND, RATE_LIMITED, DATABASE_AWAY),
)

OPERATIONS: Final = (FOLLOW, CREATE_TICKET)


@dataclass(frozen=True, slots=True)
class Door:
    """Streams, for whoever may see an order, and for a while for whoever was given a ticket by him.

    A ticket is for one order. It stands in a URL, since a browser's EventSource sends no headers of ours.
    """

    public: Public
    following: Following
    ticket_seconds: int

    async def ticket(self, request: web.Request) -> web.Response:
        """201 with the path of the order's stream, ticket included, and until when it opens one."""
        principal = authenticate(request, self.public.people)
        self.public.count_read(request, principal)
        order = await self.public.visible(request, principal)
        # The wall clock, as for bearer tokens: a credential ages also where business time stands still or jumps.
        until = int(utc_now().timestamp()) + self.ticket_seconds
        order_ref = external_id("ord", order.id)
        path = FOLLOW.path.format(order_id=order_ref) + f"?ticket={until}.{self._mark(order.id, until)}"
        expires_at = datetime.fromtimestamp(until, UTC).isoformat().replace("+00:00", "Z")
        answer: shapes.Ticket = {"path": path, "expires_at": expires_at}
        return web.json_response(answer, status=201)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The order at once, unless it is the version that the caller saw last, and again with each change.

        204 when there is nothing more to come: it tells an EventSource to connect no more.
        """
        order = await self._visible(request)
        seen = _last_seen(request)
        if seen == order.version and is_final(order):
            return web.Response(status=204)
        with self.following.place(order.id, self.public.caller_address(request)):
            told = request.get("answer_headers", {})
            response = web.StreamResponse(headers={**_HEADERS, **told, "X-Request-Id": request["request_id"]})
            await response.prepare(request)
            request["answered_at"] = monotonic_seconds()
            with contextlib.suppress(ConnectionError):  # the reader has left
                await self._send(request, response, order.id, seen)
        return response

    async def _send(self, request: web.Request, response: web.StreamResponse, order_id: UUID, seen: int | None) -> None:
        await response.write(f"retry: {RETRY_MS}\n\n".encode())
        last = ""
        following = self.following.follow(order_id, seen, is_gone=lambda: _is_gone(request))
        async with contextlib.aclosing(following) as found:
            async for order in found:
                if order is None:
                    await response.write(b":\n\n")
                    continue
                body = json.dumps(shown(order))
                # Of a change that nobody sees the reader keeps the number alone: without data there is no event.
                event = f"event: order\ndata: {body}\n" if body != last else ""
                await response.write(f"id: {order.version}\n{event}\n".encode())
                last = body

    async def _visible(self, request: web.Request) -> Order:
        if unknown := sorted(request.query.keys() - {"ticket"}):
            raise odd(f"/{unknown[0]}", "There is no such parameter.")
        if "ticket" not in request.query:
            principal = authenticate(request, self.public.people)
            self.public.count_read(request, principal)
            return await self.public.visible(request, principal)
        self.public.count_read(request, None)
        order = await self.public.named(request)
        tickets = request.query.getall("ticket")
        match = _TICKET.fullmatch(tickets[0]) if len(tickets) == 1 else None
        if match is None or not hmac.compare_digest(match["mark"], self._mark(order.id, int(match["until"]))):
            raise not_found()
        if int(match["until"]) <= utc_now().timestamp():
            raise Refused("ticket_expired", "Ask for another ticket.", status=401)
        return order

    def _mark(self, order_id: UUID, until: int) -> str:
        return self.public.derived("events", str(order_id), str(until))


def _last_seen(request: web.Request) -> int | None:
    """The version that an EventSource saw last; None at its first visit, and for what is no version of ours."""
    given = request.headers.get("Last-Event-ID", "")
    return int(given) if _EVENT_ID.fullmatch(given) else None


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def routes(door: Door) -> list[web.RouteDef]:
    """Routes of the public port."""
    return [
        FOLLOW.to(door.stream, allow_head=False),
        CREATE_TICKET.to(door.ticket),
    ]
