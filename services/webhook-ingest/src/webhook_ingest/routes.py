"""The door that Stripe knocks at: cheap refusals first, and one answer for all that is not Stripe's."""

from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from payments_shared import metrics
from payments_shared.clock import utc_now
from payments_shared.errors import Refused
from payments_shared.http import MalformedJson, read_bytes, strict_json_loads
from webhook_ingest.decide import classify, outcome, unusable, verify
from webhook_ingest.handlers import Ingest
from webhook_ingest.model import Event, Outcome, Policy, Rejection, Secret, State

PATH: Final = "/api/payments/webhook"
BODY_MAX_BYTES: Final = 256 * 1024
_RECEIVED: Final = b'{"received":true}'
_OUTCOMES: Final = {name: metrics.WEBHOOK_EVENTS.labels(name.value) for name in Outcome}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """`POST /api/payments/webhook`."""

    ingest: Ingest
    secrets: tuple[Secret, ...]
    policy: Policy

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
        event = self._read(body)
        fresh = await self.ingest.accept(event)
        _OUTCOMES[outcome(event, self.policy) if fresh else Outcome.DUPLICATE].inc()
        if event.state is State.DEAD and fresh:
            log.error("webhook.dead", event_id=event.event_id, reason=event.reason)
        return web.Response(body=_RECEIVED, content_type="application/json")

    def _read(self, body: bytes) -> Event:
        today = utc_now().date()
        try:
            value = strict_json_loads(body)
        except MalformedJson as error:
            return unusable(body, str(error), today)
        return classify(value, body, self.policy, today)


def routes(door: Door) -> list[web.RouteDef]:
    """The public route."""
    return [web.post(PATH, door.receive)]
