"""The door that Stripe knocks at: cheap refusals first, and one answer for all that is not Stripe's."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.http import read_bytes
from webhook_ingest.decide import verify
from webhook_ingest.handlers.ingesting import Ingest
from webhook_ingest.model import Rejection, Secret

PATH: Final = "/api/payments/webhook"
BODY_MAX_BYTES: Final = 256 * 1024
_RECEIVED: Final = b'{"received":true}'


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
    return [web.post(PATH, door.receive)]
