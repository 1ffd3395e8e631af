"""What went before a request is found again, counted by day, and put together; and it makes a request wait."""

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from payments_shared.clock import utc_now
from payments_shared.contracts import checkout, fulfillment
from payments_shared.ids import derived_id, external_id, new_id
from payments_shared.postgres import Connection, Pool, acquire, open_pool
from refunds.handlers.reporting import Reporting
from refunds.handlers.tallying import Tallying
from refunds.model.exhibits import Exhibit, Kind
from refunds.model.patterns import Buyer, Charge, Operator, Rate
from refunds.model.reports import Grouping, Report
from refunds.store.exhibits import keep
from refunds.store.patterns import keep_charge, load_patterns
from sandbox.services.resolver import Servers
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_requests import Staff, event, staff
from tests.refunds.test_system_refunds import order_paid
from tests.shared.messaging import provisioned
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers
__all__ = ["staff"]

SHOP = """
WITH bought AS (
    INSERT INTO orders (order_id, customer, account, paid, bill)
    SELECT md5($1::text || n)::uuid, jsonb_build_object('email', $2::text), $3, true,
           jsonb_build_object('paid_at', payments.business_now() - $5::interval, 'lines', jsonb_build_array(
               jsonb_build_object('sku', 'MUG', 'name', 'Mug', 'quantity', 2, 'amount_minor', 800, 'goods', '[]'),
               jsonb_build_object('sku', $1::text, 'name', 'x', 'quantity', 1, 'amount_minor', 200, 'goods', '[]')))
      FROM generate_series(1, $4::int) AS n
    RETURNING order_id
)
INSERT INTO payments (payment_intent, order_id, currency, captured_minor, settles)
SELECT 'pi_' || order_id, order_id, 'usd', 1000, true FROM bought
"""
REQUEST = """
WITH asked AS (
    INSERT INTO requests (id, order_id, currency, amount_minor, goods_minor, lines, reason, origin, requester, needs,
                          score, score_reasons, created_at)
    VALUES ($1, $2, 'usd', 400, 400,
            '[{"line": 0, "quantity": 1, "restock": true, "goods_minor": 400, "tax_minor": 0}]', 'goodwill', 'person',
            $3, $5, $6, '[{"signal": "own_order", "points": 60, "detail": {}}]',
            payments.business_now() - $4::interval)
)
INSERT INTO refunds (id, request_id, order_id, payment_intent, amount_minor, currency, reason, state, requester)
VALUES ($1, $1, $2, 'pi_' || $2::uuid, 400, 'usd', 'goodwill', $7, $3)
"""


WARNING = """INSERT INTO warnings (id, charge, payment_intent, fraud_type, actionable)
VALUES ('issfr_1', 'ch_1', $1, 'misc', true)"""


@pytest.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """A database of its own, as refunds sees it, and nothing that runs."""
    async with provisioned(servers) as made:
        opened = await open_pool(made.database_urls["refunds"], schema="refunds", application_name="refunds")
        yield opened
        await opened.close()


async def buy(
    connection: Connection,
    name: str,
    email: str,
    count: int,
    *,
    ago: timedelta = timedelta(0),
    account: str | None = None,
) -> list[UUID]:
    """So many orders of one buyer."""
    await connection.execute(SHOP, name, email, account, count, ago)
    rows = await connection.fetch("SELECT md5($1::text || n)::uuid FROM generate_series(1, $2::int) AS n", name, count)
    return [row[0] for row in rows]


async def ask(
    connection: Connection,
    order_id: UUID,
    requester: str,
    *,
    ago: timedelta = timedelta(0),
    score: int = 0,
    state: str = "requested",
) -> UUID:
    """A request about an order."""
    request_id, needs = new_id(), ["score"] if score >= 60 else []
    await connection.execute(REQUEST, request_id, order_id, requester, ago, needs, score, state)
    return request_id


async def test_what_went_before_is_found_without_any_lock(pool: Pool) -> None:
    now, yesterday, before = timedelta(0), timedelta(hours=30), timedelta(days=40)
    async with acquire(pool) as connection, acquire(pool) as other, other.transaction():
        orders = await buy(connection, "a", "Ada@example.com", 3, ago=timedelta(days=50))
        await buy(connection, "s", "ada@work.example", 1, account="ada")
        await connection.execute("UPDATE orders SET account = 'ada' WHERE order_id = $1", orders[0])
        await buy(connection, "old", "ada@example.com", 2, ago=timedelta(days=400))
        (bobs,) = await buy(connection, "b", "bob@example.com", 1)
        for order_id, who, ago in (
            (orders[0], "sam", now), (orders[0], "sam", yesterday), (orders[1], "sue", before), (bobs, "sam", yesterday),
        ):  # fmt: skip
            await ask(connection, order_id, who, ago=ago)
        for order_id in (*orders, bobs):
            await keep_charge(connection, Charge(f"pi_{order_id}", "card", utc_now(), "one card"))
        at = datetime(2026, 1, 1, tzinfo=UTC)
        parcels = enumerate((at, at + timedelta(days=1), at - timedelta(days=1)))
        await keep(connection, [Exhibit(orders[0], Kind.DELIVERED, str(n), moment, {}) for n, moment in parcels])
        await connection.execute(WARNING, f"pi_{orders[0]}")
        await Tallying(pool).tally()
        await other.execute("SELECT FROM orders FOR UPDATE")

        patterns, charges = await load_patterns(connection, orders[0], "sam")
        nothing, no_charges = await load_patterns(connection, new_id(), "nobody")

    assert patterns.buyer == Buyer(Rate(refunded=2, orders=4), day=1, month=2, quarter=3, by_operator=2)
    assert patterns.operator == Operator(day=1, month=3, peers=0, peers_month=0)
    assert patterns.shop == Rate(refunded=4, orders=5)
    assert patterns.products == {"MUG": Rate(refunded=4, orders=5), "a": Rate(refunded=0, orders=3)}
    assert patterns.card_buyers == 3  # Ada with her account, Ada as a guest, and Bob
    assert patterns.delivered_at == at - timedelta(days=1)
    assert patterns.early_fraud_warning
    assert not nothing.early_fraud_warning
    assert [(charge.payment_intent, charge.method_type) for charge in charges] == [(f"pi_{orders[0]}", "card")]
    assert (nothing.buyer, nothing.card_buyers, nothing.delivered_at, no_charges) == (Buyer(), 0, None, ())


async def test_days_are_counted_again_as_long_as_they_change(pool: Pool) -> None:
    tallying, sql = (
        Tallying(pool),
        "SELECT kind, name, sum(orders), sum(refunded), sum(requests) FROM tallies GROUP BY 1, 2",
    )
    async with acquire(pool) as connection:
        await tallying.tally()
        assert await connection.fetchval("SELECT count(*) FROM tallies") == 0
        first, _ = await buy(connection, "a", "ada@example.com", 2, ago=timedelta(days=20))
        await buy(connection, "b", "bob@example.com", 3, ago=timedelta(days=1))
        await ask(connection, first, "sam")
        await ask(connection, first, "sam")
        for _ in range(2):
            await tallying.tally()
            counted = {tuple(row) for row in await connection.fetch(sql)}
            assert counted == {
                ("shop", "", 5, 1, 2), ("product", "MUG", 5, 1, 2), ("product", "a", 2, 0, 0), ("product", "b", 3, 0, 0),
                ("operator", "sam", 0, 1, 2),
            }  # fmt: skip
        days = await connection.fetchval("SELECT count(*) FROM tallies WHERE kind = 'shop'")
        late = await buy(connection, "late", "eve@example.com", 1, ago=timedelta(days=2))
        await tallying.tally()
        assert await connection.fetchval("SELECT sum(orders) FROM tallies WHERE kind = 'shop'") == 5 + len(late)

    assert days == 21


async def test_a_report_puts_together_what_belongs_together(pool: Pool) -> None:
    async with acquire(pool) as connection:
        orders = await buy(connection, "a", "ada@example.com", 2)
        (bobs,) = await buy(connection, "b", "bob@example.com", 1)
        worst = await ask(connection, orders[0], "sam", score=75, state="awaiting_approval")
        await ask(connection, orders[0], "sam", score=10, state="rejected")
        await ask(connection, bobs, "sue")
        await ask(connection, bobs, "sue", ago=timedelta(days=60))
        await Tallying(pool).tally()

    reports = {by: await Reporting(pool).report(None, None, by, 50) for by in Grouping}
    few = await Reporting(pool).report(None, None, Grouping.OPERATOR, 1)

    assert _rows(reports[Grouping.OPERATOR]) == [
        ("sam", 2, {"usd": 400}, Rate(1, 3)),
        ("sue", 1, {"usd": 400}, Rate(1, 3)),
    ]
    assert _rows(reports[Grouping.CUSTOMER]) == [
        ("ada@example.com", 2, {"usd": 400}, Rate(1, 2)),
        ("bob@example.com", 1, {"usd": 400}, Rate(1, 1)),
    ]
    assert _rows(reports[Grouping.PRODUCT]) == [("MUG", 3, {"usd": 800}, Rate(2, 3))]
    assert _rows(reports[Grouping.REASON]) == [("goodwill", 3, {"usd": 800}, Rate(2, 3))]
    first = reports[Grouping.OPERATOR].groups[0]
    assert (first.second_person, first.suspicious, first.rejected, first.failed) == (1, 1, 1, 0)
    assert (first.tops[0], reports[Grouping.OPERATOR].tops[worst].score) == (worst, 75)
    assert [reason.signal for reason in reports[Grouping.OPERATOR].tops[worst].score_reasons] == ["own_order"]
    assert reports[Grouping.REASON].shop == Rate(2, 3)
    assert (len(few.groups), few.more, reports[Grouping.OPERATOR].more) == (1, True, False)


def _rows(report: Report) -> list[tuple[str, int, dict[str, int], Rate]]:
    return [(group.name, group.requests, dict(group.sums), group.rate) for group in report.groups]


async def test_what_is_suspicious_waits_and_says_why(refunds: OneService, stripe: StripeBeside, staff: Staff) -> None:
    card = {"type": "card", "card": {"fingerprint": f"fp_{new_id().hex}"}}
    orders = []
    for number in range(3):
        order_id, intent = new_id(), await stripe.captured(1000)
        customer = checkout.Customer(email=f"{order_id.hex}@example.com")
        paid = order_paid(order_id, (intent, 1000)).model_copy(update={"customer": customer, "paid_at": utc_now()})
        charge = {
            "id": f"ch_{order_id.hex}", "status": "succeeded", "created": 1_770_000_000, "payment_intent": intent,
            "payment_method_details": card,
        }  # fmt: skip
        told = (paid, event("charge.succeeded", charge))
        await refunds.tell(*(told if number else told[::-1]))
        orders.append(order_id)
    shipment = derived_id("shipment", str(orders[0]))
    await refunds.tell(fulfillment.ShipmentDelivered(order_id=orders[0], shipment_id=shipment))

    quiet = await staff.ask(orders[1], amount_minor=100, reason="damaged", who="eva")
    asked = [await staff.ask(orders[0], amount_minor=100, reason="not_received", who="eva") for _ in range(4)]
    shown = await staff.call("GET", f"/api/payments/refunds/{asked[-1].body['refund_id']}")
    token = refunds.deployment.keys.token("olga", "operator")
    url = "/api/payments/refund-report?by=operator&limit=1000"
    async with staff.http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        report = await answer.json()

    assert (quiet.body["status"], quiet.body["score"]) == ("approved", 25)
    assert quiet.body["score_reasons"] == [{"signal": "shared_card", "points": 25, "detail": {"buyers": 3}}]
    assert [(one.body["status"], one.body["score"]) for one in asked] == [
        ("approved", 55), ("approved", 55), ("approved", 55), ("awaiting_approval", 85),
    ]  # fmt: skip
    assert asked[-1].body["needs"] == ["score"]
    assert {reason["signal"] for reason in shown.body["score_reasons"]} == {
        "shared_card", "not_received_after_delivery", "customer_velocity", "operator_repeats_customer",
    }  # fmt: skip
    (eva,) = [group for group in report["groups"] if group["name"] == "eva"]
    assert (eva["requests"], eva["suspicious"], eva["second_person_per_thousand"]) == (5, 1, 200)
    assert eva["top"][0]["refund_id"] == asked[-1].body["refund_id"]


async def test_a_payment_too_old_for_its_method_becomes_store_credit_alone(
    refunds: OneService, stripe: StripeBeside, staff: Staff
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    paid = order_paid(order_id, (intent, 1000))
    account = paid.customer.model_copy(update={"account": "ada"})
    made = 1_735_689_600  # the first day of 2025
    charge = {
        "id": f"ch_{order_id.hex}", "status": "succeeded", "created": made, "payment_intent": intent,
        "payment_method_details": {"type": "klarna", "klarna": {}},
    }  # fmt: skip
    await refunds.tell(paid.model_copy(update={"customer": account}), event("charge.succeeded", charge))

    refused = await staff.ask(order_id, amount_minor=100)
    credited = await staff.ask(order_id, amount_minor=100, destination="store_credit")

    assert (refused.status, refused.body["code"], refused.body["method_type"]) == (422, "too_old_for_method", "klarna")
    assert refused.body["refundable_until"] == "2025-06-30T00:00:00Z"
    assert credited.status == 201
    assert await refunds.owner.fetchval("SELECT count(*) FROM refunds.requests WHERE order_id = $1", order_id) == 1
    assert external_id("ord", order_id) == credited.body["order_id"]


async def test_the_report_is_printed_for_people_for_programs_and_for_spreadsheets(
    refunds: OneService, stripe: StripeBeside, staff: Staff, tmp_path: Path
) -> None:
    order_id, intent = new_id(), await stripe.captured(1000)
    customer = checkout.Customer(email=f"=1+{order_id.hex}@example.com")
    await refunds.tell(order_paid(order_id, (intent, 1000)).model_copy(update={"customer": customer}))
    await staff.ask(order_id, amount_minor=100, who="eva")
    token = tmp_path / "token"
    token.write_text(refunds.deployment.keys.token("olga", "operator"))
    shell = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_PUBLIC_URL": refunds.deployment.public_url("refunds"),
        "PAYMENTS_TOKEN_FILE": str(token),
    }

    async def printed(*options: str) -> tuple[int, str]:
        program = Path(sys.executable).parent / "payctl"
        command = [str(program), "refund-report", "--by", "customer", "--limit", "1000", *options]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, env=shell, timeout=60, check=False
        )
        return done.returncode, done.stdout or done.stderr

    table, as_json, as_csv, both, wrong = await asyncio.gather(
        printed(), printed("--json"), printed("--csv"), printed("--json", "--csv"), printed("--from", "2020-01-01")
    )

    assert (table[0], as_json[0], as_csv[0]) == (0, 0, 0)
    assert "Refunds by customer" in table[1]
    (group,) = [one for one in json.loads(as_json[1])["groups"] if one["name"] == customer.email]
    assert (group["requests"], group["sums"]) == (1, [{"currency": "usd", "amount_minor": 100}])
    (row,) = [one for one in csv.DictReader(as_csv[1].splitlines()) if customer.email in one["name"]]
    assert (row["name"], row["sums"]) == ("'" + customer.email, "100 usd")
    assert (both[0], wrong[0], wrong[1].partition(":")[0]) == (2, 1, "window_invalid")
