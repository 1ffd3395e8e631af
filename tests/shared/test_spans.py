"""Spans are recorded only where they go somewhere, say nothing that a person wrote, and never hold anybody up."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from structlog.testing import capture_logs

from payments_shared import metrics, tracing
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.errors import Refused
from payments_shared.http.api import Api
from payments_shared.http.app import internal_app, public_app
from payments_shared.http.serving import serve
from payments_shared.telemetry import Recorder, exporting
from payments_shared.telemetry.database import name_of
from payments_shared.telemetry.exporting import BATCH, WAITING_MAX, _Bounded, _Counting
from payments_shared.telemetry.recorder import traceparent_of

CANARY = "c4n4ry@example.com"
OF_ANOTHER = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = OF_ANOTHER[:-2] + "00"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[InMemorySpanExporter]:
    """What is recorded by a process that records none of the traces that it begins itself, or the share of them that the
    test wants."""
    share = getattr(request, "param", 0.0)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "recorder", Recorder(provider.get_tracer("test"), share))
    yield exporter
    provider.shutdown()


# -- off -------------------------------------------------------------------------------------------------------------

OFF = """
import importlib, sys
from payments_shared import tracing
for name in sys.argv[1:]:
    importlib.import_module(name)
assert tracing.recorder is None
with tracing.calling("stripe", "x"), tracing.doing("x", [1], str):
    tracing.link(tracing.new_traceparent())
assert (tracing.kept(), tracing.middlewares(), tracing.client_traces()) == (None, (), None)
assert tracing.public_middlewares() == ()
assert tracing.calling("stripe", "x") is tracing.calling("smtp", "y") is tracing.doing("x", [1], str)
print([name for name in sys.modules if name.startswith(("opentelemetry", "payments_shared.telemetry", "google.proto"))])
"""


def test_no_service_imports_anything_of_it_by_itself() -> None:
    apps = [f"{schema_name(service)}.app" for service in SERVICES]

    done = subprocess.run(
        [sys.executable, "-c", OFF, *apps, "sandbox.shop.app"], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


MISSING = """
import sys
from payments_shared.process import record_spans
sys.modules["opentelemetry"] = None
record_spans("checkout", "http://127.0.0.1:1", 1.0)
"""


def test_an_endpoint_without_what_it_needs_refuses_to_start_and_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", MISSING], capture_output=True, text=True, check=False)

    assert done.returncode == 78
    assert done.stderr.startswith("PAYMENTS_OTLP_ENDPOINT: needs payments-shared[tracing]")


# -- whose decision it is --------------------------------------------------------------------------------------------


def test_the_first_service_of_a_trace_decides_for_all(kept: InMemorySpanExporter) -> None:
    assert tracing.recorder is not None
    with tracing.continued(OF_ANOTHER), tracing.calling("smtp", "send"):
        followed = tracing.current_traceparent()
    with tracing.continued(UNSAMPLED), tracing.calling("smtp", "send"):
        unfollowed = tracing.current_traceparent()
    with tracing.calling("smtp", "send"):
        own = tracing.current_traceparent()

    assert followed is not None
    assert unfollowed is not None
    assert own is not None
    (span,) = kept.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == OF_ANOTHER[3:52]
    assert tracing.trace_id_of(followed) == tracing.trace_id_of(unfollowed) == "a" * 32
    assert [tracing.is_sampled(one) for one in (followed, unfollowed, own)] == [True, False, False]
    assert tracing.current_traceparent() is None


async def _asked(app: web.Application, traceparent: str) -> str:
    """The trace context in which a request with such a header is answered."""

    async def context(_: web.Request) -> web.Response:
        return web.Response(text=tracing.current_traceparent())

    app.router.add_get("/context", context)
    server = await serve(app, host="127.0.0.1", port=0)
    try:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{server.url}/context", headers={"traceparent": traceparent}) as answer,
        ):
            return await answer.text()
    finally:
        await server.stop()


@pytest.mark.parametrize(("kept", "recorded"), [(0.0, False), (1.0, True)], indirect=["kept"])
@pytest.mark.parametrize("said", [OF_ANOTHER, UNSAMPLED])
async def test_a_stranger_names_his_trace_and_does_not_decide_whether_it_is_recorded(
    kept: InMemorySpanExporter, said: str, *, recorded: bool
) -> None:
    context = await _asked(public_app(service="test"), said)

    assert tracing.trace_id_of(context) == tracing.trace_id_of(OF_ANOTHER)
    assert tracing.is_sampled(context) == recorded
    spans = kept.get_finished_spans()
    assert [f"{span.parent.span_id:016x}" for span in spans if span.parent] == ["b" * 16] * recorded


@pytest.mark.parametrize("kept", [0.3], indirect=True)
async def test_no_trace_id_is_recorded_more_than_others(kept: InMemorySpanExporter) -> None:
    """One that a ratio of trace ids would always take."""
    lowest = "00-" + "0" * 31 + "1-" + "b" * 16 + "-01"
    app = public_app(service="test")

    async def nothing(_: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/", nothing)
    server = await serve(app, host="127.0.0.1", port=0)
    async with aiohttp.ClientSession() as http:
        for _ in range(200):
            async with http.get(server.url, headers={"traceparent": lowest}) as answer:
                assert answer.status == 200
    await server.stop()

    assert 20 < len(kept.get_finished_spans()) < 110


@pytest.mark.parametrize("kept", [0.0, 1.0], indirect=True)
@pytest.mark.parametrize(("said", "recorded"), [(OF_ANOTHER, True), (UNSAMPLED, False)])
async def test_between_services_the_first_one_has_decided(
    kept: InMemorySpanExporter, said: str, *, recorded: bool
) -> None:
    context = await _asked(internal_app(api=Api("test", "A test."), checks={}), said)

    assert tracing.trace_id_of(context) == tracing.trace_id_of(OF_ANOTHER)
    assert tracing.is_sampled(context) == recorded == bool(kept.get_finished_spans())


@pytest.mark.parametrize(
    "given", [None, "", "x", OF_ANOTHER + "\n", OF_ANOTHER[:-3], "00-" + "0" * 32 + OF_ANOTHER[35:], 7, b"00"]
)
def test_what_is_no_context_begins_a_trace(given: object) -> None:
    assert tracing.well_formed(given) is None
    assert tracing.well_formed(OF_ANOTHER) == OF_ANOTHER


def test_a_link_leads_only_to_what_was_recorded(kept: InMemorySpanExporter) -> None:
    with tracing.continued(OF_ANOTHER), tracing.calling("smtp", "send"):
        for other in ("00-" + "c" * 32 + "-" + "d" * 16 + "-01", "00-" + "e" * 32 + "-" + "f" * 16 + "-00", None):
            tracing.link(other)

    (span,) = kept.get_finished_spans()
    assert [f"{link.context.trace_id:x}" for link in span.links] == ["c" * 32]


def test_what_is_done_for_many_is_linked_with_each_and_each_with_it(kept: InMemorySpanExporter) -> None:
    recorder = tracing.recorder
    assert recorder is not None
    with (
        recorder.within(recorder.start("one", OF_ANOTHER)) as one,
        recorder.within(recorder.start("two", "00-" + "c" * 32 + "-" + "d" * 16 + "-01")) as two,
        tracing.doing("both", [None, one, two], lambda item: item),
    ):
        pass

    spans = {span.name: span for span in kept.get_finished_spans()}
    assert spans["both"].parent is not None
    assert spans["both"].parent.span_id == spans["one"].context.span_id
    assert [link.context.span_id for link in spans["both"].links] == [spans["two"].context.span_id]
    assert [link.context.span_id for link in spans["two"].links] == [spans["both"].context.span_id]


# -- what they say ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError(CANARY), "ValueError"), (Refused("out_of_stock", CANARY), "out_of_stock")]
)
def test_of_an_error_its_kind_is_recorded_and_not_its_text(
    kept: InMemorySpanExporter, error: Exception, kind: str
) -> None:
    with pytest.raises(type(error)), tracing.continued(OF_ANOTHER), tracing.calling("stripe", "refunds.create"):
        raise error

    (span,) = kept.get_finished_spans()
    assert not span.status.is_ok
    assert span.attributes == {
        "peer.service": "stripe",
        "payments.operation": "refunds.create",
        "error.type": kind,
    }
    assert CANARY not in span.to_json()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("-- lock_order\n-- FOR UPDATE ends a race.\nSELECT 1", "lock_order"),
        ("\nINSERT INTO inbox (day) VALUES ($1)", "INSERT"),
        ("select 1", "SELECT"),
        ("(SELECT 1)", "statement"),
    ],
)
def test_a_statement_is_named_as_in_its_file_or_by_its_verb(query: str, name: str) -> None:
    assert name_of(query) == name


# -- the way out -----------------------------------------------------------------------------------------------------


class _Stuck(SpanExporter):
    """A collector that takes its time until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let_go.wait()
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


def _counted(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("payments_spans_total", {"outcome": outcome}) or 0.0


def test_what_comes_while_too_many_wait_is_dropped_and_counted_and_nobody_waits() -> None:
    stuck = _Stuck()
    counting = _Counting(stuck)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_Bounded(counting))
    tracer = provider.get_tracer("test")
    dropped, exported = _counted("dropped"), _counted("exported")
    made = WAITING_MAX + 2 * BATCH

    for _ in range(made):
        tracer.start_span("x", kind=SpanKind.INTERNAL).end()
    assert stuck.exported == 0, "the exporter stands still, and all spans have ended"
    stuck.let_go.set()
    provider.shutdown()

    assert _counted("dropped") - dropped >= BATCH
    assert _counted("dropped") - dropped + stuck.exported == made
    assert _counted("exported") - exported == stuck.exported == counting.handed


async def test_a_collector_that_stands_still_keeps_no_process_from_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = _Stuck()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(_Bounded(_Counting(stuck)))
    provider.get_tracer("test").start_span("x").end()
    monkeypatch.setattr(exporting, "CLOSE_SECONDS", 0.05)

    with capture_logs() as logs:
        await exporting.Export(provider).close()

    assert [line["event"] for line in logs] == ["spans.not_sent"]
    assert stuck.exported == 0
    stuck.let_go.set()


def test_a_span_is_written_to_others_as_w3c_says() -> None:
    span = TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("x")

    assert tracing.well_formed(traceparent_of(span)) == traceparent_of(span)
