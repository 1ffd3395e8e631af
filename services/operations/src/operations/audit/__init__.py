"""Run the predicates of `predicates.sql` in one snapshot, as the read-only role `auditor`."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final, Literal

import asyncpg

from payments_shared.bindings import heard
from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.messaging.inbox import REMEMBERED_DAYS

_BLOCK: Final = re.compile(r"^-- name: (?P<name>I\d\d_[a-z0-9_]+)$", re.MULTILINE)
_FIELD: Final = re.compile(r"^-- (?P<key>meaning|when|needs|examined): (?P<value>.+)$", re.MULTILINE)
SHOWN_MAX: Final = 5


class NoSuchPredicate(ValueError):
    """A number that none of the predicates has that are to run."""


class Verdict(StrEnum):
    """`not run`: what it compares with is not known here, or its owner does not exist yet."""

    HOLDS = "holds"
    VIOLATED = "violated"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Predicate:
    """One rule; `sql` returns its violators, `examined` counts what it looked at."""

    name: str
    meaning: str
    when: Literal["always", "quiescence"]
    needs: str | None
    examined: str
    sql: str

    @property
    def number(self) -> str:
        """What it is called by in short, such as I23."""
        return self.name.partition("_")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one predicate said. `violations` counts violators; `first` shows some of them."""

    predicate: Predicate
    verdict: Verdict
    examined: int
    violations: int
    first: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of one snapshot."""

    findings: tuple[Finding, ...]

    @property
    def violated(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.VIOLATED)

    def lines(self) -> list[str]:
        """One line a predicate, for logs and test output."""
        return [
            f"{f.predicate.name:<44} {f.verdict:<9} examined {f.examined:>6}"
            + (f"  violations {f.violations}: {', '.join(f.first)}" if f.violations else "")
            for f in self.findings
        ]


def predicates() -> tuple[Predicate, ...]:
    """All predicates in the order of the file."""
    text = resources.files(__name__).joinpath("predicates.sql").read_text(encoding="utf-8")
    heads = list(_BLOCK.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return tuple(_predicate(head["name"], text[head.end() : end]) for head, end in zip(heads, ends, strict=True))


def _predicate(name: str, block: str) -> Predicate:
    fields = {match["key"]: match["value"] for match in _FIELD.finditer(block)}
    sql = "\n".join(line for line in block.splitlines() if not line.startswith("--")).strip().rstrip(";")
    when: Literal["always", "quiescence"] = "always" if fields["when"] == "always" else "quiescence"
    return Predicate(name, fields["meaning"], when, fields.get("needs"), fields["examined"], sql)


async def run_audit(
    dsn: str,
    *,
    when: Literal["always", "quiescence"] = "quiescence",
    only: Collection[str] = (),
    livemode: bool = False,
    accounts: Sequence[str] = ("",),
) -> Report:
    """Run the predicates in one repeatable-read snapshot. `when="always"` runs only those that hold at any moment,
    `only` those of the numbers that it names.

    `dsn` belongs to the role `auditor`.

    Raises:
        NoSuchPredicate: `only` names one that is not among them.
    """
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=120)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await judge(connection, when=when, only=only, livemode=livemode, accounts=accounts)
    finally:
        await connection.close()


async def judge(
    connection: "asyncpg.Connection[asyncpg.Record]",
    *,
    when: Literal["always", "quiescence"] = "quiescence",
    only: Collection[str] = (),
    livemode: bool = False,
    accounts: Sequence[str] = ("",),
) -> Report:
    """Run the predicates in the transaction that is open, over what it sees."""
    chosen = _chosen(when, only)
    await connection.execute(_PLANNED)
    await connection.execute("SELECT set_config('audit.livemode', $1, true)", str(livemode).lower())
    await connection.execute("SELECT set_config('audit.accounts', $1, true)", ",".join(accounts))
    has_truth = await _knows_truth(connection)
    return Report(tuple([await _run(connection, p, has_truth=has_truth) for p in chosen]))


def _chosen(when: Literal["always", "quiescence"], only: Collection[str]) -> list[Predicate]:
    fitting = [p for p in predicates() if when == "quiescence" or p.when == "always"]
    if strange := set(only) - {predicate.number for predicate in fitting}:
        kind = "predicate" if when == "quiescence" else "predicate that holds at any moment"
        raise NoSuchPredicate(f"no {kind} is called {', '.join(sorted(strange))}")
    return [predicate for predicate in fitting if not only or predicate.number in only]


async def _knows_truth(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether a simulator has told what it holds to be true. Beside a real account the tables are empty, or missing."""
    if not await connection.fetchval("SELECT to_regclass('stripe_truth.events') IS NOT NULL"):
        return False
    return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM stripe_truth.events)"))


async def _run(connection: "asyncpg.Connection[asyncpg.Record]", predicate: Predicate, *, has_truth: bool) -> Finding:
    if predicate.needs == "ledger" or (predicate.needs == "truth" and not has_truth):
        return Finding(predicate, Verdict.NOT_RUN, 0, 0, ())
    common = _common_tables()
    try:
        examined = await connection.fetchval(f"WITH {common} {predicate.examined}")
        rows = await connection.fetch(f"WITH {common} {predicate.sql}")
    except TimeoutError as error:
        error.add_note(f"Asked: {predicate.name}")
        raise
    first = tuple("/".join(str(value) for value in row.values()) for row in rows[:SHOWN_MAX])
    verdict = Verdict.VIOLATED if rows else Verdict.HOLDS
    return Finding(predicate, verdict, int(examined or 0), len(rows), first)


def _common_tables() -> str:
    outboxes = " UNION ALL ".join(
        f"SELECT '{service}' AS service, message_id, type, available_at, published_at"  # noqa: S608 - names of our own
        f" FROM {schema_name(service)}.outbox WHERE day >= {_REMEMBERED} OR published_at IS NULL"
        for service in SERVICES
    )
    inboxes = " UNION ALL ".join(
        f"SELECT '{service}' AS service, message_id"  # noqa: S608 - names of our own
        f" FROM {schema_name(service)}.inbox WHERE day >= {_REMEMBERED}"
        for service in CONSUMERS
    )
    today = ", ".join(f"('{name}', '{service}')" for name, service in heard())
    since = (
        "SELECT b.type, b.service, b.made_at"  # noqa: S608 - names of our own
        f" FROM payments.bindings AS b JOIN (VALUES {today}) AS today (type, service) USING (type, service)"
    )
    return (
        f"canonical_orders AS ({_CANONICAL}), taken_out AS ({_TAKEN_OUT}), given_back AS ({_GIVEN_BACK}), "
        f"outboxes AS ({outboxes}), inboxes AS ({inboxes}), "
        f"heard (type, service, since) AS ({since})"
    )


# The first day of which nobody has dropped anything yet. What is older may be here and gone there.
_REMEMBERED: Final = f"current_date - {REMEMBERED_DAYS}"

# A predicate reads its tables once each. Where statistics are older than what they are about, as after a restore, the
# planner takes a table for a row, and would read another for each of its twenty thousand.
_PLANNED: Final = "SELECT set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true)"

_CANONICAL: Final = """
    SELECT o.*, o.state = 'paid' AS paid_family, g.is_sent, g.has_digital,
           CASE WHEN o.split IS NULL THEN ARRAY[o.stripe_payment_intent]
                ELSE ARRAY(SELECT leg ->> 'payment_intent' FROM jsonb_array_elements(o.split -> 'legs') AS leg)
                END AS intents,
           CASE WHEN o.state = 'paid' AND coalesce(r.back, 0) + c.back >= o.total_minor
                 AND (o.total_minor > 0 OR EXISTS (
                      SELECT FROM checkout.order_facts AS f WHERE f.order_id = o.id AND f.kind = 'StockShort'))
                THEN 'refunded'
                WHEN o.state = 'paid' AND coalesce(r.back, 0) + c.back > 0 THEN 'partially_refunded'
                WHEN o.state = 'paid' AND (NOT g.is_sent OR o.shipment_status IN ('shipped', 'delivered'))
                 AND (NOT g.has_digital OR o.digital_delivered_at IS NOT NULL) THEN 'fulfilled'
                WHEN o.state = 'paid' THEN 'paid'
                WHEN o.state = 'processing' THEN 'awaiting_payment'
                WHEN o.state IN ('declined', 'settlement_failed', 'canceled') THEN 'failed'
                ELSE o.state END AS status
      FROM checkout.orders AS o
      LEFT JOIN (SELECT order_id, sum(amount_minor) AS back FROM refunds.refunds
                  WHERE state = 'succeeded' AND reason <> 'surplus_payment' GROUP BY order_id) AS r ON r.order_id = o.id
     CROSS JOIN LATERAL (
           SELECT jsonb_path_exists(o.lines, '$[*] ? (!(@.digital == true))') AS is_sent,
                  jsonb_path_exists(o.lines, '$[*] ? (@.digital == true || exists(@.digital_parts[*]))') AS has_digital
     ) AS g
     CROSS JOIN LATERAL (
           SELECT CASE WHEN o.store_credit_state = 'released' THEN o.store_credit_minor ELSE 0 END AS back) AS c
"""

# Of each order, whether all that is sent, and all that is digital, has been taken out of what leaves the house.
_TAKEN_OUT: Final = """
    SELECT g.order_id, bool_and(coalesce(c.quantity, 0) >= g.quantity) FILTER (WHERE NOT g.digital) AS sent,
           bool_and(coalesce(c.quantity, 0) >= g.quantity) FILTER (WHERE g.digital) AS digital
      FROM (SELECT order_id, false AS digital, l ->> 'sku' AS sku, (l ->> 'quantity')::int AS quantity
              FROM fulfillment.orders, jsonb_array_elements(goods -> 'lines') AS l
             UNION ALL
            SELECT order_id, true, l ->> 'sku', (l ->> 'quantity')::int
              FROM fulfillment.orders, jsonb_array_elements(goods -> 'digital') AS l) AS g
      LEFT JOIN (SELECT order_id, l ->> 'sku' AS sku, sum((l ->> 'quantity')::int) AS quantity
                   FROM fulfillment.shipments, jsonb_array_elements(lines) AS l
                  WHERE state = 'canceled'
                  GROUP BY order_id, l ->> 'sku') AS c ON c.order_id = g.order_id AND c.sku = g.sku
     GROUP BY g.order_id
"""

# Orders of which every piece was given back. The first refund of a request, which bears its id, tells of its pieces.
_GIVEN_BACK: Final = """
    SELECT b.order_id
      FROM (SELECT q.order_id, sum((l ->> 'quantity')::int) AS pieces
              FROM refunds.requests AS q
              JOIN refunds.refunds AS r ON r.id = q.id AND r.state = 'succeeded'
             CROSS JOIN LATERAL jsonb_array_elements(q.lines) AS l
             GROUP BY q.order_id) AS b
      JOIN (SELECT order_id, sum((l ->> 'quantity')::int) AS pieces
              FROM refunds.orders, jsonb_array_elements(bill -> 'lines') AS l
             GROUP BY order_id) AS s ON s.order_id = b.order_id AND s.pieces = b.pieces
"""
