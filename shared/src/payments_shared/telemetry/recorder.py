"""What is recorded, by the names of OpenTelemetry's semantic conventions: ids, counts and outcomes.

Nothing that a person wrote is recorded, no path, query, header or body, and of errors their kinds alone: their texts
may quote any of it. What names an order or a message is there.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Final, TypeVar
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from payments_shared import tracing
from payments_shared.errors import PaymentsError
from payments_shared.messaging.delivery import Delivery, Incoming
from payments_shared.messaging.envelope import traceparent_in
from payments_shared.messaging.publisher import Outcome, Outgoing
from payments_shared.messaging.recoverability import ATTEMPT
from payments_shared.messaging.settling import Outcomes

HEADER: Final = "traceparent"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNFOLLOWED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_NOWHERE: Final = Context()
_TOGETHER: Final = {"payments.link": "together"}  # with what shares its transaction

Attributes = Mapping[str, AttributeValue]
T = TypeVar("T")


class Recorder:
    """Records the spans of one process.

    The context of what runs is `payments_shared.tracing`'s alone: a span begins in that of its cause and makes its own
    the current one while it lasts.
    """

    def __init__(self, tracer: trace.Tracer, sample_ratio: float) -> None:
        self._tracer = tracer
        self._sample_ratio = sample_ratio
        self._live: dict[str, Span] = {}
        self.client_trace = self._client_trace()
        self.middleware = self._middleware(_said_by)
        self.public_middleware = self._middleware(self._decided_anew)

    # -- spans -------------------------------------------------------------------------------------------------------

    def start(
        self, name: str, parent: str | None, kind: SpanKind = SpanKind.INTERNAL, attributes: Attributes | None = None
    ) -> Span:
        """A span in the trace of `parent`, or the first of a new trace."""
        context = _NOWHERE if parent is None else trace.set_span_in_context(NonRecordingSpan(_context_of(parent)))
        return self._tracer.start_span(name, context, kind, attributes)

    @contextlib.contextmanager
    def within(self, span: Span) -> Iterator[str]:
        """End `span` with the block, in which its context is the current one."""
        traceparent = traceparent_of(span)
        self._live[traceparent] = span
        try:
            with tracing.continued(traceparent):
                yield traceparent
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            self._live.pop(traceparent, None)
            span.end()

    def link(self, traceparent: str) -> None:
        """Link the span that runs now with another trace, if spans of that were recorded."""
        current = tracing.current_traceparent()
        span = self._live.get(current) if current else None
        if span is not None and tracing.is_sampled(traceparent):
            span.add_link(_context_of(traceparent), {"payments.link": "order"})

    def _link(self, span: Span, other: str) -> None:
        """Link `span` with another that still runs, and that one with it."""
        if tracing.is_sampled(other):
            span.add_link(_context_of(other), _TOGETHER)
        running = self._live.get(other)
        if running is not None and span.get_span_context().trace_flags.sampled:
            running.add_link(span.get_span_context(), _TOGETHER)

    # -- calls outward -----------------------------------------------------------------------------------------------

    def calling(self, peer: str, operation: str) -> contextlib.AbstractContextManager[str]:
        """A call of `peer`. One outside any trace begins one."""
        attributes = {"peer.service": peer, "payments.operation": operation}
        return self.within(
            self.start(f"{peer} {operation}", tracing.current_traceparent(), SpanKind.CLIENT, attributes)
        )

    def doing(self, operation: str, traceparents: Sequence[str | None]) -> contextlib.AbstractContextManager[object]:
        """What is done for many at once; for those of no trace nothing is recorded."""
        known = [one for one in traceparents if one is not None]
        if not known:
            return contextlib.nullcontext()
        span = self.start(operation, known[0], SpanKind.INTERNAL, {"payments.count": len(traceparents)})
        for other in known[1:]:
            self._link(span, other)
        return self.within(span)

    def _client_trace(self) -> aiohttp.TraceConfig:
        """A span for each request of an HTTP client; where that carries our context, it carries the span's instead."""
        config = aiohttp.TraceConfig()

        async def begin(_: object, held: SimpleNamespace, params: aiohttp.TraceRequestStartParams) -> None:
            method = params.method if params.method in METHODS else "HTTP"
            attributes: dict[str, AttributeValue] = {"http.request.method": method}
            if params.url.host is not None and params.url.port is not None:
                attributes |= {"server.address": params.url.host, "server.port": params.url.port}
            held.span = self.start(method, tracing.current_traceparent(), SpanKind.CLIENT, attributes)
            if HEADER in params.headers:
                params.headers[HEADER] = traceparent_of(held.span)

        async def end(_: object, held: SimpleNamespace, params: aiohttp.TraceRequestEndParams) -> None:
            _answered(held.span, params.response.status, bad=400)
            held.span.end()

        async def fail(_: object, held: SimpleNamespace, params: aiohttp.TraceRequestExceptionParams) -> None:
            failed(held.span, params.exception)
            held.span.end()

        config.on_request_start.append(begin)
        config.on_request_end.append(end)
        config.on_request_exception.append(fail)
        return config

    # -- requests ----------------------------------------------------------------------------------------------------

    def _middleware(self, parent_of: Callable[[web.Request], str | None]) -> Middleware:
        @web.middleware
        async def serve(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._serve(request, handler, parent_of(request))

        return serve

    def _decided_anew(self, request: web.Request) -> str | None:
        """A stranger names the trace, and does not decide what recording it costs us: by no flag, and by no trace id
        that he chose."""
        parent = _said_by(request)
        recorded = random.random() < self._sample_ratio  # noqa: S311 - no secret
        return None if parent is None else tracing.decided(parent, recorded=recorded)

    async def _serve(self, request: web.Request, handler: Handler, parent: str | None) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else None
        if route in UNFOLLOWED:
            with tracing.continued(None):
                return await handler(request)
        method = request.method if request.method in METHODS else "HTTP"
        attributes: dict[str, AttributeValue] = {"http.request.method": method, "url.scheme": request.scheme}
        if route is not None:
            attributes["http.route"] = route
        span = self.start(f"{method} {route}" if route else method, parent, SpanKind.SERVER, attributes)
        with self.within(span):
            raised: web.HTTPException | None = None
            try:
                response = await handler(request)
            except web.HTTPException as answer:
                response = raised = answer
            for name in ("request_id", "order_id"):
                if (value := request.get(name)) is not None:
                    span.set_attribute(f"payments.{name}", value)
            _answered(span, response.status, bad=500)
        if raised is not None:
            raise raised
        return response

    # -- messages ----------------------------------------------------------------------------------------------------

    async def published(
        self, messages: Sequence[Outgoing], publish: Callable[[Sequence[Outgoing]], Awaitable[list[Outcome]]]
    ) -> list[Outcome]:
        """Publish, each message in a span of its own, whose context goes with it in a header.

        It belongs to the trace in which the message was said, however often and for whomever it is published.
        """
        spans = [
            self.start(f"publish {one.type}", traceparent_in(one.body), SpanKind.PRODUCER, _of(one)) for one in messages
        ]
        carrying = [
            replace(one, headers={**one.headers, HEADER: traceparent_of(span)})
            for one, span in zip(messages, spans, strict=True)
        ]
        try:
            outcomes = await publish(carrying)
            for span, outcome in zip(spans, outcomes, strict=True):
                span.set_attribute("payments.outcome", outcome.value)
                if outcome is not Outcome.CONFIRMED:
                    span.set_status(Status(StatusCode.ERROR, outcome.value))
        except BaseException as error:
            for span in spans:
                failed(span, error)
            raise
        finally:
            for span in spans:
                span.end()
        return outcomes

    async def handled(
        self, incoming: Incoming, queue: str, handle: Callable[[Incoming], Awaitable[Outcomes]]
    ) -> Outcomes:
        """Handle one message in a span of its own."""

        async def alone(batch: Sequence[Incoming]) -> dict[UUID, Outcomes]:
            return {batch[0].envelope.id: await handle(batch[0])}

        return (await self.handled_together([incoming], queue, alone))[incoming.envelope.id]

    async def handled_together(
        self,
        batch: Sequence[Incoming],
        queue: str,
        handle: Callable[[Sequence[Incoming]], Awaitable[dict[UUID, Outcomes]]],
    ) -> dict[UUID, Outcomes]:
        """Handle a batch in one transaction, each message in a span of its own, in its own trace.

        The transaction is in that of the first, which is linked with the others, and they with it.
        """
        spans = [self._taken_up(one, queue, len(batch)) for one in batch]
        with contextlib.ExitStack() as stack:
            # The first is entered last: its context is the current one.
            contexts = [stack.enter_context(self.within(span)) for span in reversed(spans)][::-1]
            for context in contexts[1:]:
                self._link(spans[0], context)
            outcomes = await handle(
                [
                    replace(one, envelope=one.envelope._replace(traceparent=context))
                    for one, context in zip(batch, contexts, strict=True)
                ]
            )
            for one, span in zip(batch, spans, strict=True):
                span.set_attribute("payments.outcome", outcomes[one.envelope.id])
        return outcomes

    async def kept(self, queue: str, delivery: Delivery, keep: Callable[[str, Delivery], Awaitable[None]]) -> None:
        """Keep a dead letter, whatever it says, in a span of its own."""
        span = self._delivered(delivery, queue, "keep", "dead letter")
        with self.within(span):
            await keep(queue, delivery)

    def _taken_up(self, incoming: Incoming, queue: str, count: int) -> Span:
        envelope, delivery = incoming.envelope, incoming.delivery
        span = self._delivered(delivery, queue, "process", envelope.type)
        span.set_attribute("messaging.message.id", str(envelope.id))
        span.set_attribute("messaging.batch.message_count", count)
        span.set_attribute("cloudevents.event_type", envelope.type)
        if envelope.correlationid is not None:
            span.set_attribute("messaging.message.conversation_id", envelope.correlationid)
        if isinstance(attempt := delivery.headers.get(ATTEMPT), int):
            span.set_attribute("payments.attempt", attempt)
        return span

    def _delivered(self, delivery: Delivery, queue: str, operation: str, what: str) -> Span:
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": operation,
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.rabbitmq.destination.routing_key": delivery.routing_key,
        }
        parent = tracing.well_formed(delivery.headers.get(HEADER)) or traceparent_in(delivery.body)
        return self.start(f"{operation} {what}", parent, SpanKind.CONSUMER, attributes)


def traceparent_of(span: Span) -> str:
    """The context of `span`, as it is written to others."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def _said_by(request: web.Request) -> str | None:
    return tracing.well_formed(request.headers.get(HEADER))


def failed(span: Span, error: BaseException) -> None:
    """Mark `span` as failed by an error of this kind; its text may quote what is personal, and is in the log."""
    span.set_attribute("error.type", error.code if isinstance(error, PaymentsError) else type(error).__qualname__)
    span.set_status(Status(StatusCode.ERROR))


def _context_of(traceparent: str) -> SpanContext:
    """Of a well-formed one."""
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _answered(span: Span, status: int, *, bad: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= bad:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))


def _of(message: Outgoing) -> Attributes:
    attributes: dict[str, AttributeValue] = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": message.exchange,
        "messaging.rabbitmq.destination.routing_key": message.routing_key,
        "messaging.message.id": str(message.message_id),
        "cloudevents.event_type": message.type,
    }
    if message.correlation_id is not None:
        attributes["messaging.message.conversation_id"] = message.correlation_id
    return attributes
