"""Statements come out of their file as they stand there, with what they have alike put in."""

import pytest

from payments_shared.queries import load_queries, parse_queries

ORDERS = """-- Orders.
-- part: order_columns
id, state,
       total_minor

-- name: load_order
SELECT {order_columns}
  FROM orders WHERE id = $1;

-- name: count_orders
-- '{}', '{"a": 1}' and '{order_columns}' are literals.
SELECT count(*), '{}'::jsonb, '{order_columns}'::text[] FROM orders;
"""


def test_a_part_stands_in_each_statement_that_names_it_and_is_none_itself() -> None:
    queries = parse_queries(ORDERS)

    assert dict(queries) == {
        "load_order": "-- load_order\nSELECT id, state,\n       total_minor\n  FROM orders WHERE id = $1",
        "count_orders": "-- count_orders\n-- '{}', '{\"a\": 1}' and '{order_columns}' are literals.\n"
        "SELECT count(*), '{}'::jsonb, '{order_columns}'::text[] FROM orders",
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("SELECT 1;\n-- name: one\nSELECT 1;", "before the first"),
        ("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;", "query one is written twice"),
        ("-- part: one\nid\n-- name: one\nSELECT {one};", "query one is written twice"),
        ("-- name: one\n-- nothing", "query one is empty"),
        ("-- name: one\nSELECT {other};\n-- part: other\nid", "there is no part other"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_at_once(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_queries(text)


def test_whoever_reads_an_order_reads_all_of_it() -> None:
    queries = load_queries("checkout")
    readers = ("insert_order", "load_order", "list_orders_of_customer", "lock_order", "lock_orders", "store_session")

    assert all("digital_delivered_at, traceparent" in queries[name] for name in readers)
