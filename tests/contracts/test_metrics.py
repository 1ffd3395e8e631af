"""The page of metrics is current, and their closed sets are those of the code."""

from enum import StrEnum
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from checkout.decide.declines import PROBLEMS, UNKNOWN, known_code
from checkout.handlers import holding
from checkout.model.orders import State as OrderState
from inventory.model import State as ReservationState
from payments_shared import metrics
from payments_shared.contracts.catalog import CONSUMERS, SERVICES
from payments_shared.messaging.publisher import Outcome as PublishOutcome
from payments_shared.messaging.recoverability import Reason
from payments_shared.metrics import DESCRIBED, METHOD, OTHER, REGISTRY, CounterElsewhere, Metric, currency
from payments_shared.metrics_page import page, recorded_by
from payments_shared.money import SUPPORTED
from payments_shared.sweeper import Outcome as SweepOutcome
from refunds.model.disputes import DisputeState
from refunds.model.refunds import State as RefundState
from refunds.model.submissions import SubmissionState
from webhook_ingest.model import Outcome as EventOutcome
from webhook_ingest.model import Rejection

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make contracts"


def test_every_metric_is_on_the_page_with_a_unit_in_its_name_and_somebody_who_records_it() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert [one.name for one in DESCRIBED.values() if f"| `{one.name}` |" not in text] == []
    assert [name for name, services in recorded_by().items() if not services] == []
    assert len(recorded_by()) == len(DESCRIBED)
    for described in DESCRIBED.values():
        assert described.name.startswith("payments_")
        assert (described.kind == "counter") == described.name.endswith("_total"), described.name
        assert described.text.endswith(".")
        assert all(label.values or label.bound for label in described.labels)


def test_a_service_records_what_it_names_and_what_the_parts_of_the_chassis_do_that_it_uses() -> None:
    assert recorded_by()["RESERVATIONS"] == ("inventory",)
    assert recorded_by()["STRIPE_CALLS"] == ("webhook-ingest", "checkout", "refunds")
    assert recorded_by()["CONSUMERS_ACTIVE"] == CONSUMERS
    assert recorded_by()["OUTBOX_DEPTH"] == SERVICES


def _values(metric: Metric, label: str) -> set[str]:
    (found,) = (one for one in DESCRIBED[metric].labels if one.name == label)
    return set(found.values)


@pytest.mark.parametrize(
    ("metric", "label", "states", "besides"),
    [
        (metrics.ORDERS, "outcome", OrderState, {"placed"}),
        (metrics.RESERVATIONS, "outcome", ReservationState, {"out_of_stock"}),
        (metrics.REFUNDS, "outcome", RefundState, set()),
        (metrics.DISPUTES, "state", DisputeState, set()),
        (metrics.EVIDENCE, "outcome", SubmissionState, set()),
        (metrics.WEBHOOK_REJECTED, "reason", Rejection, set()),
        (metrics.WEBHOOK_EVENTS, "outcome", EventOutcome, set()),
        (metrics.OUTBOX_PUBLISHED, "outcome", PublishOutcome, set()),
        (metrics.DEAD_LETTERS_PUBLISHED, "reason", Reason, set()),
        (metrics.SWEEPS, "outcome", SweepOutcome, set()),
    ],
)
def test_a_closed_set_is_that_of_the_code(metric: Metric, label: str, states: type[StrEnum], besides: set[str]) -> None:
    """Nothing comes to the state in which it begins."""
    begins = {"pending"} if states is OrderState else {"requested"} if states is RefundState else {"intended"}

    assert _values(metric, label) - besides == set(states) - (begins & set(states))


def test_reasons_for_holding_and_services_are_those_of_the_code() -> None:
    assert _values(metrics.ORDERS_HELD, "reason") == set(holding.REASONS)
    assert _values(metrics.DEAD_LETTERS_OPEN, "service") == set(CONSUMERS)


def test_what_stripe_may_name_any_day_is_other() -> None:
    assert METHOD.of("card") == "card"
    assert METHOD.of("pay_by_thought") == METHOD.of(None) == OTHER
    assert {currency(code) for code in SUPPORTED} == SUPPORTED
    assert currency("xxx") == OTHER
    assert known_code("insufficient_funds", "card_declined") == "insufficient_funds"
    assert known_code("by_the_moon", "card_declined") == "card_declined"
    assert known_code("by_the_moon", None) == UNKNOWN == OTHER
    assert OTHER not in PROBLEMS


def test_everything_that_is_exposed_is_described() -> None:
    """Beside the collectors of Python's own."""
    kinds = Counter | Gauge | Histogram | CounterElsewhere
    ours = {collector for collector in REGISTRY._collector_to_names if isinstance(collector, kinds)}

    assert ours == set(DESCRIBED)


def test_a_counter_from_zero_shows_each_of_its_closed_sets() -> None:
    made = metrics._counter(
        "payments_tries_total", "Tries.", metrics.Label("a", ("x", "y")), metrics.Label("b", bound="few")
    )
    try:
        metrics.from_zero(made, b=["1"])

        (family,) = made.collect()
        shown = {
            (sample.labels["a"], sample.labels["b"]) for sample in family.samples if sample.name.endswith("_total")
        }
        assert shown == {("x", "1"), ("y", "1")}
    finally:
        REGISTRY.unregister(made)
        del DESCRIBED[made]


def test_what_another_server_counts_is_shown_as_it_stands_there() -> None:
    made = CounterElsewhere("payments_elsewhere_total", "Elsewhere.", ("act",))
    try:
        made.set(7, "read")
        made.set(9, "read")

        (family,) = made.collect()
        assert [(sample.name, sample.labels, sample.value) for sample in family.samples] == [
            ("payments_elsewhere_total", {"act": "read"}, 9)
        ]
    finally:
        REGISTRY.unregister(made)
