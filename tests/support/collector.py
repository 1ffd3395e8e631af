"""A collector of spans: takes them over OTLP as services send them, and keeps them to be looked at."""

import contextlib
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from sandbox.services.children import free_ports


@dataclass(frozen=True, slots=True)
class Span:
    """One span. `parent` is empty for the first of a trace, `links` are (trace, span), each with what links them."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    links: dict[tuple[str, str], str]
    attributes: dict[str, str]
    failed: bool

    @property
    def what(self) -> tuple[str, str]:
        """Whose it is, and its name."""
        return self.service, self.name


@dataclass(slots=True)
class Collector:
    """What came, as spans and as the bytes that they were sent in. While `refusing`, nothing is taken."""

    url: str
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    refusing: bool = False

    def named(self, service: str, name: str) -> list[Span]:
        """Spans of a service by their name."""
        return [span for span in self.spans if span.what == (service, name)]

    def trace_of(self, span: Span) -> list[Span]:
        """All spans of its trace."""
        return [other for other in self.spans if other.trace == span.trace]

    def path_to(self, span: Span) -> list[tuple[str, str]]:
        """The spans above it, from the first of the trace on, and itself.

        Raises:
            KeyError: there is a gap.
        """
        known = {other.id: other for other in self.trace_of(span)}
        path = [span]
        while path[-1].parent:
            path.append(known[path[-1].parent])
        return [one.what for one in reversed(path)]

    def gaps(self) -> list[Span]:
        """Spans whose parent never came, or that are linked with a span that never came."""
        known = {(span.trace, span.id) for span in self.spans}
        return [
            span
            for span in self.spans
            if (span.parent and (span.trace, span.parent) not in known) or not known.issuperset(span.links)
        ]

    async def take(self, request: web.Request) -> web.Response:
        """`POST /v1/traces`."""
        if self.refusing:
            return web.Response(status=400)
        body = await request.read()
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.raw.append(body)
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(one.value.string_value for one in group.resource.attributes if one.key == "service.name")
            self.spans += [_read(service, span) for scope in group.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


def _read(service: str, span: WireSpan) -> Span:
    return Span(
        service=service,
        name=span.name,
        kind=WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links={(link.trace_id.hex(), link.span_id.hex()): _text(link.attributes[0].value) for link in span.links},
        attributes={one.key: _text(one.value) for one in span.attributes},
        failed=span.status.code == 2,
    )


def _text(value: AnyValue) -> str:
    if value.WhichOneof("value") == "array_value":
        return " ".join(_text(one) for one in value.array_value.values)
    return str(getattr(value, value.WhichOneof("value") or "string_value"))


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    (port,) = free_ports(1)
    collector = Collector(f"http://127.0.0.1:{port}")
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield collector
    finally:
        await runner.cleanup()
