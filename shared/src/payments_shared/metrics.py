"""Every metric of the platform, by name. Labels come from closed sets, or are bounded by what the code and its
contracts name; no id, address or amount is ever a label. `docs/metrics.md` is made of this."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import product
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from payments_shared import money

REGISTRY: Final = CollectorRegistry()
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


# -- labels ------------------------------------------------------------------------------------------------------------

OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Label:
    """A label. `values` are all that it can be; where they are many, or each service has its own, `bound`
    says what they are taken from."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""

    def of(self, value: str | None) -> str:
        """`value` if it is one of `values`, which end with `other`, else that: Stripe may name new ones any day."""
        return value if value is not None and value in self.values else OTHER


ROUTE: Final = Label("route", bound="templates of the service's routes, and `unmatched`")
HTTP_METHOD: Final = Label("method", ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"))
STATUS: Final = Label("status", bound="HTTP statuses that the service answers with")
MESSAGE_TYPE: Final = Label("type", bound="message types of the contracts that the service hears, and `other`")
QUEUE: Final = Label("queue", bound="the service's queues")
OPERATION: Final = Label("operation", bound="calls to Stripe that the code names, as Stripe's SDK does, and `ask`")
SWEEP: Final = Label("sweep", bound="sweeps that the service runs, `<service>:<name>`")
SERVICE: Final = Label("service", ("checkout", "inventory", "fulfillment", "refunds", "notifications", "operations"))
SCHEMA: Final = Label("schema", bound="schemas of the services")
POOL: Final = Label("pool", ("main", "import"))
CURRENCY: Final = Label("currency", bound="currencies of Stripe that the platform supports, and `other`")
METHOD: Final = Label(
    "method",
    (
        *("acss_debit", "affirm", "afterpay_clearpay", "alipay", "alma", "amazon_pay", "au_becs_debit", "bacs_debit"),
        *("bancontact", "blik", "boleto", "card", "cashapp", "customer_balance", "eps", "fpx", "giropay", "grabpay"),
        *("ideal", "kakao_pay", "klarna", "konbini", "kr_card", "link", "mobilepay", "multibanco", "naver_pay", "oxxo"),
        *("p24", "pay_by_bank", "payco", "paynow", "paypal", "pix", "promptpay", "revolut_pay", "samsung_pay"),
        *("satispay", "sepa_debit", "sofort", "swish", "twint", "us_bank_account", "wechat_pay", "zip", OTHER),
    ),
    bound="types of Stripe's payment methods, and `other`",
)
"""Source: Stripe API, PaymentMethod, "type"."""
DECLINE_CODE: Final = Label("code", bound="Stripe's codes of which checkout knows what to tell a buyer, and `other`")
HELD_REASON: Final = Label(
    "reason", ("amount_mismatch", "currency_mismatch", "review", "review_rejected", "early_fraud_warning")
)


def currency(code: str) -> str:
    """The label for a currency."""
    return code if code in money.SUPPORTED else OTHER


# -- making them -------------------------------------------------------------------------------------------------------


class CounterElsewhere(Collector):
    """A counter that another server counts: what it stands at there is set here, by the values of its labels."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.name, self.text, self.labelnames = name, text, labels
        self._totals: dict[tuple[str, ...], float] = {}
        REGISTRY.register(self)

    def set(self, total: float, *values: str) -> None:
        """It stands at `total`."""
        self._totals[values] = total

    def collect(self) -> Iterable[CounterMetricFamily]:
        """As the registry asks for it."""
        family = CounterMetricFamily(self.name, self.text, labels=self.labelnames)
        for values, total in self._totals.items():
            family.add_metric(values, total)
        return [family]


Metric = Counter | Gauge | Histogram | CounterElsewhere


@dataclass(frozen=True, slots=True)
class Described:
    """A metric as it is documented; `kind` in Prometheus's words."""

    name: str
    kind: str
    text: str
    labels: tuple[Label, ...]


DESCRIBED: Final[dict[Metric, Described]] = {}


def _described(metric: Metric, kind: str, name: str, text: str, labels: tuple[Label, ...]) -> None:
    DESCRIBED[metric] = Described(name, kind, text, labels)


def _counter(name: str, text: str, *labels: Label) -> Counter:
    made = Counter(name, text, [label.name for label in labels], registry=REGISTRY)
    _described(made, "counter", name, text, labels)
    return made


def _gauge(name: str, text: str, *labels: Label) -> Gauge:
    made = Gauge(name, text, [label.name for label in labels], registry=REGISTRY)
    _described(made, "gauge", name, text, labels)
    return made


def _histogram(name: str, text: str, *labels: Label, buckets: tuple[float, ...] = _FAST) -> Histogram:
    made = Histogram(name, text, [label.name for label in labels], registry=REGISTRY, buckets=buckets)
    _described(made, "histogram", name, text, labels)
    return made


def _elsewhere(name: str, text: str, *labels: Label) -> CounterElsewhere:
    made = CounterElsewhere(name, text, tuple(label.name for label in labels))
    _described(made, "counter", name, text, labels)
    return made


def from_zero(metric: Counter, **given: Iterable[str]) -> None:
    """Show `metric` with every combination of its labels from 0 on, so that the first of each is seen to be a rise.
    `given` has the values of a label where the service has not all of them, or where they are not listed here."""
    sets = [tuple(given.get(label.name, label.values)) for label in DESCRIBED[metric].labels]
    for values in product(*sets):
        metric.labels(*values)


def set_days(metric: Gauge, **given: date | None) -> None:
    """Show the days of `given`, by the value of the one label; those that are not known are not shown."""
    for value, day in given.items():
        if day is not None:
            metric.labels(value).set(datetime.combine(day, time(), UTC).timestamp())


# -- processes ---------------------------------------------------------------------------------------------------------

READY = _gauge(
    "payments_ready",
    "1 while the check of readiness passes; asked with every exposition.",
    Label("check", bound="checks of the service's `/readyz`"),
)
LOOP_TURN_SECONDS = _histogram(
    "payments_loop_turn_seconds",
    "CPU time between two ticks of the event loop; above 0.05 every caller notices.",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)
POOL_CONNECTIONS = _gauge(
    "payments_pool_connections",
    "Connections to PostgreSQL that a pool holds.",
    POOL,
    Label("state", ("idle", "in_use")),
)
POOL_CONNECTIONS_MAX = _gauge("payments_pool_connections_max", "How many a pool may hold.", POOL)
POOL_WAITING = _gauge("payments_pool_waiting", "Callers who wait for a connection of a pool.", POOL)
SECRET_CREATED = _gauge(
    "payments_secret_created_timestamp_seconds",
    "When a secret of Stripe's was made, as its setting `..._CREATED_ON` says; not shown where that is not set.",
    Label("secret", ("stripe_api_key", "stripe_webhook_secrets")),
)

# -- HTTP --------------------------------------------------------------------------------------------------------------

HTTP_REQUESTS = _counter("payments_http_requests_total", "Requests answered.", ROUTE, HTTP_METHOD, STATUS)
HTTP_REQUEST_SECONDS = _histogram("payments_http_request_seconds", "Time to answer.", ROUTE, HTTP_METHOD)

# -- messages ----------------------------------------------------------------------------------------------------------

MESSAGES_CONSUMED = _counter(
    "payments_messages_consumed_total",
    "Deliveries settled.",
    MESSAGE_TYPE,
    Label("outcome", ("applied", "duplicate", "refused", "stale", "retry", "dead")),
)
MESSAGE_HANDLE_SECONDS = _histogram(
    "payments_message_handle_seconds", "One transaction of a batch, by the type of its first message.", MESSAGE_TYPE
)
MESSAGE_END_TO_END_SECONDS = _histogram(
    "payments_message_end_to_end_seconds", "From the fact to its effect.", MESSAGE_TYPE, buckets=_SLOW
)
MESSAGES_REDELIVERED = _counter("payments_messages_redelivered_total", "Deliveries that the broker repeated.")
STALE_ACKS = _counter("payments_stale_acks_total", "Acknowledgements after the channel was gone.")
RETRIES_PUBLISHED = _counter(
    "payments_retries_published_total",
    "Messages sent to a retry tier.",
    Label("tier", bound="`PAYMENTS_RETRY_TIERS_MS`, in milliseconds"),
)
DEAD_LETTERS_PUBLISHED = _counter(
    "payments_dead_letters_published_total",
    "Messages dead-lettered.",
    Label("reason", ("undecodable", "forged", "forgotten", "permanent", "exhausted")),
)
INBOX_DUPLICATES = _counter("payments_inbox_duplicates_total", "Deliveries that had taken effect before.")
CONSUMERS_ACTIVE = _gauge("payments_consumers_active", "1 while the broker counts us as consumer.", QUEUE)
CONSUMERS_EXPECTED = _gauge("payments_consumers_expected", "Consumers that should be active.", QUEUE)
CONSUMER_PAUSED = _gauge(
    "payments_consumer_paused",
    "1 while a queue rests because a dependency is away, or somebody has stopped its work (`switch`).",
    QUEUE,
    Label("reason", ("database", "stripe", "smtp", "switch")),
)
AMQP_CONNECTED = _gauge(
    "payments_amqp_connected",
    "1 while the link is open.",
    Label("role", ("publish", "consume-events", "consume-work", "consume-raw", "pull")),
)
AMQP_BLOCKED = _gauge("payments_amqp_blocked", "1 while an alarm at the broker holds our publishing back.")

OUTBOX_DEPTH = _gauge("payments_outbox_depth", "Messages due and not yet confirmed by the broker.")
OUTBOX_OLDEST_SECONDS = _gauge("payments_outbox_oldest_seconds", "Age of the oldest of them.")
OUTBOX_PUBLISHED = _counter(
    "payments_publishes_total",
    "Publishes by outcome.",
    Label("outcome", ("confirmed", "unroutable", "nacked", "refused", "unanswered", "unknown")),
)
PUBLISH_CONFIRM_SECONDS = _histogram("payments_publish_confirm_seconds", "From publish to the last confirm of a batch.")

# -- spans -------------------------------------------------------------------------------------------------------------

SPANS = _counter(
    "payments_spans_total",
    "Spans by what became of them: exported, failed to be, dropped since too many waited. None where tracing is off.",
    Label("outcome", ("exported", "failed", "dropped")),
)

# -- Stripe ------------------------------------------------------------------------------------------------------------

STRIPE_CALLS = _counter(
    "payments_stripe_calls_total",
    "Calls to Stripe. `refused`: Stripe said no; `unknown`: no answer, or none that says whether it was done; "
    "`rested`: not sent, since the last ones had no answer.",
    OPERATION,
    Label("outcome", ("ok", "refused", "unknown", "rested")),
)
STRIPE_CALL_SECONDS = _histogram("payments_stripe_call_seconds", "Time of a call, retries included.", OPERATION)
STRIPE_BREAKER_OPEN = _gauge("payments_stripe_breaker_open", "1 while calls to Stripe are refused at once.")

WEBHOOK_REJECTED = _counter(
    "payments_webhook_rejected_total",
    "Webhook requests refused.",
    Label("reason", ("header", "timestamp", "signature")),
)
WEBHOOK_EVENTS = _counter(
    "payments_webhook_events_total",
    "Events stored, by what they are to us; known ones are duplicates.",
    Label(
        "outcome",
        ("processed", "ignored", "dead", "duplicate", "wrong_mode", "foreign_account", "other_version"),
    ),
)
WEBHOOK_FLUSH_SIZE = _histogram(
    "payments_webhook_flush_size",
    "Events stored by one commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)

# -- business ----------------------------------------------------------------------------------------------------------

ORDERS = _counter(
    "payments_orders_total",
    "Orders by what became of them: placed, and each state that they came to.",
    Label("outcome", ("placed", "declined", "expired", "canceled", "processing", "settlement_failed", "paid")),
)
ORDERS_PAID_MINOR = _counter(
    "payments_orders_paid_minor_total", "Totals of orders that were paid, in minor units.", CURRENCY
)
PAYMENT_REFLECTED_SECONDS = _histogram(
    "payments_payment_reflected_seconds",
    "From Stripe's `created` of the event that made an order paid to that, at the database's business clock. Stripe "
    "counts whole seconds, so up to one of them is none. Orders that were paid by an answer to a question of ours are "
    "not in it.",
    buckets=(0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
PAYMENTS = _counter(
    "payments_attempts_total",
    "Attempts to take money, as their charges show them, each once.",
    METHOD,
    CURRENCY,
    Label("outcome", ("succeeded", "declined")),
)
PAYMENT_DECLINES = _counter(
    "payments_declines_total", "Those that were declined, by Stripe's code.", METHOD, DECLINE_CODE
)
ORDERS_TAXED_ELSEWHERE = _counter(
    "payments_orders_taxed_elsewhere_total", "Paid orders that go to another place than their tax was counted for."
)
ORDERS_HELD = _gauge("payments_orders_held", "Paid orders of which nothing may leave.", HELD_REASON)
ORDERS_UNDECIDED_SECONDS = _gauge(
    "payments_orders_undecided_seconds",
    "How long the held order waits that waits longest for a person.",
    HELD_REASON,
)
RISK_DECISIONS = _counter(
    "payments_risk_decisions_total",
    "What gates against fraud came to.",
    Label("gate", bound="gates of checkout's `decide.risks.OUTCOMES`, and `openings`"),
    Label("outcome", bound="what each of them can come to there"),
)
SWITCH_STOPPED = _gauge(
    "payments_switch_stopped",
    "1 while somebody has stopped new orders, money that goes back, or mails.",
    Label("switch", ("checkouts", "refunds", "mails")),
)
STREAMS_OPEN = _gauge("payments_streams_open", "Callers who follow an order at this moment.")
RATE_LIMITED = _counter(
    "payments_rate_limited_total",
    "Requests held back by a limit.",
    Label("limit", bound="limits of checkout's settings, such as `address`"),
)
RESERVATIONS = _counter(
    "payments_reservations_total",
    "Stock of orders by what became of it; `shortfall`: paid for, and not to be had.",
    Label("outcome", ("held", "out_of_stock", "committed", "released", "closed", "shortfall")),
)
REFUNDS = _counter(
    "payments_refunds_total",
    "Refunds by what became of them.",
    Label(
        "outcome",
        (
            *("awaiting_approval", "approved", "submitted", "pending", "requires_action"),
            *("succeeded", "failed", "canceled", "rejected"),
        ),
    ),
)
REFUNDED_MINOR = _counter(
    "payments_refunded_minor_total",
    "Money that refunds gave back, in minor units; `failed`: what banks returned later, or never took.",
    CURRENCY,
    Label("outcome", ("succeeded", "failed")),
)
REFUND_DECISION_SECONDS = _histogram(
    "payments_refund_decision_seconds",
    "How long the lock of an order is held by a refund that is asked for: from the lock to after the commit.",
    buckets=(0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
REFUNDS_AWAITING_APPROVAL = _gauge(
    "payments_refunds_awaiting_approval", "Requests for refunds that wait for a second person."
)
REFUNDS_AWAITING_APPROVAL_OLDEST_SECONDS = _gauge(
    "payments_refunds_awaiting_approval_oldest_seconds", "Age of the oldest of them; 0 when there is none."
)
REFUNDS_UNANSWERED = _gauge(
    "payments_refunds_unanswered", "Refunds owed for over a quarter of an hour of which Stripe has said nothing."
)
REFUNDS_UNANSWERED_OLDEST_SECONDS = _gauge(
    "payments_refunds_unanswered_oldest_seconds", "Age of the oldest of them; 0 when there is none."
)
DISPUTES = _counter(
    "payments_disputes_total",
    "Disputes by the states that they came to.",
    Label("state", ("inquiry", "open", "under_review", "won", "lost", "closed")),
)
DISPUTES_UNDECIDED = _gauge("payments_disputes_undecided", "Disputes and inquiries that are not decided.")
DISPUTES_DUE_SECONDS = _gauge(
    "payments_disputes_due_seconds",
    "Seconds until the nearest deadline of a dispute without evidence, below 0 once it has passed; +Inf without one.",
)
DISPUTES_DUE_SECONDS.set(math.inf)  # until it is measured
EVIDENCE = _counter(
    "payments_evidence_total",
    "Evidence that was handed in, by Stripe's answer.",
    Label("outcome", ("taken", "refused")),
)
MAILS = _counter("payments_mails_total", "Mails by outcome.", Label("outcome", ("sent", "undeliverable", "suppressed")))

# -- healing and people ------------------------------------------------------------------------------------------------

SWEEPER_HEALED = _counter(
    "payments_sweeper_healed_total",
    "Work that a sweeper had to finish.",
    Label(
        "kind",
        ("dispute", "event", "evidence", "mail", "order", "refund", "reservation", "session", "split", "unseen_event"),
    ),
)
SWEEPS = _counter(
    "payments_sweeps_total",
    "Rounds of sweepers: `failed` when anything could not be looked at, `skipped` when nothing was.",
    SWEEP,
    Label("outcome", ("clean", "healed", "failed", "skipped")),
)
SWEEPS_HEALING = _gauge("payments_sweeps_healing", "Rounds in a row of a sweeper that had to heal.", SWEEP)
DEAD_LETTERS_OPEN = _gauge("payments_dead_letters_open", "Dead letters waiting for a person.", SERVICE)
BULK_PAUSED_OLDEST_SECONDS = _gauge("payments_bulk_paused_oldest_seconds", "Since when a replay in bulk stands paused.")

# -- what operations sees of servers -----------------------------------------------------------------------------------

DOOR: Final = Label("door", bound="names of `PAYMENTS_WATCHED_DOORS`")
CERTIFICATE_SHOWN = _gauge(
    "payments_certificate_shown", "1 while a door shows a certificate, 0 while it cannot be reached.", DOOR
)
CERTIFICATE_BEGINS = _gauge(
    "payments_certificate_begins_timestamp_seconds", "From when on the certificate of a door is valid.", DOOR
)
CERTIFICATE_ENDS = _gauge("payments_certificate_ends_timestamp_seconds", "When it ends.", DOOR)
POSTGRES_CONNECTIONS = _gauge("payments_postgres_connections", "Connections to the platform's database.")
POSTGRES_CONNECTIONS_MAX = _gauge("payments_postgres_connections_max", "How many the server takes, of all databases.")
POSTGRES_DATABASE_BYTES = _gauge("payments_postgres_database_bytes", "Size of the database.")
POSTGRES_SCHEMA_BYTES = _gauge(
    "payments_postgres_schema_bytes", "Size of a schema's tables with their indexes.", SCHEMA
)
POSTGRES_DEAD_ROWS = _gauge(
    "payments_postgres_dead_rows", "Versions of rows in a schema that vacuum has yet to take away.", SCHEMA
)
POSTGRES_LOCKS_AWAITED = _gauge("payments_postgres_locks_awaited", "Locks that somebody waits for.")
POSTGRES_TRANSACTION_IDS = _gauge(
    "payments_postgres_transaction_ids_used",
    "Transaction ids since the oldest that is not frozen; the server stops at 2^31.",
)
POSTGRES_TRANSACTIONS = _elsewhere(
    "payments_postgres_transactions_total",
    "Transactions that ended in the database.",
    Label("outcome", ("committed", "rolled_back")),
)
POSTGRES_BLOCKS = _elsewhere(
    "payments_postgres_blocks_total",
    "Blocks of eight kilobytes that were asked for, by where they were.",
    Label("source", ("cache", "disk")),
)
POSTGRES_ROWS = _elsewhere(
    "payments_postgres_rows_total",
    "Rows by what statements did with them.",
    Label("act", ("fetched", "inserted", "updated", "deleted")),
)
POSTGRES_DEADLOCKS = _elsewhere("payments_postgres_deadlocks_total", "Deadlocks that the server ended.")
POSTGRES_TEMPORARY_BYTES = _elsewhere(
    "payments_postgres_temporary_bytes_total", "Written to temporary files, since memory did not suffice."
)
POSTGRES_ARCHIVING = _gauge(
    "payments_postgres_archiving", "1 where the server keeps its log somewhere else (`archive_mode`), else 0."
)
POSTGRES_UNARCHIVED_SECONDS = _gauge(
    "payments_postgres_unarchived_seconds",
    "For how long what was written has been in the server's own log alone; 0 where nothing is archived.",
)
POSTGRES_ARCHIVE_FAILURES = _elsewhere(
    "payments_postgres_archive_failures_total",
    "Segments of the log that could not be archived, each time it was tried.",
)
POSTGRES_BASE_BACKUP_SECONDS = _gauge(
    "payments_postgres_base_backup_seconds",
    "Age of the newest base backup, as whoever takes them has written down; +Inf without one.",
)


def render() -> bytes:
    """The exposition of all metrics."""
    return generate_latest(REGISTRY)
