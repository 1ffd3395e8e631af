"""Every predicate fires on its own planted violation, and on nothing in good data."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from operations.audit import Verdict, predicates, run_audit
from payments_shared.provision import Provisioned, provision
from sandbox.services.resolver import Servers

ORDER = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"
MESSAGE = "00000000-0000-7000-8000-00000000000a"

GOOD = f"""
INSERT INTO checkout.products (sku, name) VALUES ('A', 'A');
INSERT INTO checkout.coupons (code, percent_basis_points, max_redemptions, redeemed) VALUES ('C', 1000, 5, 1);
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_session_id, stripe_payment_intent, expires_at, lease_until, refunds)
VALUES ('{ORDER}', 'paid', 'usd', 1000, 1000, '[{{"sku": "A", "name": "A", "quantity": 2, "unit_amount_minor": 500}}]',
    'a@example.com', '', '{{}}', 'cs_1', 'pi_1', now(), now(), '{{}}');
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', NULL, 'pending'), ('{ORDER}', 'pending', 'paid');
INSERT INTO checkout.coupon_redemptions (order_id, code, state) VALUES ('{ORDER}', 'C', 'redeemed');
INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, state, locked_until, resource_id, response_status, response_body)
VALUES ('p', 'r', 'k', '', 'finished', now(), '{ORDER}', 201, '');
INSERT INTO inventory.stock (sku, total, available, committed) VALUES ('A', 10, 8, 2);
INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{ORDER}', 'committed', 'paid');
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{ORDER}', 'A', 2);
INSERT INTO fulfillment.orders (order_id) VALUES ('{ORDER}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{ORDER}', '{ORDER}', 'created', '[{{}}]', 1);
INSERT INTO refunds.orders (order_id) VALUES ('{ORDER}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_1', '{ORDER}', 'usd', 1000), ('pi_2', '{ORDER}', 'usd', 1000);
INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id)
VALUES ('{ORDER}', '{ORDER}', 'pi_2', 1000, 'usd', 'surplus_payment', 'succeeded', 'system:surplus_payment', 'policy:v1', 're_1');
UPDATE checkout.orders SET refunds = jsonb_build_object('{ORDER}', '{{"status": "succeeded", "amount_minor": 1000}}'::jsonb);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{ORDER}', 'order_confirmation', '{ORDER}', '{ORDER}', 'a@example.com', '<1@x>', 's', 'h', 'p', 'sent');
INSERT INTO webhook_ingest.stripe_events (day, event_id, type, livemode, state, raw) VALUES (current_date, 'evt_1', 't', false, 'processed', '');
INSERT INTO inventory.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
VALUES (current_date, '{MESSAGE}', 'stock.low.v1', 'k', 'p', '', now());
INSERT INTO notifications.inbox (day, message_id, handler, type) VALUES (current_date, '{MESSAGE}', 'notifications', 'stock.low.v1');
INSERT INTO operations.inbox (day, message_id, handler, type) VALUES (current_date, '{MESSAGE}', 'operations', 'stock.low.v1');
INSERT INTO stripe_truth.sessions VALUES ('cs_1', '{ORDER}', 'complete', 'paid', 'pi_1', 1000, 'usd'), ('cs_2', '{ORDER}', 'complete', 'paid', 'pi_2', 1000, 'usd');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_1', 'succeeded', 1000, 'usd'), ('pi_2', 'succeeded', 1000, 'usd');
INSERT INTO stripe_truth.refunds VALUES ('re_1', 'pi_2', 1000, 'usd', 'succeeded', 'ref_1');
INSERT INTO stripe_truth.events VALUES ('evt_1', 't', 'o', true);
INSERT INTO stripe_truth.mailbox VALUES (1, '<1@x>', 'a@example.com', '{ORDER}', 'order_confirmation', '{ORDER}');
"""

PENDING = f"""INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request, expires_at, lease_until)
VALUES ('{OTHER}', 'STATE', 'usd', 500, 500, '[{{"sku": "A", "name": "A", "quantity": 1, "unit_amount_minor": 500}}]', 'a@example.com', '', '{{}}', now(), now());
INSERT INTO checkout.order_transitions (order_id, to_state) VALUES ('{OTHER}', 'pending');
"""

# Where a constraint makes the violation impossible it is dropped first: the audit is the second path to the same rule.
PLANTED = {
    "I01": "INSERT INTO stripe_truth.sessions VALUES ('cs_9', NULL, 'complete', 'paid', 'pi_9', 1, 'usd')",
    "I02": "UPDATE stripe_truth.sessions SET payment_status = 'unpaid' WHERE id = 'cs_1'",
    "I03": "UPDATE stripe_truth.sessions SET amount_total = 999 WHERE id = 'cs_1'",
    "I04": "ALTER TABLE checkout.orders DROP CONSTRAINT total_adds_up; UPDATE checkout.orders SET subtotal_minor = 999",
    "I05": "UPDATE fulfillment.shipments SET state = 'canceled'",
    "I06": PENDING.replace("STATE", "pending")
    + f"INSERT INTO fulfillment.orders (order_id) VALUES ('{OTHER}');"
    + f"INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{OTHER}', '{OTHER}', 'created', '[{{}}]', 1)",
    "I07": "ALTER TABLE inventory.stock DROP CONSTRAINT stock_conserved; UPDATE inventory.stock SET total = 11",
    "I08": "UPDATE inventory.stock SET available = 7, held = 1",
    "I09": "UPDATE inventory.reservations SET state = 'released', standing = 'ended'; UPDATE inventory.stock SET available = 10, committed = 0",
    "I10": f"INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{OTHER}', 'held', 'processing')",
    "I11": "ALTER TABLE refunds.refunds DISABLE TRIGGER refunds_within_payment; UPDATE refunds.payments SET captured_minor = 999 WHERE payment_intent = 'pi_2'",
    "I12": "UPDATE stripe_truth.payment_intents SET amount_received = 999 WHERE id = 'pi_2'",
    "I13": "INSERT INTO stripe_truth.refunds VALUES ('re_2', 'pi_1', 1, 'usd', 'succeeded', 'ref_1')",
    "I14": "UPDATE stripe_truth.refunds SET status = 'failed'",
    "I15": "ALTER TABLE refunds.refunds DROP CONSTRAINT four_eyes; UPDATE refunds.refunds SET approver = requester",
    "I16": "UPDATE refunds.payments SET currency = 'eur' WHERE payment_intent = 'pi_2'",
    "I20": f"INSERT INTO stripe_truth.mailbox VALUES (2, '<2@x>', 'a@example.com', '{ORDER}', 'order_confirmation', '{ORDER}')",
    "I21": "UPDATE notifications.mails SET state = 'queued'",
    "I22": "UPDATE inventory.outbox SET published_at = NULL",
    "I23": "DELETE FROM notifications.inbox",
    "I24": f"INSERT INTO checkout.inbox (day, message_id, handler, type) VALUES (current_date, '{OTHER}', 'checkout', 't')",
    "I25": "INSERT INTO stripe_truth.events VALUES ('evt_2', 't', 'o', true)",
    "I26": "UPDATE webhook_ingest.stripe_events SET livemode = true",
    "I27": f"INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', 'paid', 'pending'), ('{ORDER}', 'pending', 'paid')",
    "I28": f"INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', 'pending', 'paid')",
    "I29": PENDING.replace("STATE", "expired"),
    "I30": "UPDATE checkout.coupons SET redeemed = 2",
    "I31": PENDING.replace("STATE", "pending")
    + f"UPDATE checkout.orders SET expires_at = now() - interval '2 hours' WHERE id = '{OTHER}'",
    "I32": "INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until) VALUES ('p', 'r', 'l', '', now() + interval '6 minutes')",
    "I33": f"INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until, resource_id) VALUES ('p', 'r', 'l', '', now(), '{ORDER}')",
    "I34": "UPDATE checkout.orders SET refunds = '{}'",
    "I35": "INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) SELECT 'pi_3', order_id, 'usd', 5 FROM refunds.orders",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database(servers: Servers) -> AsyncIterator[Provisioned]:
    """A database of its own, with good data."""
    made = await provision(
        admin_dsn=servers.admin_dsn, management_url=servers.management_url, amqp_url=servers.amqp_url,
        database="audit_test", vhost="audit_test", prefix="audit_test_", with_sandbox=True,
    )  # fmt: skip
    owner = await asyncpg.connect(made.owner_database_url)
    await owner.execute(GOOD)
    await owner.close()
    yield made
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute("DROP DATABASE audit_test WITH (FORCE)")
    await admin.close()


async def _copy(servers: Servers, made: Provisioned, name: str) -> str:
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    await admin.execute(f'CREATE DATABASE "{name}" TEMPLATE audit_test STRATEGY FILE_COPY')
    await admin.close()
    return re.sub(r"/audit_test$", f"/{name}", made.owner_database_url)


async def test_good_data_violates_nothing_and_every_predicate_that_runs_looks_at_something(
    database: Provisioned,
) -> None:
    report = await run_audit(database.database_urls["auditor"])

    assert not report.violated, "\n".join(report.lines())
    blind = {f.predicate.name[:3] for f in report.findings if f.verdict is Verdict.HOLDS and not f.examined}
    assert blind <= {"I10", "I31"}, "they look at open holds and pending orders, of which good data at rest has none"
    assert {f.predicate.name[:3] for f in report.findings if f.verdict is Verdict.NOT_RUN} == {"I17", "I18", "I19"}


def test_every_predicate_that_runs_has_a_planted_violation() -> None:
    assert {p.name[:3] for p in predicates() if p.needs != "ledger"} == PLANTED.keys()


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_violation_makes_its_predicate_fire(servers: Servers, database: Provisioned, name: str) -> None:
    url = await _copy(servers, database, f"audit_{name.lower()}")
    owner = await asyncpg.connect(url)
    await owner.execute(PLANTED[name])
    await owner.close()

    report = await run_audit(url)

    fired = {finding.predicate.name[:3] for finding in report.violated}
    assert name in fired, "\n".join(report.lines())
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute(f'DROP DATABASE "audit_{name.lower()}" WITH (FORCE)')
    await admin.close()
