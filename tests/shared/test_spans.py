"""Spans are recorded only where they go somewhere, say nothing that a person wrote, and never hold anybody up."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from structlog.testing import capture_logs

from payments_shared import metrics, tracing
from payments_shared.contracts.catalog import SERVICES, schema_name
from payments_shared.errors import Refused
from payments_shared.telemetry import Recorder, exporting
from payments_shared.telemetry.database import name_of
from payments_shared.telemetry.exporting import BATCH, WAITING_MAX, _Bounded, _Counting
from payments_shared.telemetry.recorder import traceparent_of

CANARY = "c4n4ry@example.com"
OF_ANOTHER = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
UNSAMPLED = OF_ANOTHER[:-2] + "00"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is recorded by a process that records none of the traces that it begins itself."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "recorder", Recorder(provider.get_tracer("test")))
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
