"""The door that Stripe knocks at: cheap refusals first, and one answer for all that is not Stripe's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiohttp import web
from typing_extensions import TypedDict

from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.http import read_bytes
from payments_shared.http.operations import (
    DATABASE_AWAY,
    READ_AS_BYTES,
    Answer,
    Body,
    Credential,
    Operation,
    Refusal,
    Scheme,
    Section,
)
from webhook_ingest.decide import verify
from webhook_ingest.handlers.ingesting import Ingest
from webhook_ingest.model import Rejection, Secret

PATH: Final = "/api/payments/webhook"
BODY_MAX_BYTES: Final = 256 * 1024
_RECEIVED: Final = b'{"received":true}'


class Received(TypedDict):
    """The event is stored durably, or is kept for a person."""

    received: Literal[True]


SIGNATURE: Final = Scheme(
    "stripeSignature",
    {
        "type": "apiKey",
        "in": "header",
        "name": "Stripe-Signature",
        "description": "Exactly one, `t=…,v1=…`: an HMAC of the raw bytes under the endpoint's secret.",
    },
)
RECEIVE: Final = Operation(
    method="POST",
    path=PATH,
    id="receiveStripeEvent",
    summary="Take a Stripe event.",
    description=(
        "The signature is verified over the raw bytes, two-sided within 300 seconds. 200 means that the event is "
        "stored durably; a repeat is answered 200 and changes nothing. A signed event that cannot be used is kept for "
        "a person and answered 200 as well."
    ),
    callers=(Credential(SIGNATURE),),
    body=Body(
        Mapping[str, Any],  # Any: whatever Stripe says
        description="A Stripe event, at most 256 KiB, with a `Content-Length` and no content coding.",
        refusals=READ_AS_BYTES,
    ),
    answers=(Answer(200, "Stored.", Received),),
    refusals=(
        Refusal(400, "invalid_signature", "whatever is wrong with it."),
        Refusal(411, "length_required", "there is no `Content-Length`."),
        DATABASE_AWAY,
    ),
)
SECTION: Final = Section("stripe", "For Stripe alone.", (RECEIVE,))


@dataclass(frozen=True, slots=True)
class Door:
    """`POST /api/payments/webhook`."""

    ingest: Ingest
    secrets: tuple[Secret, ...]

    async def receive(self, request: web.Request) -> web.Response:
        """Verify, store, answer 200. Once the signature is good the answer is never 4xx: Stripe would repeat it."""
        if request.content_type != "application/json":
            raise Refused("unsupported_media_type", "Send application/json.", status=415)
        if request.content_length is None:
            raise Refused("length_required", "Send one Content-Length.", status=411)
        body = await read_bytes(request)
        given = request.headers.getall("Stripe-Signature", [])
        verdict = verify(given[0], body, self.secrets, utc_now()) if len(given) == 1 else Rejection.HEADER
        if isinstance(verdict, Rejection):
            metrics.WEBHOOK_REJECTED.labels(verdict.value).inc()
            raise Refused("invalid_signature", "The request is not signed by Stripe.", status=400)
        await self.ingest.accept(body)
        return web.Response(body=_RECEIVED, content_type="application/json")


def routes(door: Door) -> list[web.RouteDef]:
    """The public route."""
    return [RECEIVE.to(door.receive)]
