"""Every metric of the platform, by name. Labels come from closed sets; no id, address or amount is ever a label."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = _FAST) -> Histogram:
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


READY = _gauge("payments_ready", "1 while the check of readiness passes; asked with every exposition.", "check")

LOOP_TURN_SECONDS = _histogram(
    "payments_loop_turn_seconds",
    "CPU time between two ticks of the event loop; above 0.05 every caller notices.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)

HTTP_REQUESTS = _counter("payments_http_requests_total", "Requests answered.", "route", "method", "status")
HTTP_REQUEST_SECONDS = _histogram("payments_http_request_seconds", "Time to answer.", "route", "method")

MESSAGES_CONSUMED = _counter(
    "payments_messages_consumed_total",
    "Deliveries settled: applied, duplicate, refused, stale, retry, dead.",
    "type",
    "outcome",
)
MESSAGE_HANDLE_SECONDS = _histogram("payments_message_handle_seconds", "One transaction of a batch.", "type")
MESSAGE_END_TO_END_SECONDS = _histogram(
    "payments_message_end_to_end_seconds", "From the fact to its effect.", "type", buckets=_SLOW
)
MESSAGES_REDELIVERED = _counter("payments_messages_redelivered_total", "Deliveries that the broker repeated.")
STALE_ACKS = _counter("payments_stale_acks_total", "Acknowledgements after the channel was gone.")
RETRIES_PUBLISHED = _counter("payments_retries_published_total", "Messages sent to a retry tier.", "tier")
DEAD_LETTERS_PUBLISHED = _counter("payments_dead_letters_published_total", "Messages dead-lettered.", "reason")
INBOX_DUPLICATES = _counter("payments_inbox_duplicates_total", "Deliveries that had taken effect before.")
CONSUMERS_ACTIVE = _gauge("payments_consumers_active", "1 while the broker counts us as consumer.", "queue")
CONSUMERS_EXPECTED = _gauge("payments_consumers_expected", "Consumers that should be active.", "queue")
CONSUMER_PAUSED = _gauge(
    "payments_consumer_paused", "1 while a queue rests because a dependency is away.", "queue", "reason"
)
AMQP_CONNECTED = _gauge("payments_amqp_connected", "1 while the link is open.", "role")
AMQP_BLOCKED = _gauge("payments_amqp_blocked", "1 while an alarm at the broker holds our publishing back.")

OUTBOX_DEPTH = _gauge("payments_outbox_depth", "Messages due and not yet confirmed by the broker.")
OUTBOX_OLDEST_SECONDS = _gauge("payments_outbox_oldest_seconds", "Age of the oldest of them.")
OUTBOX_PUBLISHED = _counter("payments_publishes_total", "Publishes by outcome.", "outcome")
PUBLISH_CONFIRM_SECONDS = _histogram("payments_publish_confirm_seconds", "From publish to the last confirm of a batch.")

STRIPE_CALLS = _counter("payments_stripe_calls_total", "Calls to Stripe: ok, refused, unknown.", "operation", "outcome")
STRIPE_CALL_SECONDS = _histogram("payments_stripe_call_seconds", "Time of a call, retries included.", "operation")
STRIPE_BREAKER_OPEN = _gauge("payments_stripe_breaker_open", "1 while calls to Stripe are refused at once.")

WEBHOOK_REJECTED = _counter("payments_webhook_rejected_total", "Webhook requests refused.", "reason")
WEBHOOK_EVENTS = _counter(
    "payments_webhook_events_total", "Events stored, by what they are to us; known ones are duplicates.", "outcome"
)
WEBHOOK_FLUSH_SIZE = _histogram(
    "payments_webhook_flush_size",
    "Events stored by one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)

ORDERS = _counter("payments_orders_total", "Orders by what became of them.", "outcome")
ORDERS_TAXED_ELSEWHERE = _counter(
    "payments_orders_taxed_elsewhere_total", "Paid orders that go to another place than their tax was counted for."
)
ORDERS_HELD = _gauge("payments_orders_held", "Paid orders of which nothing may leave.", "reason")
ORDERS_UNDECIDED_SECONDS = _gauge(
    "payments_orders_undecided_seconds", "How long the held order waits that waits longest for a person.", "reason"
)
RISK_DECISIONS = _counter("payments_risk_decisions_total", "What gates against fraud came to.", "gate", "outcome")
CHECKOUTS_STOPPED = _gauge("payments_checkouts_stopped", "1 while no new checkouts are taken, as somebody decided.")
STREAMS_OPEN = _gauge("payments_streams_open", "Callers who follow an order at this moment.")
RATE_LIMITED = _counter("payments_rate_limited_total", "Requests held back by a limit.", "limit")
RESERVATIONS = _counter("payments_reservations_total", "Stock holds by outcome.", "outcome")
REFUNDS = _counter("payments_refunds_total", "Refunds by outcome.", "outcome")
REFUNDS_UNANSWERED = _gauge(
    "payments_refunds_unanswered", "Refunds owed for over a quarter of an hour of which Stripe has said nothing."
)
REFUNDS_UNANSWERED_OLDEST_SECONDS = _gauge(
    "payments_refunds_unanswered_oldest_seconds", "Age of the oldest of them; 0 when there is none."
)
MAILS = _counter("payments_mails_total", "Mails by outcome.", "outcome")
SWEEPER_HEALED = _counter("payments_sweeper_healed_total", "Work that a sweeper had to finish.", "kind")
SWEEPS = _counter(
    "payments_sweeps_total",
    "Rounds of sweepers: clean, healed, failed when anything could not be looked at, skipped when nothing was.",
    "sweep",
    "outcome",
)
SWEEPS_HEALING = _gauge("payments_sweeps_healing", "Rounds in a row of a sweeper that had to heal.", "sweep")
DEAD_LETTERS_OPEN = _gauge("payments_dead_letters_open", "Dead letters waiting for a person.", "service")
BULK_PAUSED_OLDEST_SECONDS = _gauge("payments_bulk_paused_oldest_seconds", "Since when a replay in bulk stands paused.")


def render() -> bytes:
    """The exposition of all metrics."""
    return generate_latest(REGISTRY)
