"""Every predicate fires on its own planted violation, and on nothing in good data."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from operations.audit import NoSuchPredicate, Verdict, judge, predicates, run_audit
from operations.payctl import app
from payments_shared.messaging.inbox import REMEMBERED_DAYS, RETENTION_DAYS
from payments_shared.provision import Provisioned, provision
from sandbox.services.resolver import Servers

ORDER = "00000000-0000-7000-8000-000000000001"
OTHER = "00000000-0000-7000-8000-000000000002"
DECLINED = "00000000-0000-7000-8000-000000000003"
HELD = "00000000-0000-7000-8000-000000000004"
RELEASED = "00000000-0000-7000-8000-000000000005"
PLACED = "00000000-0000-7000-8000-000000000006"
CHARGED = "00000000-0000-7000-8000-000000000007"
ASKED = "00000000-0000-7000-8000-000000000008"
SPLIT = "00000000-0000-7000-8000-00000000000f"
RETRIED = "00000000-0000-7000-8000-000000000009"
COVERED = "00000000-0000-7000-8000-00000000000e"
SHORT = "00000000-0000-7000-8000-00000000000b"
KEEPING = "00000000-0000-7000-8000-00000000000c"
GRANT = "00000000-0000-7000-8000-00000000000d"
MESSAGE = "00000000-0000-7000-8000-00000000000a"
DIGITAL = "00000000-0000-7000-8000-000000000010"
MIXED = "00000000-0000-7000-8000-000000000011"
FREE = "00000000-0000-7000-8000-000000000013"
FREE_SHORT = "00000000-0000-7000-8000-000000000014"
CUT = "00000000-0000-7000-8000-000000000012"
BACK = "00000000-0000-7000-8000-000000000015"
LOST = "00000000-0000-7000-8000-000000000030"
LOST_IN_PART = "00000000-0000-7000-8000-000000000031"
LOST_WHOLE = "00000000-0000-7000-8000-000000000032"
OPENED = "00000000-0000-7000-8000-000000000016"
WON = "00000000-0000-7000-8000-000000000017"
UNSENT = "00000000-0000-7000-8000-000000000018"
UNDELIVERED = "00000000-0000-7000-8000-000000000019"
UNDELIVERED_CUT = "00000000-0000-7000-8000-00000000001a"
USED = "00000000-0000-7000-8000-00000000002"  # and a digit: orders that use a coupon
FORGOTTEN = "00000000-0000-7000-8000-00000000004"  # and a digit: messages of days that somebody has dropped
PARCEL = '[{"sku": "A", "quantity": 1}]'

GOOD = f"""
INSERT INTO checkout.products (sku, name) VALUES ('A', 'A');
INSERT INTO checkout.coupons (code, percent_basis_points, max_redemptions, redeemed) VALUES ('C', 1000, 5, 1);
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, coupon, lines, email, token_hash,
    stripe_request, stripe_session_id, stripe_payment_intent, expires_at, lease_until, refunds)
VALUES ('{ORDER}', 'paid', 'usd', 1000, 1000, 'C', '[{{"sku": "A", "name": "A", "quantity": 2, "unit_amount_minor": 500}}]',
    'a@example.com', '', '{{}}', 'cs_1', 'pi_1', now(), now(), '{{}}');
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', NULL, 'pending'), ('{ORDER}', 'pending', 'paid');
INSERT INTO checkout.coupon_redemptions (order_id, code, state, email) VALUES ('{ORDER}', 'C', 'redeemed', 'a@b.example');
INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, state, locked_until, resource_id, response_status, response_body)
VALUES ('p', 'r', 'k', '', 'finished', now(), '{ORDER}', 201, '');
INSERT INTO inventory.stock (sku, total, available, committed) VALUES ('A', 10, 8, 2);
INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{ORDER}', 'committed', 'paid');
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{ORDER}', 'A', 2);
INSERT INTO fulfillment.orders (order_id) VALUES ('{ORDER}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{ORDER}', '{ORDER}', 'created', '{PARCEL}', 1),
    ('{CUT}', '{ORDER}', 'canceled', '{PARCEL}', 1);
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

ONE = '[{"sku": "A", "name": "A", "quantity": 1, "unit_amount_minor": 500}]'
# What looks like a violation and is none: goods held for a buyer who was just declined and for an order that waits for a
# person, an amount that a person let pass, a new order, a key at work, a key whose caller has yet to repeat, an order that
# was paid without a session, one that waits for its buyer's bank, one that is charged again tomorrow, one that store credit
# paid all of, one whose goods could not be had and whose credit went back, one that keeps credit while it is open, one
# that two methods paid.
EXCUSED = f"""
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_session_id, stripe_payment_intent, held_reason, expires_at, lease_until)
VALUES ('{DECLINED}', 'declined', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'cs_3', NULL, NULL, now() + interval '1 hour', now()),
    ('{HELD}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'cs_4', 'pi_4', 'amount_mismatch', now(), now()),
    ('{RELEASED}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'cs_5', 'pi_5', NULL, now(), now()),
    ('{PLACED}', 'pending', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', NULL, NULL, NULL, now() + interval '1 hour', now());
INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
VALUES ('{DECLINED}', NULL, 'pending'), ('{DECLINED}', 'pending', 'declined'), ('{HELD}', NULL, 'pending'), ('{HELD}', 'pending', 'paid'),
    ('{RELEASED}', NULL, 'pending'), ('{RELEASED}', 'pending', 'paid'), ('{PLACED}', NULL, 'pending');
INSERT INTO checkout.order_facts (order_id, key, kind, data) VALUES ('{DECLINED}', 'intent:pi_3:declined:ch_1', 'IntentDeclined', '{{}}'),
    ('{RELEASED}', 'hold:released', 'HoldEnded', '{{"released": true}}');
INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until, resource_id)
VALUES ('p', 'r', 'at work', '', now() + interval '20 seconds', '{PLACED}'),
    ('p', 'r', 'not repeated', '', now() - interval '1 hour', '{DECLINED}');
UPDATE inventory.stock SET available = 5, held = 2, committed = 3;
INSERT INTO inventory.reservations (order_id, state, standing, expires_at)
VALUES ('{DECLINED}', 'held', 'open', now()), ('{HELD}', 'held', 'open', now()), ('{RELEASED}', 'committed', 'paid', NULL);
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{DECLINED}', 'A', 1), ('{HELD}', 'A', 1), ('{RELEASED}', 'A', 1);
INSERT INTO fulfillment.orders (order_id) VALUES ('{RELEASED}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{RELEASED}', '{RELEASED}', 'created', '{PARCEL}', 1);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{RELEASED}', 'order_confirmation', '{RELEASED}', '{RELEASED}', 'a@example.com', '<5@x>', 's', 'h', 'p', 'sent');
INSERT INTO stripe_truth.sessions VALUES ('cs_4', '{HELD}', 'complete', 'paid', 'pi_4', 400, 'usd'), ('cs_5', '{RELEASED}', 'complete', 'paid', 'pi_5', 400, 'usd');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_4', 'succeeded', 400, 'usd'), ('pi_5', 'succeeded', 400, 'usd');
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_payment_intent, saved_method, expires_at, lease_until)
VALUES ('{CHARGED}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'pi_6', 'pm_1', now(), now()),
    ('{ASKED}', 'pending', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'pi_7', 'pm_1', now() + interval '1 hour', now());
INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
VALUES ('{CHARGED}', NULL, 'pending'), ('{CHARGED}', 'pending', 'paid'), ('{ASKED}', NULL, 'pending');
INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until, resource_id)
VALUES ('p', 'r', 'not repeated either', '', now() - interval '1 hour', '{ASKED}');
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_payment_intent, saved_method, expires_at, lease_until, retry_at)
VALUES ('{RETRIED}', 'declined', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'pi_9r', 'pm_1',
    now() - interval '2 days', now(), now() + interval '1 day');
INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
VALUES ('{RETRIED}', NULL, 'pending'), ('{RETRIED}', 'pending', 'declined');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_9r', 'requires_payment_method', 0, 'usd', '{RETRIED}');
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_payment_intent, saved_method, expires_at, lease_until, split)
VALUES ('{SPLIT}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'pi_10', 'pm_1', now(), now(),
    '{{"legs": [{{"payment_intent": "pi_10"}}, {{"payment_intent": "pi_11"}}], "releasing": false}}');
INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
VALUES ('{SPLIT}', NULL, 'pending'), ('{SPLIT}', 'pending', 'paid');
UPDATE inventory.stock SET available = available - 1, committed = committed + 1;
INSERT INTO inventory.reservations (order_id, state, standing, expires_at) VALUES ('{SPLIT}', 'committed', 'paid', NULL);
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{SPLIT}', 'A', 1);
INSERT INTO fulfillment.orders (order_id) VALUES ('{SPLIT}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{SPLIT}', '{SPLIT}', 'created', '{PARCEL}', 1);
INSERT INTO refunds.orders (order_id) VALUES ('{SPLIT}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor)
VALUES ('pi_10', '{SPLIT}', 'usd', 200), ('pi_11', '{SPLIT}', 'usd', 300);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{SPLIT}', 'order_confirmation', '{SPLIT}', '{SPLIT}', 'a@example.com', '<10@x>', 's', 'h', 'p', 'sent');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_10', 'succeeded', 200, 'usd', '{SPLIT}'), ('pi_11', 'succeeded', 300, 'usd', '{SPLIT}');
UPDATE inventory.stock SET available = available - 1, committed = committed + 1;
INSERT INTO inventory.reservations (order_id, state, standing, expires_at) VALUES ('{CHARGED}', 'committed', 'paid', NULL);
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{CHARGED}', 'A', 1);
INSERT INTO fulfillment.orders (order_id) VALUES ('{CHARGED}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{CHARGED}', '{CHARGED}', 'created', '{PARCEL}', 1);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{CHARGED}', 'order_confirmation', '{CHARGED}', '{CHARGED}', 'a@example.com', '<6@x>', 's', 'h', 'p', 'sent');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_6', 'succeeded', 500, 'usd', '{CHARGED}'), ('pi_7', 'requires_action', 0, 'usd', '{ASKED}');
INSERT INTO refunds.orders (order_id) VALUES ('{CHARGED}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_6', '{CHARGED}', 'usd', 500);
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    customer_subject, store_credit_minor, store_credit_state, expires_at, lease_until)
VALUES ('{COVERED}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'ada', 500, 'spent', now(), now()),
    ('{SHORT}', 'paid', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'ada', 500, 'released', now(), now()),
    ('{KEEPING}', 'pending', 'usd', 500, 500, '{ONE}', 'a@example.com', '', '{{}}', 'ada', 200, 'reserved', now() + interval '1 hour', now());
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{COVERED}', NULL, 'pending'), ('{COVERED}', 'pending', 'paid'),
    ('{SHORT}', NULL, 'pending'), ('{SHORT}', 'pending', 'paid'), ('{KEEPING}', NULL, 'pending');
INSERT INTO checkout.store_credit_grants (id, customer_subject, currency, amount_minor, expires_at, source, reference, granted_by, created_at,
    reserved_minor, spent_minor, expired_minor)
VALUES ('{GRANT}', 'ada', 'usd', 1000, now(), 'admin', 'r', 'a', now(), 200, 500, 300);
INSERT INTO checkout.store_credit_uses (order_id, grant_id, amount_minor, state)
VALUES ('{COVERED}', '{GRANT}', 500, 'spent'), ('{SHORT}', '{GRANT}', 500, 'released'), ('{KEEPING}', '{GRANT}', 200, 'reserved');
INSERT INTO checkout.store_credit_entries (id, customer_subject, grant_id, order_id, kind, amount_minor, at)
SELECT gen_random_uuid(), 'ada', '{GRANT}', order_id::uuid, kind, amount, now()
  FROM (VALUES (NULL, 'granted', 1000), ('{SHORT}', 'reserved', 500), ('{SHORT}', 'spent', 500), ('{SHORT}', 'released', 500),
        ('{COVERED}', 'reserved', 500), ('{COVERED}', 'spent', 500), ('{KEEPING}', 'reserved', 200), (NULL, 'expired', 300)) AS e (order_id, kind, amount);
UPDATE inventory.stock SET available = available - 1, committed = committed + 1;
INSERT INTO inventory.reservations (order_id, state, standing, expires_at) VALUES ('{COVERED}', 'committed', 'paid', NULL);
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{COVERED}', 'A', 1);
INSERT INTO fulfillment.orders (order_id) VALUES ('{COVERED}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{COVERED}', '{COVERED}', 'created', '{PARCEL}', 1);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{COVERED}', 'order_confirmation', '{COVERED}', '{COVERED}', 'a@example.com', '<7@x>', 's', 'h', 'p', 'sent'),
    ('{SHORT}', 'order_confirmation', '{SHORT}', '{SHORT}', 'a@example.com', '<8@x>', 's', 'h', 'p', 'sent');
"""

# An order of which nothing is sent, and one of a bundle of which a part is.
DOWNLOADS = '[{"sku": "B", "name": "B", "quantity": 1, "unit_amount_minor": 500, "digital": true}]'
HALVES = """[{"sku": "S", "name": "S", "quantity": 1, "unit_amount_minor": 500, "parts": {"A": 1, "B": 2}, "digital_parts": ["B"]}]"""
DIGITAL_GOODS = f"""
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request,
    stripe_session_id, stripe_payment_intent, expires_at, lease_until, digital_delivered_at)
VALUES ('{DIGITAL}', 'paid', 'usd', 500, 500, '{DOWNLOADS}', 'a@example.com', '', '{{}}', 'cs_20', 'pi_20', now(), now(), now()),
    ('{MIXED}', 'paid', 'usd', 500, 500, '{HALVES}', 'a@example.com', '', '{{}}', 'cs_21', 'pi_21', now(), now(), now());
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{DIGITAL}', NULL, 'pending'),
    ('{DIGITAL}', 'pending', 'paid'), ('{MIXED}', NULL, 'pending'), ('{MIXED}', 'pending', 'paid');
UPDATE inventory.stock SET total = total + 5, available = available + 4, committed = committed + 1;
INSERT INTO inventory.stock (sku, total, available, committed) VALUES ('B', 10, 7, 3);
INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{DIGITAL}', 'committed', 'paid'), ('{MIXED}', 'committed', 'paid');
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{DIGITAL}', 'B', 1), ('{MIXED}', 'A', 1), ('{MIXED}', 'B', 2);
INSERT INTO fulfillment.orders (order_id, digital_delivered) VALUES ('{DIGITAL}', true), ('{MIXED}', true);
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{MIXED}', '{MIXED}', 'created', '{PARCEL}', 1);
INSERT INTO refunds.orders (order_id) VALUES ('{DIGITAL}'), ('{MIXED}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor)
VALUES ('pi_20', '{DIGITAL}', 'usd', 500), ('pi_21', '{MIXED}', 'usd', 500);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{DIGITAL}', 'order_confirmation', '{DIGITAL}', '{DIGITAL}', 'a@example.com', '<20@x>', 's', 'h', 'p', 'sent'),
    ('{MIXED}', 'order_confirmation', '{MIXED}', '{MIXED}', 'a@example.com', '<21@x>', 's', 'h', 'p', 'sent');
INSERT INTO stripe_truth.sessions VALUES ('cs_20', '{DIGITAL}', 'complete', 'paid', 'pi_20', 500, 'usd'), ('cs_21', '{MIXED}', 'complete', 'paid', 'pi_21', 500, 'usd');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_20', 'succeeded', 500, 'usd'), ('pi_21', 'succeeded', 500, 'usd');
"""

# A part of what a card paid became store credit.
TURNED_TO_CREDIT = f"""
UPDATE refunds.orders SET bill = '{{"currency": "usd", "subtotal_minor": 500, "discount_minor": 0, "tax_minor": 0, "shipping_minor": 0, "store_credit_minor": 0}}'
 WHERE order_id = '{DIGITAL}';
INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, destination)
VALUES ('{BACK}', '{DIGITAL}', 'pi_20', 100, 'usd', 'goodwill', 'succeeded', 'sam', 'policy:rules-0', 'store_credit');
UPDATE refunds.requests SET goods_minor = 100 WHERE id = '{BACK}';
UPDATE checkout.orders SET refunds = jsonb_build_object('{BACK}', '{{"status": "succeeded", "amount_minor": 100}}'::jsonb) WHERE id = '{DIGITAL}';
INSERT INTO checkout.store_credit_grants (id, customer_subject, currency, amount_minor, source, reference, granted_by, created_at)
VALUES ('{BACK}', 'ada', 'usd', 100, 'refund', 'ref_' || replace('{BACK}', '-', ''), 'refunds', now());
INSERT INTO checkout.store_credit_entries (id, customer_subject, grant_id, kind, amount_minor, at)
VALUES (gen_random_uuid(), 'ada', '{BACK}', 'granted', 100, now());
"""

# An order of which a coupon takes all off, and another whose goods could not be had.
FOR_NOTHING = f"""
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, discount_minor, total_minor, coupon, lines, email, token_hash,
    stripe_request, expires_at, lease_until)
VALUES ('{FREE}', 'paid', 'usd', 500, 500, 0, 'C', '{ONE}', 'a@example.com', '', '{{}}', now(), now()),
    ('{FREE_SHORT}', 'paid', 'usd', 500, 500, 0, 'C', '{ONE}', 'a@example.com', '', '{{}}', now(), now());
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{FREE}', NULL, 'pending'),
    ('{FREE}', 'pending', 'paid'), ('{FREE_SHORT}', NULL, 'pending'), ('{FREE_SHORT}', 'pending', 'paid');
INSERT INTO checkout.order_facts (order_id, key, kind, data) VALUES ('{FREE_SHORT}', 'stock:shortfall', 'StockShort', '{{}}');
INSERT INTO checkout.coupon_redemptions (order_id, code, state, email)
VALUES ('{FREE}', 'C', 'redeemed', 'a@b.example'), ('{FREE_SHORT}', 'C', 'redeemed', 'a@b.example');
UPDATE checkout.coupons SET redeemed = redeemed + 2;
UPDATE inventory.stock SET available = available - 1, committed = committed + 1 WHERE sku = 'A';
INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{FREE}', 'committed', 'paid');
INSERT INTO inventory.reservation_lines (order_id, sku, quantity) VALUES ('{FREE}', 'A', 1);
INSERT INTO fulfillment.orders (order_id) VALUES ('{FREE}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{FREE}', '{FREE}', 'created', '{PARCEL}', 1);
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{FREE}', 'order_confirmation', '{FREE}', '{FREE}', 'a@example.com', '<22@x>', 's', 'h', 'p', 'sent'),
    ('{FREE_SHORT}', 'order_confirmation', '{FREE_SHORT}', '{FREE_SHORT}', 'a@example.com', '<23@x>', 's', 'h', 'p', 'sent');
"""

# A payment whose order is not here, as after a restore, given back.
LOST_IN_A_RESTORE = f"""
INSERT INTO checkout.lost_payments (payment_intent, order_id, amount_minor, currency, actor, reason)
VALUES ('pi_30', '{LOST}', 1000, 'usd', 'carol', 'restored');
INSERT INTO refunds.orders (order_id) VALUES ('{LOST}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_30', '{LOST}', 'usd', 1000);
INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id)
VALUES ('{LOST}', '{LOST}', 'pi_30', 1000, 'usd', 'order_unknown', 'succeeded', 'system:order_unknown', 'policy:v1', 're_30');
INSERT INTO stripe_truth.sessions VALUES ('cs_30', '{LOST}', 'complete', 'paid', 'pi_30', 1000, 'usd');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_30', 'succeeded', 1000, 'usd');
INSERT INTO stripe_truth.refunds VALUES ('re_30', 'pi_30', 1000, 'usd', 'succeeded', 'ref_30');
"""

# As above; of one a part had been given back in Stripe's dashboard before, and all of the other.
LOST_AND_GIVEN_BACK_BEFORE = f"""
INSERT INTO checkout.lost_payments (payment_intent, order_id, amount_minor, currency, actor, reason)
VALUES ('pi_31', '{LOST_IN_PART}', 1000, 'usd', 'carol', 'restored'), ('pi_32', '{LOST_WHOLE}', 1000, 'usd', 'carol', 'restored');
INSERT INTO refunds.orders (order_id) VALUES ('{LOST_IN_PART}'), ('{LOST_WHOLE}');
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor)
VALUES ('pi_31', '{LOST_IN_PART}', 'usd', 1000), ('pi_32', '{LOST_WHOLE}', 'usd', 1000);
INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id)
VALUES ('{LOST_IN_PART}', '{LOST_IN_PART}', 'pi_31', 600, 'usd', 'order_unknown', 'succeeded', 'system:order_unknown', 'policy:v1', 're_31'),
    (gen_random_uuid(), '{LOST_IN_PART}', 'pi_31', 400, 'usd', 'dashboard', 'succeeded', 'stripe:dashboard', 'policy:v1', 're_32'),
    ('{LOST_WHOLE}', '{LOST_WHOLE}', 'pi_32', 1000, 'usd', 'dashboard', 'succeeded', 'stripe:dashboard', 'policy:v1', 're_33');
INSERT INTO stripe_truth.sessions VALUES ('cs_31', '{LOST_IN_PART}', 'complete', 'paid', 'pi_31', 1000, 'usd');
INSERT INTO stripe_truth.payment_intents
VALUES ('pi_31', 'succeeded', 1000, 'usd', NULL), ('pi_32', 'succeeded', 1000, 'usd', '{LOST_WHOLE}');
INSERT INTO stripe_truth.refunds VALUES ('re_31', 'pi_31', 600, 'usd', 'succeeded', 'ref_31'),
    ('re_32', 'pi_31', 400, 'usd', 'succeeded', NULL), ('re_33', 'pi_32', 1000, 'usd', 'succeeded', NULL);
"""

# A dispute that was lost of a payment that had been refunded before, and one that was won; the parcel left after that was
# heard.
DISPUTED = f"""
INSERT INTO refunds.disputes (id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status, reason,
    asked_at, version, said, opened_at, closed_at)
VALUES ('du_1', 'ch_2', 'pi_2', '{ORDER}', 400, 'usd', 'lost', 'lost', 'general', now(), 2, 'lost', now(), now() + interval '1 minute'),
    ('du_2', 'ch_6', 'pi_6', '{CHARGED}', 500, 'usd', 'won', 'won', 'general', now(), 2, 'won', now(), now());
INSERT INTO refunds.dispute_transitions (dispute_id, from_state, to_state, cause)
VALUES ('du_1', NULL, 'open', 't'), ('du_1', 'open', 'lost', 't'), ('du_2', NULL, 'open', 't'), ('du_2', 'open', 'won', 't');
INSERT INTO stripe_truth.disputes VALUES ('du_1', 'ch_2', 'pi_2', 400, 'usd', 'lost'), ('du_2', 'ch_6', 'pi_6', 500, 'usd', 'won');
UPDATE refunds.payments SET settles = true WHERE payment_intent = 'pi_6';
UPDATE fulfillment.orders SET goods = '{{"payment_intents": ["pi_6"]}}',
       disputes = '[{{"dispute_id": "du_2", "payment_intent": "pi_6", "version": 2, "outcome": "won"}}]'
 WHERE order_id = '{CHARGED}';
UPDATE fulfillment.shipments SET state = 'shipped', carrier = 'DHL' WHERE order_id = '{CHARGED}';
INSERT INTO fulfillment.shipment_transitions (shipment_id, from_state, to_state, reason)
VALUES ('{CHARGED}', NULL, 'created', 't'), ('{CHARGED}', 'created', 'shipped', 't');
INSERT INTO refunds.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
SELECT current_date, id::uuid, type, 'k', 'ord_' || replace('{CHARGED}', '-', ''), '{{"data": {{"dispute_id": "du_2"}}}}', now()
  FROM (VALUES ('{OPENED}', 'dispute.opened.v1'), ('{WON}', 'dispute.won.v1')) AS m (id, type);
INSERT INTO fulfillment.inbox (day, message_id, handler, type, processed_at)
SELECT current_date, id::uuid, 'fulfillment', type, now() - ago::interval
  FROM (VALUES ('{OPENED}', 'dispute.opened.v1', '2 minutes'), ('{WON}', 'dispute.won.v1', '1 minute')) AS m (id, type, ago);
INSERT INTO checkout.inbox (day, message_id, handler, type) VALUES (current_date, '{OPENED}', 'checkout', 't'), (current_date, '{WON}', 'checkout', 't');
INSERT INTO notifications.inbox (day, message_id, handler, type)
VALUES (current_date, '{OPENED}', 'notifications', 't'), (current_date, '{WON}', 'notifications', 't');
INSERT INTO operations.inbox (day, message_id, handler, type)
VALUES (current_date, '{OPENED}', 'operations', 't'), (current_date, '{WON}', 'operations', 't');
"""

# Of one order all pieces were given back before anything was sent, and its shipping was kept; of another what is not sent
# was, before it was delivered.
PAPER_AND_DOWNLOAD = """[{"sku": "A", "name": "A", "quantity": 1, "unit_amount_minor": 500},
    {"sku": "B", "name": "B", "quantity": 1, "unit_amount_minor": 500, "digital": true}]"""
GIVEN_BACK_IN_PIECES = f"""
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, shipping_minor, total_minor, lines, email, token_hash,
    stripe_request, stripe_session_id, stripe_payment_intent, expires_at, lease_until, refunds)
VALUES ('{UNSENT}', 'paid', 'usd', 500, 100, 600, '{ONE}', 'a@example.com', '', '{{}}', 'cs_40', 'pi_40', now(), now(),
        jsonb_build_object('{UNSENT}', '{{"status": "succeeded", "amount_minor": 500}}'::jsonb)),
    ('{UNDELIVERED}', 'paid', 'usd', 1000, 0, 1000, '{PAPER_AND_DOWNLOAD}', 'a@example.com', '', '{{}}', 'cs_41', 'pi_41', now(), now(),
        jsonb_build_object('{UNDELIVERED}', '{{"status": "succeeded", "amount_minor": 500}}'::jsonb));
INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{UNSENT}', NULL, 'pending'),
    ('{UNSENT}', 'pending', 'paid'), ('{UNDELIVERED}', NULL, 'pending'), ('{UNDELIVERED}', 'pending', 'paid');
UPDATE inventory.stock SET available = available - 1, committed = committed + 1 WHERE sku = 'A';
INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{UNSENT}', 'committed', 'paid'), ('{UNDELIVERED}', 'committed', 'paid');
INSERT INTO inventory.reservation_lines (order_id, sku, quantity, restocked)
VALUES ('{UNSENT}', 'A', 1, 1), ('{UNDELIVERED}', 'A', 1, 0), ('{UNDELIVERED}', 'B', 1, 1);
INSERT INTO fulfillment.orders (order_id, goods)
VALUES ('{UNSENT}', '{{"lines": [{{"sku": "A", "quantity": 1}}], "digital": []}}'),
    ('{UNDELIVERED}', '{{"lines": [{{"sku": "A", "quantity": 1}}], "digital": [{{"sku": "B", "quantity": 1}}]}}');
INSERT INTO fulfillment.shipments (id, order_id, state, lines, version)
VALUES ('{UNSENT}', '{UNSENT}', 'canceled', '{PARCEL}', 1), ('{UNDELIVERED}', '{UNDELIVERED}', 'created', '{PARCEL}', 1),
    ('{UNDELIVERED_CUT}', '{UNDELIVERED}', 'canceled', '[{{"sku": "B", "quantity": 1}}]', 1);
INSERT INTO refunds.orders (order_id, bill)
SELECT order_id::uuid, jsonb_build_object('currency', 'usd', 'subtotal_minor', subtotal, 'discount_minor', 0, 'tax_minor', 0,
           'shipping_minor', shipping, 'store_credit_minor', 0, 'lines', lines::jsonb)
  FROM (VALUES ('{UNSENT}', 500, 100, '{ONE}'), ('{UNDELIVERED}', 1000, 0, '{PAPER_AND_DOWNLOAD}')) AS b (order_id, subtotal, shipping, lines);
INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor, settles)
VALUES ('pi_40', '{UNSENT}', 'usd', 600, true), ('pi_41', '{UNDELIVERED}', 'usd', 1000, true);
INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id)
VALUES ('{UNSENT}', '{UNSENT}', 'pi_40', 500, 'usd', 'returned', 'succeeded', 'sam', 'policy:rules-0', 're_40'),
    ('{UNDELIVERED}', '{UNDELIVERED}', 'pi_41', 500, 'usd', 'returned', 'succeeded', 'sam', 'policy:rules-0', 're_41');
UPDATE refunds.requests SET goods_minor = 500, lines = '[{{"line": 0, "quantity": 1, "restock": true}}]' WHERE id = '{UNSENT}';
UPDATE refunds.requests SET goods_minor = 500, lines = '[{{"line": 1, "quantity": 1, "restock": true}}]' WHERE id = '{UNDELIVERED}';
INSERT INTO notifications.mails (id, kind, ref, order_id, recipient, message_id, subject, html, plain, state)
VALUES ('{UNSENT}', 'order_confirmation', '{UNSENT}', '{UNSENT}', 'a@example.com', '<40@x>', 's', 'h', 'p', 'sent'),
    ('{UNDELIVERED}', 'order_confirmation', '{UNDELIVERED}', '{UNDELIVERED}', 'a@example.com', '<41@x>', 's', 'h', 'p', 'sent');
INSERT INTO stripe_truth.sessions VALUES ('cs_40', '{UNSENT}', 'complete', 'paid', 'pi_40', 600, 'usd'),
    ('cs_41', '{UNDELIVERED}', 'complete', 'paid', 'pi_41', 1000, 'usd');
INSERT INTO stripe_truth.payment_intents VALUES ('pi_40', 'succeeded', 600, 'usd'), ('pi_41', 'succeeded', 1000, 'usd');
INSERT INTO stripe_truth.refunds VALUES ('re_40', 'pi_40', 500, 'usd', 'succeeded', 'ref_40'), ('re_41', 'pi_41', 500, 'usd', 'succeeded', 'ref_41');
"""

# Coupons and codes with all the uses that they may have: of one for two uses by a customer somebody has two by his subject
# and two by his address, three by both. The others were limited to less than they had been used. Uses that were given
# back or honoured count for nobody, and an order that is on its way after it had expired has none.
COUPONS_USED = f"""
INSERT INTO checkout.coupons (code, percent_basis_points, per_customer, held, redeemed, limited_at)
VALUES ('TWICE', 1000, 2, 3, 0, now() - interval '1 day'), ('LESS', 1000, 3, 3, 0, now() - interval '1 day');
INSERT INTO checkout.promotion_codes (code, coupon, max_redemptions, limited_at)
VALUES ('TWICE-2', 'TWICE', 2, now() - interval '1 day'), ('LESS-2', 'LESS', 2, now() - interval '1 day');
INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, coupon, lines, email, token_hash, stripe_request,
    expires_at, lease_until)
SELECT ('{USED}' || number)::uuid, state, 'usd', 500, 500, coupon, '{ONE}', 'a@example.com', '', '{{}}', now() + interval '1 hour', now()
  FROM (VALUES (1, 'TWICE', 'pending'), (2, 'TWICE', 'pending'), (3, 'TWICE', 'declined'), (4, 'TWICE', 'expired'),
        (5, 'TWICE', 'processing'), (6, 'LESS', 'pending'), (7, 'LESS', 'pending'), (8, 'LESS', 'pending')) AS o (number, coupon, state);
INSERT INTO checkout.order_transitions (order_id, from_state, to_state)
SELECT id, NULL, 'pending' FROM checkout.orders WHERE coupon IN ('TWICE', 'LESS') UNION ALL
SELECT id, 'pending', 'expired' FROM checkout.orders WHERE id IN ('{USED}4', '{USED}5') UNION ALL
SELECT id, 'pending', 'declined' FROM checkout.orders WHERE id = '{USED}3' UNION ALL
SELECT id, 'expired', 'processing' FROM checkout.orders WHERE id = '{USED}5';
INSERT INTO checkout.coupon_redemptions (order_id, code, state, email, customer_subject, promotion)
SELECT ('{USED}' || number)::uuid, code, state, email, subject, promotion
  FROM (VALUES (1, 'TWICE', 'held', 'one@b.example', 'eve', 'TWICE-2'), (2, 'TWICE', 'held', 'two@b.example', 'eve', 'TWICE-2'),
        (3, 'TWICE', 'held', 'two@b.example', NULL, NULL), (4, 'TWICE', 'released', 'two@b.example', 'eve', 'TWICE-2'),
        (5, 'TWICE', 'released', 'two@b.example', 'eve', 'TWICE-2'), (6, 'LESS', 'held', 'one@b.example', 'eve', 'LESS-2'),
        (7, 'LESS', 'held', 'one@b.example', 'eve', 'LESS-2'), (8, 'LESS', 'held', 'one@b.example', 'eve', NULL)
       ) AS r (number, code, state, email, subject, promotion);
UPDATE checkout.coupons SET per_customer = 1 WHERE code = 'LESS';
UPDATE checkout.promotion_codes SET max_redemptions = 1 WHERE code = 'LESS-2';
UPDATE checkout.orders SET coupon = 'TWICE' WHERE id IN ('{CHARGED}', '{SPLIT}');
INSERT INTO checkout.coupon_redemptions (order_id, code, state, email, customer_subject, promotion)
VALUES ('{CHARGED}', 'TWICE', 'honoured', 'two@b.example', 'eve', 'TWICE-2'), ('{SPLIT}', 'TWICE', 'redeemed', 'three@b.example', NULL, NULL);
UPDATE checkout.coupons SET redeemed = 1 WHERE code = 'TWICE';
"""

PENDING = f"""INSERT INTO checkout.orders (id, state, currency, subtotal_minor, total_minor, lines, email, token_hash, stripe_request, expires_at, lease_until)
VALUES ('{OTHER}', 'STATE', 'usd', 500, 500, '[{{"sku": "A", "name": "A", "quantity": 1, "unit_amount_minor": 500}}]', 'a@example.com', '', '{{}}', now(), now());
INSERT INTO checkout.order_transitions (order_id, to_state) VALUES ('{OTHER}', 'pending');
"""

# Somebody takes back what was agreed to: the surplus that went back.
TAKEN_BACK = f"""
INSERT INTO refunds.refund_transitions (refund_id, from_state, to_state, cause, actor)
VALUES ('{ORDER}', 'approved', 'canceled', 'withdrawn by ada: a rule', 'ada');
UPDATE refunds.refunds SET state = 'canceled', {{handed_over}} WHERE id = '{ORDER}';
"""

# Somebody takes another use of a coupon: by an address, a subject, and a code.
ONE_MORE = f"""
UPDATE checkout.orders SET coupon = '{{coupon}}' WHERE id = '{OTHER}';
INSERT INTO checkout.coupon_redemptions (order_id, code, state, email, customer_subject, promotion)
VALUES ('{OTHER}', '{{coupon}}', 'held', {{by}});
UPDATE checkout.coupons SET held = held + 1 WHERE code = '{{coupon}}';
"""

# What looks like a message lost or from nowhere, and is only older than what every service keeps: its hearers' inboxes
# have ended before its outbox, or its outbox before them, or a person had a dead letter of it sent back after both.
LONG_AGO = f"""
INSERT INTO inventory.outbox (day, message_id, type, routing_key, partition_key, body, published_at)
VALUES (current_date - {RETENTION_DAYS}, '{FORGOTTEN}1', 'stock.low.v1', 'k', 'p', '', now() - interval '{RETENTION_DAYS} days');
INSERT INTO notifications.inbox (day, message_id, handler, type)
VALUES (current_date - {RETENTION_DAYS}, '{FORGOTTEN}2', 'notifications', 'stock.low.v1'),
    (current_date - {RETENTION_DAYS} - 25, '{FORGOTTEN}3', 'notifications', 'stock.low.v1');
"""

# Where a constraint makes the violation impossible it is dropped first: the audit is the second path to the same rule.
# A name is a predicate's, or that and which of its ways to be violated.
PLANTED = {
    "I01": "INSERT INTO stripe_truth.sessions VALUES ('cs_9', NULL, 'complete', 'paid', 'pi_9', 1, 'usd')",
    "I01 surplus paid back in part": "UPDATE refunds.refunds SET amount_minor = 999",
    "I01 a charge for no order": f"INSERT INTO stripe_truth.payment_intents VALUES ('pi_9', 'succeeded', 1, 'usd', '{CHARGED}')",
    "I01 of no order and not written down": "DELETE FROM checkout.lost_payments WHERE payment_intent = 'pi_32'",
    "I01 of no order and a part is missing": "UPDATE refunds.refunds SET amount_minor = 599 WHERE payment_intent = 'pi_31' AND amount_minor = 600",
    "I01 charged for no order and a part is missing": "UPDATE refunds.refunds SET state = 'pending' WHERE payment_intent = 'pi_32'",
    "I02": "UPDATE stripe_truth.sessions SET payment_status = 'unpaid' WHERE id = 'cs_1'",
    "I02 charged nothing": "UPDATE stripe_truth.payment_intents SET status = 'canceled' WHERE id = 'pi_6'",
    "I02 not its own": "UPDATE checkout.orders SET saved_method = NULL WHERE stripe_payment_intent = 'pi_6'",
    "I03": "UPDATE stripe_truth.sessions SET amount_total = 999 WHERE id = 'cs_1'",
    "I03 charged less": "UPDATE stripe_truth.payment_intents SET amount_received = 499 WHERE id = 'pi_6'",
    "I03 nobody let it pass": "DELETE FROM checkout.order_facts WHERE kind = 'HoldEnded'",
    "I04": "ALTER TABLE checkout.orders DROP CONSTRAINT total_adds_up; UPDATE checkout.orders SET subtotal_minor = 999",
    "I05": "UPDATE fulfillment.shipments SET state = 'canceled', carrier = NULL",
    "I05 what is sent of a bundle": f"UPDATE fulfillment.shipments SET state = 'canceled' WHERE order_id = '{MIXED}'",
    "I05 what is not sent": f"INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{DIGITAL}', '{DIGITAL}', 'created', '{PARCEL}', 1)",
    "I05 something else was taken out": f"""UPDATE fulfillment.shipments SET lines = '[{{"sku": "B", "quantity": 1}}]' WHERE id = '{UNSENT}'""",
    "I06": PENDING.replace("STATE", "pending")
    + f"INSERT INTO fulfillment.orders (order_id) VALUES ('{OTHER}');"
    + f"INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{OTHER}', '{OTHER}', 'created', '{PARCEL}', 1)",
    "I06 money that must go back": f"UPDATE checkout.orders SET dishonoured = true WHERE id = '{ORDER}'",
    "I06 nothing of it is sent": f"INSERT INTO fulfillment.shipments (id, order_id, state, lines, version) VALUES ('{DIGITAL}', '{DIGITAL}', 'created', '{PARCEL}', 1)",
    "I06 delivered before it is paid": PENDING.replace("STATE", "pending")
    + f"INSERT INTO fulfillment.orders (order_id, digital_delivered) VALUES ('{OTHER}', true)",
    "I06 delivered and all of it is sent": f"UPDATE fulfillment.orders SET digital_delivered = true WHERE order_id = '{ORDER}'",
    "I07": "ALTER TABLE inventory.stock DROP CONSTRAINT stock_conserved; UPDATE inventory.stock SET total = 11",
    "I08": "UPDATE inventory.stock SET available = available - 1, held = held + 1",
    "I09": "UPDATE inventory.reservations SET state = 'released', standing = 'ended' WHERE state = 'committed'; UPDATE inventory.stock SET available = available + committed, committed = 0",
    "I09 a part of a bundle": """UPDATE checkout.orders SET lines = jsonb_set(lines, '{0,parts}', '{"A": 3}') WHERE state = 'paid'""",
    "I10": f"INSERT INTO inventory.reservations (order_id, state, standing) VALUES ('{OTHER}', 'held', 'processing')",
    "I10 abandoned": f"INSERT INTO checkout.order_facts (order_id, key, kind, data) VALUES ('{DECLINED}', 'abandoned:ch_1', 'Abandoned', '{{}}')",
    "I10 no longer held for a person": f"UPDATE checkout.orders SET held_reason = NULL WHERE id = '{HELD}'",
    "I11": "ALTER TABLE refunds.refunds DISABLE TRIGGER refunds_within_payment; UPDATE refunds.payments SET captured_minor = 999 WHERE payment_intent = 'pi_2'",
    "I12": "UPDATE stripe_truth.payment_intents SET amount_received = 999 WHERE id = 'pi_2'",
    "I13": "INSERT INTO stripe_truth.refunds VALUES ('re_2', 'pi_1', 1, 'usd', 'succeeded', 'ref_1')",
    "I14": "UPDATE stripe_truth.refunds SET status = 'failed'",
    "I14 canceled here": "UPDATE refunds.refunds SET state = 'canceled'",
    "I15": "ALTER TABLE refunds.refunds DROP CONSTRAINT four_eyes; UPDATE refunds.refunds SET approver = requester",
    "I15 by the address of the one that is the subject of the other": "ALTER TABLE refunds.requests DROP CONSTRAINT second_person; UPDATE refunds.requests SET requester_email = 'ADA@shop.example', decided_by = 'ada@shop.example'",
    "I16": "UPDATE refunds.payments SET currency = 'eur' WHERE payment_intent = 'pi_2'",
    "I20": f"INSERT INTO stripe_truth.mailbox VALUES (2, '<2@x>', 'a@example.com', '{ORDER}', 'order_confirmation', '{ORDER}')",
    "I21": "UPDATE notifications.mails SET state = 'queued'",
    "I22": "UPDATE inventory.outbox SET published_at = NULL",
    "I22 however old": f"UPDATE inventory.outbox SET published_at = NULL WHERE message_id = '{FORGOTTEN}1'",
    "I23": "DELETE FROM notifications.inbox",
    "I23 heard by nobody": f"INSERT INTO inventory.outbox (day, message_id, type, routing_key, partition_key, body, published_at) VALUES (current_date, '{OTHER}', 'stock.unheard.v1', 'k', 'p', '', now())",
    "I23 of the oldest day that all keep": f"UPDATE inventory.outbox SET day = current_date - {REMEMBERED_DAYS} WHERE message_id = '{FORGOTTEN}1'",
    "I24 of the oldest day that all keep": f"UPDATE notifications.inbox SET day = current_date - {REMEMBERED_DAYS} WHERE message_id = '{FORGOTTEN}2'",
    "I24": f"INSERT INTO checkout.inbox (day, message_id, handler, type) VALUES (current_date, '{OTHER}', 'checkout', 't')",
    "I25": "INSERT INTO stripe_truth.events VALUES ('evt_2', 't', 'o', true)",
    "I25 not at its end": "ALTER TABLE webhook_ingest.stripe_events DROP CONSTRAINT stripe_events_state_check; UPDATE webhook_ingest.stripe_events SET state = 'received', reason = 'r'",
    "I26": "UPDATE webhook_ingest.stripe_events SET livemode = true",
    "I26 foreign account": "UPDATE webhook_ingest.stripe_events SET account = 'acct_other'",
    "I27": f"INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', 'paid', 'pending'), ('{ORDER}', 'pending', 'paid')",
    "I28": f"INSERT INTO checkout.order_transitions (order_id, from_state, to_state) VALUES ('{ORDER}', 'pending', 'paid')",
    "I29": PENDING.replace("STATE", "expired"),
    "I30": "UPDATE checkout.coupons SET redeemed = 2",
    "I31": PENDING.replace("STATE", "pending")
    + f"UPDATE checkout.orders SET expires_at = now() - interval '2 hours' WHERE id = '{OTHER}'",
    "I31 declined": f"UPDATE checkout.orders SET expires_at = now() - interval '2 hours' WHERE id = '{DECLINED}'",
    "I32": f"UPDATE checkout.idempotency_keys SET locked_until = now() - interval '6 minutes' WHERE resource_id = '{PLACED}'",
    "I32 without an order": "INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until) VALUES ('p', 'r', 'l', '', now() - interval '6 minutes')",
    "I32 shut out": f"UPDATE checkout.idempotency_keys SET locked_until = now() + interval '6 minutes' WHERE resource_id = '{DECLINED}'",
    "I33": f"INSERT INTO checkout.idempotency_keys (principal, route, key, fingerprint, locked_until, resource_id) VALUES ('p', 'r', 'l', '', now(), '{ORDER}')",
    "I33 no answer kept": "ALTER TABLE checkout.idempotency_keys DROP CONSTRAINT finished_has_response; UPDATE checkout.idempotency_keys SET response_status = NULL",
    "I34": "UPDATE checkout.orders SET refunds = '{}'",
    "I34 of no order and not written down": "DELETE FROM checkout.lost_payments",
    "I34 shown and not there": f"UPDATE checkout.orders SET refunds = jsonb_build_object('{OTHER}', '{{\"status\": \"succeeded\", \"amount_minor\": 1}}'::jsonb) WHERE id = '{HELD}'",
    "I34 shown before it is so": "UPDATE refunds.refunds SET state = 'pending'",
    "I31 not charged again": f"UPDATE checkout.orders SET expires_at = now() - interval '3 hours', retry_at = now() - interval '2 hours' WHERE id = '{ASKED}'",
    "I31 half paid": f"UPDATE checkout.orders SET state = 'processing', split_open = true, expires_at = now() - interval '2 hours' WHERE id = '{SPLIT}'",
    "I36": f"UPDATE checkout.orders SET state = 'expired' WHERE id = '{ASKED}'",
    "I36 authorized beside what paid": f"INSERT INTO stripe_truth.payment_intents VALUES ('pi_8', 'requires_capture', 0, 'usd', '{CHARGED}')",
    "I01 half of a split payment": f"INSERT INTO stripe_truth.payment_intents VALUES ('pi_9', 'succeeded', 5, 'usd', '{SPLIT}')",
    "I02 nothing but half of it": "UPDATE stripe_truth.payment_intents SET status = 'canceled', amount_received = 0 WHERE id = 'pi_11'",
    "I03 a part is missing": "UPDATE stripe_truth.payment_intents SET amount_received = 299 WHERE id = 'pi_11'",
    "I35 a part that nothing is sent for": f"INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_12', '{SPLIT}', 'usd', 5)",
    "I36 authorized and its order has ended": "UPDATE stripe_truth.payment_intents SET status = 'requires_capture', amount_received = 0 WHERE id = 'pi_11'",
    "I35": f"INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_3', '{ORDER}', 'usd', 5)",
    "I35 kept for pieces that nobody gave back": f"UPDATE refunds.requests SET lines = '[]' WHERE id = '{UNSENT}'",
    "I35 not delivered": f"UPDATE fulfillment.orders SET digital_delivered = false WHERE order_id = '{DIGITAL}'",
    "I35 delivered and not sent": f"UPDATE fulfillment.shipments SET state = 'canceled' WHERE order_id = '{MIXED}'",
    "I37": "ALTER TABLE checkout.store_credit_grants DROP CONSTRAINT store_credit_within_grant; UPDATE checkout.store_credit_grants SET amount_minor = 999",
    "I37 used behind its back": f"UPDATE checkout.store_credit_uses SET amount_minor = 501 WHERE order_id = '{COVERED}'",
    "I37 reserved by nobody": "UPDATE checkout.store_credit_grants SET reserved_minor = reserved_minor + 1, expired_minor = expired_minor - 1 WHERE expired_minor > 0",
    "I37 not in its statement": "DELETE FROM checkout.store_credit_entries WHERE kind = 'released'",
    "I38": f"UPDATE refunds.payments SET captured_minor = 499 WHERE order_id = '{CHARGED}'",
    "I38 covered by less": f"UPDATE checkout.store_credit_uses SET amount_minor = 499 WHERE order_id = '{COVERED}'",
    "I38 more than its total": f"INSERT INTO refunds.orders (order_id) VALUES ('{COVERED}'); INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_9', '{COVERED}', 'usd', 1); UPDATE checkout.orders SET stripe_payment_intent = 'pi_9' WHERE id = '{COVERED}'",
    "I38 a part is missing": "UPDATE refunds.payments SET captured_minor = 299 WHERE payment_intent = 'pi_11'",
    "I05 for nothing and not sent": f"UPDATE fulfillment.shipments SET state = 'canceled' WHERE order_id = '{FREE}'",
    "I38 for nothing and no coupon is used": f"UPDATE checkout.coupon_redemptions SET state = 'released' WHERE order_id = '{FREE}'",
    "I38 for nothing and paid": f"INSERT INTO refunds.orders (order_id) VALUES ('{FREE}'); INSERT INTO refunds.payments (payment_intent, order_id, currency, captured_minor) VALUES ('pi_9', '{FREE}', 'usd', 1); UPDATE checkout.orders SET stripe_payment_intent = 'pi_9' WHERE id = '{FREE}'",
    "I39": f"UPDATE checkout.orders SET state = 'expired' WHERE id = '{KEEPING}'",
    "I39 spent on nothing": f"UPDATE checkout.orders SET state = 'canceled' WHERE id = '{COVERED}'",
    "I39 kept after it went back": f"UPDATE checkout.orders SET store_credit_state = 'released' WHERE id = '{KEEPING}'",
    "I39 not what it says": f"UPDATE checkout.store_credit_uses SET amount_minor = 199 WHERE order_id = '{KEEPING}'",
    "I39 of somebody else": f"UPDATE checkout.orders SET customer_subject = 'bo' WHERE id = '{KEEPING}'",
    "I39 in another currency": f"UPDATE checkout.orders SET currency = 'eur' WHERE id = '{KEEPING}'",
    "I39 entered for another": f"UPDATE checkout.store_credit_entries SET order_id = '{KEEPING}' WHERE order_id = '{COVERED}'",
    "I39 in a strange statement": f"UPDATE checkout.store_credit_entries SET customer_subject = 'bo' WHERE order_id = '{KEEPING}'",
    "I39 of an order that uses none": f"UPDATE checkout.orders SET store_credit_minor = 0, store_credit_state = NULL WHERE id = '{KEEPING}'",
    "I40": f"UPDATE fulfillment.orders SET digital_delivered = false WHERE order_id = '{MIXED}'",
    "I40 taken out was something else": f"UPDATE fulfillment.shipments SET lines = '{PARCEL}' WHERE id = '{UNDELIVERED_CUT}'",
    "I40 never heard of": f"DELETE FROM fulfillment.orders WHERE order_id = '{DIGITAL}'",
    "I40 not shown": f"UPDATE checkout.orders SET digital_delivered_at = NULL WHERE id = '{DIGITAL}'",
    "I40 shown and not there": f"UPDATE checkout.orders SET digital_delivered_at = now() WHERE id = '{ORDER}'",
    "I41": f"""UPDATE fulfillment.shipments SET lines = lines || '[{{"sku": "B", "quantity": 2}}]' WHERE order_id = '{MIXED}'""",
    "I41 too little": f"DELETE FROM fulfillment.shipments WHERE id = '{CUT}'",
    "I42": "UPDATE refunds.requests SET amount_minor = 99, goods_minor = 99 WHERE goods_minor > 0",
    "I42 more than the bill": f"UPDATE refunds.orders SET bill = jsonb_set(bill, '{{subtotal_minor}}', '99') WHERE order_id = '{DIGITAL}'",
    "I43": f"DELETE FROM checkout.store_credit_entries WHERE grant_id = '{BACK}'; DELETE FROM checkout.store_credit_grants WHERE id = '{BACK}'",
    "I43 for nothing": f"UPDATE checkout.store_credit_grants SET reference = 'ref_0' WHERE id = '{BACK}'",
    "I43 too much": f"UPDATE checkout.store_credit_grants SET amount_minor = 101 WHERE id = '{BACK}'",
    "I43 went back by itself as well": f"""INSERT INTO refunds.orders (order_id, bill) VALUES ('{SHORT}', '{{"store_credit_minor": 500}}');
INSERT INTO refunds.refunds (id, order_id, amount_minor, currency, reason, state, requester, approver, destination)
VALUES (gen_random_uuid(), '{SHORT}', 500, 'usd', 'goodwill', 'submitted', 'sam', 'policy:rules-0', 'store_credit')""",
    "I43 told and not true": f"UPDATE refunds.orders SET credit_released = true WHERE order_id = '{DIGITAL}'",
    "I44": "UPDATE refunds.refunds SET state = 'approved' WHERE payment_intent = 'pi_2'",
    "I44 asked for after it was lost": "UPDATE refunds.disputes SET closed_at = now() - interval '1 day' WHERE id = 'du_1'",
    "I45": "UPDATE refunds.disputes SET state = 'won' WHERE id = 'du_1'",
    "I45 broken": "INSERT INTO refunds.dispute_transitions (dispute_id, from_state, to_state, cause) VALUES ('du_1', 'open', 'lost', 't')",
    "I46": "DELETE FROM stripe_truth.disputes WHERE id = 'du_1'",
    "I46 never heard of": "INSERT INTO stripe_truth.disputes VALUES ('du_3', 'ch_9', 'pi_9', 5, 'usd', 'needs_response')",
    "I46 decided and nobody knows": "UPDATE stripe_truth.disputes SET status = 'under_review' WHERE id = 'du_2'",
    "I46 of nobody's order": "UPDATE refunds.disputes SET order_id = NULL WHERE id = 'du_2'",
    "I47": f"DELETE FROM fulfillment.inbox WHERE message_id = '{WON}'",
    "I47 won after it had left": f"UPDATE fulfillment.inbox SET processed_at = now() WHERE message_id = '{WON}'",
    "I47 a parcel that waits": f"""UPDATE fulfillment.shipments SET state = 'created', carrier = NULL WHERE order_id = '{CHARGED}'; UPDATE fulfillment.orders SET disputes = jsonb_set(disputes, '{{0,outcome}}', '"lost"') WHERE disputes <> '[]'""",
    "I48": f"INSERT INTO refunds.put_off (refund_id) VALUES ('{ORDER}')",
    "I48 handed over and taken back": TAKEN_BACK.format(handed_over="first_submitted_at = now()"),
    "I48 known at Stripe and taken back": TAKEN_BACK.format(handed_over="stripe_refund_id = 're_1'"),
    "I49": f"""UPDATE stripe_truth.refunds SET refund_request_id = 'ref_{ORDER.replace("-", "")}'; """
    + TAKEN_BACK.format(handed_over="stripe_refund_id = NULL"),
    "I50": PENDING.replace("STATE", "pending")
    + ONE_MORE.format(coupon="TWICE", by="'four@b.example', NULL, 'TWICE-2'"),
    "I50 over what it was limited to": PENDING.replace("STATE", "pending")
    + ONE_MORE.format(coupon="LESS", by="'four@b.example', NULL, 'LESS-2'"),
    "I51": PENDING.replace("STATE", "pending") + ONE_MORE.format(coupon="TWICE", by="'two@b.example', NULL, NULL"),
    "I51 by the subject": PENDING.replace("STATE", "pending")
    + ONE_MORE.format(coupon="TWICE", by="'four@b.example', 'eve', NULL"),
    "I51 over what it was limited to": PENDING.replace("STATE", "pending")
    + ONE_MORE.format(coupon="LESS", by="'one@b.example', NULL, NULL"),
    "I52": f"DELETE FROM checkout.coupon_redemptions WHERE order_id = '{USED}1'",
    "I52 kept by what has ended": f"UPDATE checkout.coupon_redemptions SET state = 'held' WHERE order_id = '{USED}4'",
    "I52 given back and open": f"UPDATE checkout.coupon_redemptions SET state = 'released' WHERE order_id = '{USED}1'",
    "I52 given back and paid": f"UPDATE checkout.coupon_redemptions SET state = 'released' WHERE order_id = '{CHARGED}'",
    "I52 used and on its way": f"UPDATE checkout.coupon_redemptions SET state = 'redeemed' WHERE order_id = '{USED}5'",
    "I52 its money must go back": f"UPDATE checkout.orders SET dishonoured = true WHERE id = '{SPLIT}'",
    "I52 of another coupon": f"UPDATE checkout.coupon_redemptions SET code = 'LESS', promotion = NULL WHERE order_id = '{USED}1'",
    "I52 of none": f"UPDATE checkout.orders SET coupon = NULL WHERE id = '{USED}1'",
    "I52 by another's code": f"UPDATE checkout.coupon_redemptions SET promotion = 'LESS-2' WHERE order_id = '{USED}1'",
    "I35 lost in part": "UPDATE refunds.refunds SET amount_minor = 599 WHERE payment_intent = 'pi_2'",
    "I41 something else": f"""UPDATE fulfillment.shipments SET lines = '[{{"sku": "B", "quantity": 1}}]' WHERE order_id = '{CHARGED}'""",
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
    await owner.execute(EXCUSED)
    await owner.execute(DIGITAL_GOODS)
    await owner.execute(TURNED_TO_CREDIT)
    await owner.execute(FOR_NOTHING)
    await owner.execute(LOST_IN_A_RESTORE)
    await owner.execute(LOST_AND_GIVEN_BACK_BEFORE)
    await owner.execute(DISPUTED)
    await owner.execute(GIVEN_BACK_IN_PIECES)
    await owner.execute(COUPONS_USED)
    await owner.execute(LONG_AGO)
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
    blind = {f.predicate.number for f in report.findings if f.verdict is Verdict.HOLDS and not f.examined}
    assert not blind
    assert {f.predicate.number for f in report.findings if f.verdict is Verdict.NOT_RUN} == {"I17", "I18", "I19"}


async def test_some_predicates_alone_can_be_asked(database: Provisioned) -> None:
    auditor = database.database_urls["auditor"]

    report = await run_audit(auditor, only={"I23", "I02"})

    assert [finding.predicate.number for finding in report.findings] == ["I02", "I23"]
    with pytest.raises(NoSuchPredicate, match="no predicate is called I98, I99"):
        await run_audit(auditor, only={"I99", "I23", "I98"})
    with pytest.raises(NoSuchPredicate, match="no predicate that holds at any moment is called I23"):
        await run_audit(auditor, only={"I23"}, when="always")


def payctl_audit(dsn: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """The command as an operator runs it: status, stdout, stderr."""
    command = [str(Path(sys.executable).parent / "payctl"), "audit", *arguments]
    given = {"PATH": os.environ["PATH"], "PAYMENTS_AUDITOR_DATABASE_URL": dsn, **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=given, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


async def test_live_events_and_those_of_ones_accounts_are_ours_where_the_services_variables_say_so(
    servers: Servers, database: Provisioned
) -> None:
    """Nobody types `--livemode`: in live mode every event would be one of the wrong mode."""
    url = await _copy(servers, database, "audit_live")
    owner = await asyncpg.connect(url)
    await owner.execute("UPDATE webhook_ingest.stripe_events SET livemode = true, account = 'acct_2'")
    await owner.close()
    live, accounts = {"PAYMENTS_LIVEMODE": "true"}, {"PAYMENTS_STRIPE_ACCOUNTS": "acct_1,acct_2"}

    ours = payctl_audit(url, **live, **accounts)
    others = [payctl_audit(url, "--only", "I26", **said) for said in (live, accounts, {**live, **accounts})]

    assert ours[0] == 0, ours
    assert [status for status, _, _ in others] == [1, 1, 0]
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute('DROP DATABASE "audit_live" WITH (FORCE)')
    await admin.close()


async def test_who_could_not_look_says_so_in_a_line_and_ends_as_nobody_who_found_something(
    database: Provisioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "postgresql://auditor:PASSWORD@127.0.0.1:9/payments"
    missing = re.sub(r"/audit_test$", "/audit_none", database.database_urls["auditor"])

    async def too_long(*_: object, **__: object) -> None:
        error = TimeoutError()
        error.add_note("Asked: I23_no_message_lost")
        raise error

    for dsn in (nowhere, missing):
        status, text, said = payctl_audit(dsn)
        assert (status, text) == (2, "")
        assert re.fullmatch(r"cannot audit: .+\n", said)
        assert "PASSWORD" not in said
    monkeypatch.setattr("operations.audit.run_audit", too_long)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "--dsn", nowhere])
    assert (done.exit_code, done.stderr) == (2, "cannot audit: TimeoutError; Asked: I23_no_message_lost\n")


async def test_beside_a_real_account_nothing_is_compared_with_a_truth_that_nobody_told(
    servers: Servers, database: Provisioned
) -> None:
    url = await _copy(servers, database, "audit_untold")
    owner = await asyncpg.connect(url)
    for table in ("sessions", "payment_intents", "refunds", "disputes", "events", "mailbox"):
        await owner.execute(f"DELETE FROM stripe_truth.{table}")
    await owner.close()

    report = await run_audit(url)

    assert not report.violated, "\n".join(report.lines())
    left_out = {finding.predicate.name for finding in report.findings if finding.verdict is Verdict.NOT_RUN}
    assert left_out == {predicate.name for predicate in predicates() if predicate.needs is not None}
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute('DROP DATABASE "audit_untold" WITH (FORCE)')
    await admin.close()


async def test_what_somebody_has_stopped_is_no_violation_and_what_waits_without_that_is(
    servers: Servers, database: Provisioned
) -> None:
    url = await _copy(servers, database, "audit_stopped")
    owner = await asyncpg.connect(url)
    await owner.execute(f"""
        UPDATE refunds.refunds SET state = 'approved', stripe_refund_id = NULL WHERE id = '{ORDER}';
        DELETE FROM stripe_truth.refunds WHERE id = 're_1';
        UPDATE checkout.orders SET refunds = '{{}}' WHERE id = '{ORDER}';
        UPDATE notifications.mails SET state = 'queued' WHERE order_id = '{ORDER}';
        DELETE FROM stripe_truth.mailbox WHERE id = 1;
        INSERT INTO refunds.put_off (refund_id) VALUES ('{ORDER}');
        INSERT INTO refunds.switch_turns (switch, state, actor, reason) VALUES ('refunds', 'stopped', 'olga', 'a rule');
        INSERT INTO notifications.switch_turns (switch, state, actor, reason) VALUES ('mails', 'stopped', 'olga', 'a text');
    """)

    stopped = await run_audit(url)
    await owner.execute(f"UPDATE refunds.refunds SET state = 'canceled' WHERE id = '{ORDER}'")
    displaced = await run_audit(url)
    await owner.execute("""
        DELETE FROM refunds.put_off;
        INSERT INTO notifications.switch_turns (switch, state, actor) VALUES ('mails', 'open', 'olga');
    """)
    opened = await run_audit(url)

    await owner.close()
    waiting = {"I01", "I21", "I35"}
    assert not waiting & {finding.predicate.number for finding in stopped.violated}, "\n".join(stopped.lines())
    assert {"I01", "I35"} <= {finding.predicate.number for finding in displaced.violated}, "it goes back never"
    assert waiting <= {finding.predicate.number for finding in opened.violated}, "\n".join(opened.lines())
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute('DROP DATABASE "audit_stopped" WITH (FORCE)')
    await admin.close()


async def test_a_surplus_that_was_taken_back_is_settled_once_it_went_back_another_way(
    servers: Servers, database: Provisioned
) -> None:
    url = await _copy(servers, database, "audit_taken_back")
    owner = await asyncpg.connect(url)
    await owner.execute(TAKEN_BACK.format(handed_over="stripe_refund_id = NULL"))
    shown = f'jsonb_build_object(\'{ORDER}\', \'{{"status": "canceled", "amount_minor": 1000}}\'::jsonb'
    await owner.execute(f"UPDATE checkout.orders SET refunds = {shown}) WHERE id = '{ORDER}'")
    await owner.execute("DELETE FROM stripe_truth.refunds WHERE id = 're_1'")

    kept = await run_audit(url)
    await owner.execute(f"""
        INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester, approver, stripe_refund_id)
        VALUES ('{OTHER}', '{ORDER}', 'pi_2', 1000, 'usd', 'dashboard', 'succeeded', 'stripe:dashboard', 'policy:v1', 're_2');
        INSERT INTO stripe_truth.refunds VALUES ('re_2', 'pi_2', 1000, 'usd', 'succeeded', NULL);
        UPDATE checkout.orders SET refunds = {shown},
               '{OTHER}', '{{"status": "succeeded", "amount_minor": 1000}}'::jsonb) WHERE id = '{ORDER}';
    """)
    given_back = await run_audit(url)

    await owner.close()
    assert {finding.predicate.number for finding in kept.violated} == {"I01", "I35"}, "the money is here"
    assert not given_back.violated, "\n".join(given_back.lines())
    admin = await asyncpg.connect(servers.admin_dsn)
    await admin.execute('DROP DATABASE "audit_taken_back" WITH (FORCE)')
    await admin.close()


class Explaining(asyncpg.Connection):
    """Says how each question would be answered, too."""

    plans: Final[list[Any]] = []

    async def fetch(self, query: str, *args: object, **how: Any) -> list[asyncpg.Record]:  # type: ignore[override]
        """As asyncpg does."""
        (plan,) = await super().fetch(f"EXPLAIN (FORMAT JSON) {query}", *args)
        self.plans.append(json.loads(plan[0])[0]["Plan"])
        found: list[asyncpg.Record] = await super().fetch(query, *args, **how)
        return found


def _read_again_and_again(plan: Any) -> Iterator[str]:
    """What is read whole for every row of something else, by a join."""
    if plan["Node Type"] == "Nested Loop" and plan["Plans"][1]["Node Type"] in ("Seq Scan", "CTE Scan", "Materialize"):
        yield str(plan)
    for inner in plan.get("Plans", ()):
        yield from _read_again_and_again(inner)


async def test_no_predicate_reads_a_table_once_for_each_row_of_another(
    monkeypatch: pytest.MonkeyPatch, database: Provisioned
) -> None:
    """After a restore, statistics are of a day on which a table was empty: the audit of 20,000 orders took minutes."""
    monkeypatch.setattr(asyncpg, "connect", partial(asyncpg.connect, connection_class=Explaining))
    Explaining.plans.clear()

    await run_audit(database.database_urls["auditor"])

    assert len(Explaining.plans) > 40
    assert [found for plan in Explaining.plans for found in _read_again_and_again(plan)] == []


def test_every_predicate_that_runs_has_a_planted_violation() -> None:
    assert {p.name[:3] for p in predicates() if p.needs != "ledger"} == {planted[:3] for planted in PLANTED}


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_violation_makes_its_predicate_fire(database: Provisioned, name: str) -> None:
    owner = await asyncpg.connect(database.owner_database_url)
    planting = owner.transaction()
    await planting.start()
    await owner.execute(PLANTED[name])

    report = await judge(owner, only={name[:3]})

    await planting.rollback()
    await owner.close()
    assert report.violated, "\n".join(report.lines())
