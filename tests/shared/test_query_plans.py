"""No query reads a table that grows with the shop from front to back: each finds what it wants by an index.

Judged are the plans that PostgreSQL makes once and keeps, with the statistics of tables that hold many rows. A new
query of a service is judged without anybody adding it here.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from payments_shared import idempotency, switches
from payments_shared.contracts.catalog import CONSUMERS, SERVICES, schema_name
from payments_shared.messaging import inbox, outbox
from payments_shared.queries import load_queries, parse_queries
from sandbox.services.resolver import Servers
from tests.shared.messaging import provisioned

pytestmark = pytest.mark.servers

ROWS = 20_000
LARGE = 1_000  # fewer rows than this fit in a few pages, and to read them all is the better plan
FILL = parse_queries(Path(__file__).with_name("large_tables.sql").read_text(encoding="utf-8"))
READS_ALL = {
    "checkout.list_products": "tells an administrator the whole catalogue",
    "inventory.list_stock": "tells an administrator the whole stock",
    "operations.select_settled": "counts what a bulk would archive of all that is settled",
    "operations.select_wanted": "counts what a bulk would take of all dead letters",
    "operations.summary": "counts all dead letters for who asks for all",
    "webhook_ingest.count_events": "counts them, for tests and people",
    "webhook_ingest.list_events": "reads the partition of the day that somebody looks at",
}
Node = Mapping[str, Any]  # Any: JSON


def _judged() -> Iterator[Any]:  # Any: pytest's parameter sets
    """(schema, statement) of every query of every service, and of what all of them share."""
    for service in SERVICES:
        schema = schema_name(service)
        for name, sql in load_queries(schema).items():
            if f"{schema}.{name}" not in READS_ALL:
                yield pytest.param(schema, sql, id=f"{schema}.{name}")
        said = {"ready": outbox._READY, "mark": outbox._MARK, "defer": outbox._DEFER, "backlog": outbox._BACKLOG}
        heard = {"claim": inbox._CLAIM, "refuse": inbox._REFUSE, "seen": inbox._SEEN}
        for name, sql in (said | (heard if service in CONSUMERS else {})).items():
            yield pytest.param(schema, sql, id=f"{schema}.messaging.{name}")
    yield pytest.param("fulfillment", inbox._OVERTAKEN, id="fulfillment.messaging.overtaken")
    for schema in ("checkout", "refunds", "notifications"):
        for name in ("_TURNS", "_TURN", "_IS_STOPPED"):
            yield pytest.param(schema, getattr(switches, name), id=f"{schema}.switches.{name}")
    for name in ("_CLAIM", "_ATTACH", "_FINISH", "_RENEW", "_RELEASE"):
        yield pytest.param("checkout", getattr(idempotency, name), id=f"checkout.idempotency.{name}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def owner(servers: Servers) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The owner of a database whose tables are large."""
    async with provisioned(servers) as made:
        connection = await asyncpg.connect(made.owner_database_url)
        for service in SERVICES:
            schema = schema_name(service)
            await connection.execute(f"SET search_path = {schema}, payments")
            await connection.execute("SELECT payments.keep_partitions($1)", schema)
            await connection.execute(FILL[schema], ROWS)
        await connection.execute("ANALYZE")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection
        await connection.close()


@pytest.mark.parametrize(("schema", "sql"), list(_judged()))
async def test_a_query_finds_its_rows_by_an_index(
    owner: "asyncpg.Connection[asyncpg.Record]", schema: str, sql: str
) -> None:
    large = await _large_tables(owner, schema)
    partial = await _partial_indexes(owner, schema)

    nodes = list(_nodes(await _plan(owner, schema, sql)))

    read_whole = [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] in large]
    assert not read_whole, f"reads {[node['Relation Name'] for node in read_whole]} from front to back"
    # An index that is walked without a condition is the table read from front to back in another order. A partial index
    # holds only what is still to be done.
    walked = [
        node["Index Name"]
        for node in nodes
        if "Index Name" in node
        and "Index Cond" not in node
        and node["Index Name"] not in partial
        and node.get("Relation Name") in large
    ]
    assert not walked, f"walks all of {walked}"


@pytest.mark.parametrize("sql", [outbox._READY, outbox._BACKLOG])
async def test_a_relay_reads_the_clock_once_and_not_for_each_message(
    owner: "asyncpg.Connection[asyncpg.Record]", sql: str
) -> None:
    """It is a function of 2 us."""
    nodes = _nodes(await _plan(owner, "checkout", sql))

    assert not [node for node in nodes if "business_now()" in node.get("Filter", "")]


@pytest.mark.parametrize(
    ("schema", "name", "values"),
    [
        ("checkout", "load_prices", (["sku1"], "usd", "usd")),
        ("inventory", "hold_stock", (UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), ["none"], [1])),
    ],
)
async def test_a_cart_needs_no_plan_of_its_own(
    owner: "asyncpg.Connection[asyncpg.Record]",
    schema: str,
    name: str,
    values: tuple[Any, ...],  # Any: what the statement takes
) -> None:
    """Where a plan that is kept seems dearer, one is made at each execution: a quarter of a millisecond each."""
    await owner.execute(f"SET search_path = {schema}, payments")
    await owner.execute("SET plan_cache_mode = auto")
    try:
        statement = await owner.prepare(load_queries(schema)[name])
        for _ in range(10):
            await statement.fetch(*values)
        kept = await owner.fetchval(
            "SELECT generic_plans FROM pg_prepared_statements WHERE name = $1", statement.get_name()
        )
    finally:
        await owner.execute("SET plan_cache_mode = force_generic_plan")

    assert kept == 5  # after five that were made for a cart each


async def test_the_relay_reads_a_long_backlog_in_its_order_without_sorting_it(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    partial = await _partial_indexes(owner, "checkout")
    backlog = owner.transaction()
    await backlog.start()
    await owner.execute("UPDATE checkout.outbox SET published_at = NULL")
    await owner.execute("ANALYZE checkout.outbox")

    nodes = list(_nodes(await _plan(owner, "checkout", outbox._READY)))
    await backlog.rollback()

    scans = [node for node in nodes if "Relation Name" in node]
    assert not [node for node in nodes if node["Node Type"] == "Sort"]
    assert {node["Relation Name"].partition("_")[0] for node in scans} == {"outbox"}
    assert all(node["Index Name"] in partial for node in scans)


async def test_a_page_of_one_origin_walks_no_requests_of_others(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    plan = await _plan(owner, "refunds", load_queries("refunds")["list_requests_of_origin"])

    (scan,) = [node for node in _nodes(plan) if "Relation Name" in node]
    assert scan["Index Name"] == "requests_by_origin"
    assert "origin = $2" in scan["Index Cond"]
    assert "Filter" not in scan
    assert not [node for node in _nodes(plan) if node["Node Type"] == "Sort"]


async def test_what_somebody_gave_back_within_a_day_is_found_by_each_of_his_names(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    plan = await _plan(owner, "refunds", load_queries("refunds")["read_position"])

    conditions = {node["Index Name"]: node.get("Index Cond", "") for node in _nodes(plan) if "Index Name" in node}
    for index in ("requests_by_name_and_time", "requests_by_address_and_time"):
        assert "created_at" in conditions[index]


@pytest.mark.parametrize("name", ["read_position", "patterns"])
async def test_a_decision_in_a_young_shop_does_not_compare_with_all_that_people_asked_for(
    servers: Servers, name: str
) -> None:
    """Its plan is made while tables are empty and nobody has counted them, and kept while they grow."""
    async with provisioned(servers) as made:
        young = await asyncpg.connect(made.owner_database_url)
        await young.execute("SET plan_cache_mode = force_generic_plan")
        nodes = list(_nodes(await _plan(young, "refunds", load_queries("refunds")[name])))
        await young.close()

    assert "requests_by_origin" not in {node.get("Index Name") for node in nodes}
    by_order = {"requests_pkey", "requests_by_order"}
    by_person = [n for n in nodes if n.get("Relation Name") == "requests" and n.get("Index Name") not in by_order]
    assert by_person
    assert not [node for node in by_person if "business_now()" in node["Filter"]], "reads the clock for each request"
    read_whole = [node for node in nodes if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "requests"]
    assert not read_whole


@pytest.mark.parametrize("count", [60, 500])
async def test_a_decision_in_a_shop_that_was_counted_early_looks_for_a_name_and_compares_it_with_no_others(
    servers: Servers, count: int
) -> None:
    """Its plan is made when few have asked, and kept while more do: each name that is compared costs 4 us."""
    asked = """
        WITH made AS (
            INSERT INTO orders (order_id, customer, paid) SELECT gen_random_uuid(), '{}', true FROM generate_series(1, $1)
            RETURNING order_id
        )
        INSERT INTO requests (id, order_id, currency, amount_minor, reason, origin, requester, requester_email)
        SELECT order_id, order_id, 'usd', 100, 'goodwill', 'person', 'clerk-' || n % 20, 'clerk-' || n % 20 || '@a.example'
          FROM (SELECT order_id, row_number() OVER () AS n FROM made) AS numbered"""
    async with provisioned(servers) as made:
        young = await asyncpg.connect(made.owner_database_url)
        await young.execute("SET search_path = refunds, payments")
        await young.execute(asked, count)
        await young.execute("ANALYZE")
        await young.execute("SET plan_cache_mode = force_generic_plan")
        nodes = list(_nodes(await _plan(young, "refunds", load_queries("refunds")["read_position"])))
        await young.close()

    assert {"requests_by_name_and_time", "requests_by_address_and_time"} <= {node.get("Index Name") for node in nodes}
    assert not [
        node for node in nodes if node["Node Type"] != "Bitmap Heap Scan" and "mailbox_of" in node.get("Filter", "")
    ]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "dead_letters_by_failure"),
        ({"service": "'service3'"}, "dead_letters_by_service"),
        ({"type": "'type7'"}, "dead_letters_by_type"),
        ({"fingerprint": "'way9'"}, "dead_letters_by_fingerprint"),
        ({"status": "'discarded'"}, "dead_letters_by_status"),
        ({"status": "'discarded'", "archived": "false"}, "dead_letters_by_status"),
        ({"archived": "true"}, "dead_letters_archived"),
    ],
)
async def test_a_page_of_dead_letters_walks_those_that_are_wanted(
    owner: "asyncpg.Connection[asyncpg.Record]", wanted: Mapping[str, str], index: str
) -> None:
    """However few they are among all. What is wanted is known when the plan is made: it is made for each page."""
    names = ("service", "type", "status", "fingerprint", "older", "newer", "ids")
    filters = [wanted.get(name, "NULL") for name in names]
    place = ["'9999-01-01 00:00Z'", "'00000000-0000-0000-0000-000000000000'", "51"]
    await owner.execute("SET plan_cache_mode = force_custom_plan")
    sql = load_queries("operations")["list_dead_letters"]
    try:
        plan = await _plan(owner, "operations", sql, *filters, *place, wanted.get("archived", "NULL"))
    finally:
        await owner.execute("SET plan_cache_mode = force_generic_plan")

    (scan,) = [node for node in _nodes(plan) if "Relation Name" in node]
    assert scan["Index Name"] == index
    assert "last_failed_at" in scan["Index Cond"]
    assert not [node for node in _nodes(plan) if "Sort" in node["Node Type"]]


def test_what_reads_all_is_named_with_its_reason_and_exists() -> None:
    known = {f"{schema_name(s)}.{name}" for s in SERVICES for name in load_queries(schema_name(s))}

    assert set(READS_ALL) <= known


async def _plan(owner: "asyncpg.Connection[asyncpg.Record]", schema: str, sql: str, *values: str) -> Node:
    await owner.execute(f"SET search_path = {schema}, payments")
    await owner.execute(f"PREPARE judged AS {sql}")
    try:
        types = await owner.fetchval("SELECT parameter_types FROM pg_prepared_statements WHERE name = 'judged'")
        given = f"({', '.join(values or ['NULL'] * len(types))})" if types else ""
        raw = await owner.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE judged{given}")
    finally:
        await owner.execute("DEALLOCATE judged")
    plan: Node = json.loads(raw)[0]["Plan"]
    return plan


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


async def _large_tables(owner: "asyncpg.Connection[asyncpg.Record]", schema: str) -> set[str]:
    rows = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = 'r' AND reltuples > $2",
        schema,
        LARGE,
    )
    return {row["relname"] for row in rows}


async def _partial_indexes(owner: "asyncpg.Connection[asyncpg.Record]", schema: str) -> set[str]:
    rows = await owner.fetch(
        "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid"
        " WHERE indpred IS NOT NULL AND relnamespace = $1::regnamespace",
        schema,
    )
    return {row["relname"] for row in rows}
