"""The way out of spans: bounded, in a thread of its own, and never waited for."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from payments_shared import __version__, metrics
from payments_shared.clock import monotonic_seconds

WAITING_MAX: Final = 4096
BATCH: Final = 512
DELAY_MS: Final = 1000
EXPORT_SECONDS: Final = 5.0  # for one batch, retries included
CLOSE_SECONDS: Final = 3.0
LINKS_MAX: Final = 512  # a transaction may handle so many messages
COMPLAIN_SECONDS: Final = 60.0

log = structlog.get_logger(__name__)


class _Seldom(logging.Filter):
    """The exporter says of each batch that it was not taken. Once in a while is enough; all are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._quiet_until = 0.0

    def filter(self, _: logging.LogRecord) -> bool:
        now = monotonic_seconds()
        if now < self._quiet_until:
            return False
        self._quiet_until = now + COMPLAIN_SECONDS
        return True


class _Counting(SpanExporter):
    """Counts what the collector took and what it did not. `handed` is changed by the exporting thread alone."""

    def __init__(self, inner: SpanExporter) -> None:
        self.handed = 0
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.handed += len(spans)
        result = self._inner.export(spans)
        metrics.SPANS.labels("exported" if result is SpanExportResult.SUCCESS else "failed").inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _Bounded(BatchSpanProcessor):
    """Drops, and counts, what comes while `WAITING_MAX` spans wait. `_taken` is changed by the event loop alone."""

    def __init__(self, exporter: _Counting) -> None:
        super().__init__(
            exporter, max_queue_size=WAITING_MAX + BATCH, schedule_delay_millis=DELAY_MS, max_export_batch_size=BATCH
        )
        self._counting = exporter
        self._taken = 0

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._taken - self._counting.handed >= WAITING_MAX:
            metrics.SPANS.labels("dropped").inc()
            return
        self._taken += 1
        super().on_end(span)


@dataclass(frozen=True, slots=True)
class Export:
    """What spans of this process go through."""

    provider: TracerProvider

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("payments", __version__)

    async def close(self) -> None:
        """Send what waits, for `CLOSE_SECONDS` at most: a collector that is away keeps no process from its end."""
        loop, sent = asyncio.get_running_loop(), asyncio.Event()

        def send() -> None:
            self.provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has gone, and whoever waited with it
                loop.call_soon_threadsafe(sent.set)

        threading.Thread(target=send, name="spans-close", daemon=True).start()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await sent.wait()
        except TimeoutError:
            log.warning("spans.not_sent", seconds=CLOSE_SECONDS)


def start_export(service: str, endpoint: str, *, sample_ratio: float) -> Export:
    """Send the spans of `service` to an OTLP/HTTP collector, such as `http://collector:4318`.

    Of traces that begin here `sample_ratio` are recorded; the others are as their first service here decided.
    """
    for outcome in ("exported", "failed", "dropped"):
        metrics.SPANS.labels(outcome)  # from zero on, so that the first of each is a rise
    logging.getLogger(OTLPSpanExporter.__module__).addFilter(_Seldom())
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource(
            {
                "service.name": service,
                "service.namespace": "payments",
                "service.version": __version__,
                "service.instance.id": socket.gethostname(),
            }
        ),
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_links=LINKS_MAX, max_attribute_length=256),
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    provider.add_span_processor(_Bounded(_Counting(exporter)))
    return Export(provider)
