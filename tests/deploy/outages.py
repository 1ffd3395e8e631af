"""A shop that is well, as Prometheus sees it, and eight ways in which it is not: what promtool judges the rules by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from payments_shared.contracts.catalog import CONSUMERS, SERVICES, WORKERS

STEP_SECONDS: Final = 15
BEFORE: Final = 40  # steps of good health before anything happens
AFTER: Final = 120
ASKED_AFTER: Final = 40  # steps until a sweeper asks Stripe about orders of which nothing was heard
FACT: Final = 'type="order.paid.v1", outcome="applied"'
COMMAND: Final = 'outcome="applied"'
Json = dict[str, Any]  # Any: YAML


@dataclass(frozen=True, slots=True)
class Course:
    """How a series goes on: by `rise` a step, and from the outage on, after `delay` steps, by `then`; or, for gauges, it
    stands at `start` and then at `becomes`. `gone`: Prometheus gets it no more."""

    start: float = 0
    rise: float = 0
    then: float | None = None
    becomes: float | None = None
    delay: int = 0
    gone: bool = False

    def values(self) -> str:
        """In promtool's notation."""
        before = BEFORE + self.delay
        rest = AFTER - self.delay
        at = self.start + self.rise * before
        first = f"{self.start:g}+{self.rise:g}x{before}"
        if self.gone:
            return f"{first} _x{rest}"
        if self.becomes is not None:
            return f"{first} {self.becomes:g}x{rest}"
        rise = self.rise if self.then is None else self.then
        return f"{first} {at + rise:g}+{rise:g}x{rest}"


STEADY: Final = Course(start=1)
NEVER: Final = Course()
ENDS: Final = Course(start=1, becomes=0)
BEGINS: Final = Course(start=0, becomes=1)


def _each(name: str, services: Sequence[str], course: Course, labels: str = "") -> dict[str, Course]:
    more = f", {labels}" if labels else ""
    return {f'{name}{{service="{service}"{more}}}': course for service in services}


def ready(check: str, course: Course, services: Sequence[str] = SERVICES) -> dict[str, Course]:
    return _each("payments_ready", services, course, f'check="{check}"')


def consumers(course: Course, kind: str = "events", *, expected: Course = STEADY) -> dict[str, Course]:
    services = CONSUMERS if kind == "events" else WORKERS
    found: dict[str, Course] = {}
    for service in services:
        queue = f'queue="{service}.{kind}"'
        found |= _each("payments_consumers_active", [service], course, queue)
        found |= _each("payments_consumers_expected", [service], expected, queue)
    return found


def paused(reason: str, queues: Sequence[str], course: Course) -> dict[str, Course]:
    return {
        f'payments_consumer_paused{{service="{queue.partition(".")[0]}", queue="{queue}", reason="{reason}"}}': course
        for queue in queues
    }


def settled(facts: Course, services: Sequence[str] = CONSUMERS) -> dict[str, Course]:
    return _each("payments_messages_consumed_total", services, facts, FACT)


def commands(course: Course, services: Sequence[str] = WORKERS) -> dict[str, Course]:
    return {
        f'payments_messages_consumed_total{{service="{one}", type="{one}.cmd.do.v1", {COMMAND}}}': course
        for one in services
    }


def requests(route: str, service: str, good: Course, bad: Course, status: str = "503") -> dict[str, Course]:
    name = f'payments_http_requests_total{{service="{service}", route="{route}", method="POST", status='
    return {f'{name}"200"}}': good, f'{name}"{status}"}}': bad}


def webhooks(good: Course, bad: Course = NEVER, status: str = "503") -> dict[str, Course]:
    return requests("/api/payments/webhook", "webhook-ingest", good, bad, status)


def checkouts(good: Course, bad: Course = NEVER) -> dict[str, Course]:
    return requests("/api/payments/checkout-session", "checkout", good, bad)


def reflected(course: Course, asked: Course = NEVER) -> dict[str, Course]:
    name = "payments_payment_reflected_seconds"
    return {
        f'{name}_count{{service="checkout"}}': course,
        f'{name}_bucket{{service="checkout", le="5.0"}}': course,
        'payments_sweeper_healed_total{service="checkout", kind="order"}': asked,
    }


def queue(name: str, ready_: Course = NEVER, unacked: Course = NEVER) -> dict[str, Course]:
    return {
        f'rabbitmq_detailed_queue_messages_ready{{queue="{name}"}}': ready_,
        f'rabbitmq_detailed_queue_messages_unacked{{queue="{name}"}}': unacked,
    }


SELLING: Final = Course(rise=5)
NO_MORE: Final = Course(rise=5, then=0)
FAILING: Final = Course(then=5)
ASKED: Final = Course(then=5, delay=ASKED_AFTER)
PULLED: Final = Course(rise=5, then=1)  # what webhook-ingest has from Stripe's list counts as stored, too
GROWS_OLD: Final = Course(then=STEP_SECONDS)

WELL: Final[Mapping[str, Course]] = {
    **_each("up", SERVICES, STEADY, 'job="payments"'),
    'up{job="rabbitmq-node"}': STEADY,
    **{name: course for check in ("database", "migrations", "broker", "topology") for name, course in ready(check, STEADY).items()},
    **ready("consumers", STEADY, CONSUMERS),
    **_each("payments_amqp_connected", SERVICES, STEADY, 'role="publish"'),
    **_each("payments_amqp_blocked", SERVICES, NEVER),
    **_each("payments_outbox_oldest_seconds", SERVICES, NEVER),
    **consumers(STEADY),
    **consumers(STEADY, "work"),
    **paused("database", [f"{one}.events" for one in CONSUMERS], NEVER),
    **paused("database", [f"{one}.work" for one in WORKERS], NEVER),
    **paused("stripe", ["checkout.work", "refunds.work"], NEVER),
    **paused("smtp", ["notifications.work"], NEVER),
    **settled(SELLING),
    **commands(SELLING),
    **webhooks(SELLING),
    **webhooks(SELLING, status="400"),
    **checkouts(SELLING),
    **reflected(SELLING),
    'payments_orders_total{service="checkout", outcome="placed"}': SELLING,
    'payments_webhook_events_total{service="webhook-ingest", outcome="processed"}': SELLING,
    'payments_webhook_rejected_total{service="webhook-ingest", reason="signature"}': NEVER,
    **_each("payments_stripe_breaker_open", ["checkout", "refunds", "webhook-ingest"], NEVER),
    **_each("payments_stripe_calls_total", ["checkout", "refunds"], NEVER, 'operation="ask", outcome="unknown"'),
    **_each("payments_dead_letters_published_total", CONSUMERS, NEVER, 'reason="permanent"'),
    **_each("payments_dead_letters_open", ["operations"], NEVER, 'exported_service="fulfillment"'),
    **{name: course for one in CONSUMERS for name, course in queue(f"{one}.events").items()},
    **{name: course for one in WORKERS for name, course in queue(f"{one}.work").items()},
    'rabbitmq_alarms_free_disk_space_watermark{instance="rabbitmq:15692"}': NEVER,
    'rabbitmq_alarms_memory_used_watermark{instance="rabbitmq:15692"}': NEVER,
    'payments_postgres_connections{service="operations"}': Course(start=60),
    'payments_postgres_connections_max{service="operations"}': Course(start=300),
    'payments_certificate_shown{service="operations", door="front-door"}': STEADY,
}  # fmt: skip
"""Five of everything each quarter of a minute."""


@dataclass(frozen=True, slots=True)
class Outage:
    """`wakes` are the critical alerts by the minute, counted from the outage, until which each has come; nobody else is
    woken up to then. `tells` are those of the warnings that name it, each with the minute until which it has come."""

    name: str
    changes: Mapping[str, Course]
    wakes: Mapping[int, frozenset[str]]
    tells: Mapping[str, int] = field(default_factory=dict)

    def series(self) -> Iterator[Json]:
        """What Prometheus has of it."""
        assert self.changes.keys() <= WELL.keys(), self.changes.keys() - WELL.keys()
        for name, course in {**WELL, **self.changes}.items():
            yield {"series": name, "values": course.values()}

    def due(self, alert: str) -> int:
        """The minute until which `alert` has come."""
        judged = [*self.wakes.items(), *self._told().items()]
        return min(minute for minute, alerts in judged if alert in alerts)

    def _told(self) -> dict[int, frozenset[str]]:
        """The warnings that have come, by the minutes until which another one has."""
        minutes = sorted(self.tells.values())
        return {minute: frozenset(name for name, due in self.tells.items() if due <= minute) for minute in minutes}

    @property
    def wakes_in_all(self) -> frozenset[str]:
        """Everything that somebody is woken for."""
        return frozenset[str]().union(*self.wakes.values())

    def test(self, factor: int = 1) -> Json:
        """promtool's test of it, on a day that goes by `factor` times as fast."""
        step, minute_seconds = STEP_SECONDS // factor, 60 // factor
        begins = BEFORE * step
        judged = [(begins, frozenset[str]())]
        judged += [(begins + minute * minute_seconds, alerts) for minute, alerts in self.wakes.items()]
        expected = [_firing("critical", at, alerts) for at, alerts in judged]
        for minute, alerts in self._told().items():
            names = "|".join(sorted(alerts))
            expected.append(_firing("warning", begins + minute * minute_seconds, alerts, f', alertname=~"{names}"'))
        return {
            "name": self.name,
            "interval": f"{step}s",
            "input_series": list(self.series()),
            "promql_expr_test": expected,
        }


def _firing(severity: str, at: int, alerts: frozenset[str], more: str = "") -> Json:
    return {
        "expr": f'group by (alertname) (ALERTS{{alertstate="firing", severity="{severity}"{more}}})',
        "eval_time": f"{at}s",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(alerts)],
    }


RABBITMQ_GONE: Final = {
    name: Course(start=WELL[name].start, gone=True) for name in WELL if name.startswith("rabbitmq_")
}
UNHEARD: Final = {**settled(NO_MORE), **commands(NO_MORE), **reflected(NO_MORE, ASKED)}

OUTAGES: Final = (
    Outage(
        "the broker is down",
        {
            **RABBITMQ_GONE,
            'up{job="rabbitmq-node"}': ENDS,
            **_each("payments_amqp_connected", SERVICES, ENDS, 'role="publish"'),
            **ready("broker", ENDS),
            **ready("consumers", ENDS, CONSUMERS),
            **consumers(ENDS),
            **consumers(ENDS, "work"),
            **_each("payments_outbox_oldest_seconds", SERVICES, GROWS_OLD),
            **UNHEARD,
        },
        # After ten minutes checkout asks Stripe about orders that wait, and those are paid late.
        wakes={2: frozenset({"BrokerDown"}), 10: frozenset({"BrokerDown"}), 25: frozenset({"BrokerDown", "ObjectiveFailing"})},
    ),
    Outage(
        "PostgreSQL is down",
        {
            **ready("database", ENDS),
            **ready("migrations", ENDS),
            **paused("database", [f"{one}.events" for one in CONSUMERS], BEGINS),
            **paused("database", [f"{one}.work" for one in WORKERS], BEGINS),
            **consumers(ENDS, expected=ENDS),
            **consumers(ENDS, "work", expected=ENDS),
            **settled(NO_MORE),
            **commands(NO_MORE),
            **webhooks(NO_MORE, FAILING),
            **checkouts(NO_MORE, FAILING),
            **reflected(NO_MORE),
            'payments_orders_total{service="checkout", outcome="placed"}': NO_MORE,
            'payments_webhook_events_total{service="webhook-ingest", outcome="processed"}': NO_MORE,
        },
        wakes={3: frozenset({"DatabaseDown", "ObjectiveFailing"}), 25: frozenset({"DatabaseDown", "ObjectiveFailing"})},
    ),
    Outage(
        "Stripe answers with 5xx",
        {
            **_each("payments_stripe_breaker_open", ["checkout", "refunds"], BEGINS),
            **_each("payments_stripe_calls_total", ["checkout", "refunds"], FAILING, 'operation="ask", outcome="unknown"'),
            **paused("stripe", ["checkout.work", "refunds.work"], BEGINS),
            **{
                name: ENDS
                for name in consumers(ENDS, "work")
                if "notifications" not in name
            },
            **commands(NO_MORE, ["checkout", "refunds"]),
            **checkouts(NO_MORE, FAILING),
            **webhooks(NO_MORE),
            **reflected(NO_MORE),
            'payments_webhook_events_total{service="webhook-ingest", outcome="processed"}': NO_MORE,
        },
        wakes={3: frozenset({"StripeUnavailable", "ObjectiveFailing"}), 25: frozenset({"StripeUnavailable", "ObjectiveFailing"})},
        tells={"ConsumerPaused": 6},
    ),
    Outage(
        "a consumer is stuck",
        {
            **queue("checkout.events", Course(then=5), Course(start=0, becomes=200)),
            **settled(NO_MORE, ["checkout"]),
            **reflected(NO_MORE, ASKED),
        },
        wakes={9: frozenset(), 12: frozenset({"ConsumerStuck"}), 25: frozenset({"ConsumerStuck", "ObjectiveFailing"})},
    ),
    Outage(
        "a flood of poison",
        {
            **_each("payments_dead_letters_published_total", ["fulfillment"], Course(then=2), 'reason="permanent"'),
            **_each("payments_dead_letters_open", ["operations"], Course(then=2), 'exported_service="fulfillment"'),
        },
        wakes={1: frozenset(), 4: frozenset({"DeadLetterFlood"}), 25: frozenset({"DeadLetterFlood"})},
        tells={"DeadLettersOpen": 2},
    ),
    Outage(
        "the webhook's secret is wrong",
        {
            **webhooks(NO_MORE, FAILING, "400"),
            'payments_webhook_rejected_total{service="webhook-ingest", reason="signature"}': FAILING,
            'payments_webhook_events_total{service="webhook-ingest", outcome="processed"}': PULLED,
            **reflected(NO_MORE, ASKED),
        },
        wakes={4: frozenset(), 8: frozenset({"WebhooksAllRefused"}), 25: frozenset({"WebhooksAllRefused", "ObjectiveFailing"})},
        tells={"WebhooksRefused": 14, "WebhooksLost": 12},
    ),
    Outage(
        "no mail server answers",
        {
            **paused("smtp", ["notifications.work"], BEGINS),
            **{name: ENDS for name in consumers(ENDS, "work") if "notifications" in name},
            **commands(NO_MORE, ["notifications"]),
        },
        # Mails wait and no money does: a matter for the day.
        wakes={10: frozenset(), 25: frozenset()},
        tells={"ConsumerPaused": 6},
    ),
    Outage(
        "the broker's disk is full",
        {
            'rabbitmq_alarms_free_disk_space_watermark{instance="rabbitmq:15692"}': BEGINS,
            **_each("payments_amqp_blocked", SERVICES, BEGINS),
            **ready("broker", ENDS),
            **_each("payments_outbox_oldest_seconds", SERVICES, GROWS_OLD),
            **UNHEARD,
        },
        wakes={2: frozenset({"BrokerAlarm"}), 10: frozenset({"BrokerAlarm"}), 25: frozenset({"BrokerAlarm", "ObjectiveFailing"})},
    ),
)  # fmt: skip
