"""Facts that are folded many to a transaction end as if each had come alone."""

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from checkout.consumers import events
from checkout.decide.recovering import Links
from checkout.handlers.facts import Delays, Facts
from checkout.handlers.gating import Gates
from checkout.handlers.methods import Methods
from checkout.model.carts import Coupon, PricedLine, Quote
from checkout.model.limits import Limit
from checkout.model.velocity import Limits
from checkout.store import catalog, velocity
from checkout.store import orders as store
from payments_shared.clock import utc_now
from payments_shared.contracts import fulfillment, inventory, refunds
from payments_shared.contracts.message import Message
from payments_shared.contracts.stripe import StripeEvent
from payments_shared.ids import derived_id, external_id
from payments_shared.messaging import Transaction
from sandbox.services.resolver import Servers
from tests.shared.messaging import provisioned
from tests.support.both_ways import BothWays, both_ways, incoming, with_repeats

pytestmark = pytest.mark.servers

SEEDS = 12
ORDERS = tuple(derived_id("order", str(number)) for number in range(6))
SESSIONS = ("1", "2")
NARROW = Limits(
    declines_per_order=Limit("declines_per_order", 2, 3600),
    declines_per_address=Limit("declines_per_address", 4, 3600),
    cards_per_address=Limit("cards_per_address", 2, 3600),
    declines_per_buyer=Limit("declines_per_buyer", 4, 3600),
    cards_per_buyer=Limit("cards_per_buyer", 3, 3600),
    declines_per_card=Limit("declines_per_card", 4, 3600),
)
COUPONS = {"LAST": 100, "SOME": None}
UNTIL = utc_now() + timedelta(hours=1)
NEWS: tuple[type[Any], ...] = (
    fulfillment.ShipmentCreated,
    fulfillment.ShipmentShipped,
    fulfillment.ShipmentDelivered,
    fulfillment.DigitalDelivered,
    refunds.RefundRequested,
    refunds.RefundApproved,
    refunds.RefundSucceeded,
    refunds.RefundFailed,
    inventory.StockCommitted,
)

RELEASE = """
WITH released AS (
    UPDATE coupon_redemptions SET state = 'released' WHERE order_id = ANY($1) RETURNING code
), counted AS (
    SELECT code, count(*) AS uses FROM released GROUP BY code
)
UPDATE coupons AS c
   SET held = c.held - counted.uses,
       max_redemptions = CASE WHEN c.max_redemptions IS NOT NULL THEN c.held - counted.uses + 1 END
  FROM counted
 WHERE c.code = counted.code
"""


@pytest.fixture(scope="module")
async def decisions(servers: Servers) -> AsyncIterator[BothWays]:
    """Checkout's decisions alone."""
    async with provisioned(servers) as made, both_ways(made, "checkout") as ready:
        yield ready


async def place(tx: Transaction, order_id: UUID, coupon: str | None, session: str | None) -> None:
    """An order as a placement leaves it, with its session known or not yet."""
    quote = Quote("usd", (PricedLine("MUG", "Mug", 2, 1800),), 3600, 100 if coupon else 0, coupon)
    await store.insert_order(
        tx.connection,
        order_id,
        quote,
        email="ada@example.com",
        customer_subject=None,
        locale="en-US",
        token_hash=b"",
        stripe_request={},
        expires_at=UNTIL,
        lease_seconds=60,
    )
    if coupon is not None:
        await catalog.hold_coupon(tx.connection, coupon, order_id, "ada@example.com", None)
    await velocity.insert_origin(tx.connection, order_id, "address")
    if session is not None:
        await store.store_session(tx.connection, order_id, session, "https://pay.example")


def stripe_event(kind: str, shown: dict[str, Any]) -> StripeEvent:
    """An event of Stripe's."""
    named = f"evt_{derived_id('event', kind, repr(shown)).hex}"
    return StripeEvent(id=named, type=kind, created=1, livemode=False, data={"object": shown})


def some_event(chance: random.Random, order_id: UUID, discount: int) -> StripeEvent:
    """Something that Stripe may show of the order. A twin of its session pays too, and amounts differ now and then."""
    order, twin = external_id("ord", order_id), chance.choice((*SESSIONS[:1] * 4, *SESSIONS[1:]))
    intent = f"pi_{order}_{twin}"
    metadata = {"order_id": order}
    if chance.random() < 0.5:
        odd = chance.random() < 0.1
        kind, status, paid = chance.choice(
            [
                ("completed", "complete", "paid"),
                ("completed", "complete", "paid"),
                ("completed", "complete", "unpaid"),
                ("async_payment_succeeded", "complete", "paid"),
                ("async_payment_failed", "complete", "unpaid"),
                ("expired", "expired", "unpaid"),
            ]
        )
        total = 3600 - discount - odd
        return stripe_event(
            f"checkout.session.{kind}",
            {
                "id": f"cs_{order}_{twin}",
                "status": status,
                "payment_status": paid,
                "client_reference_id": order,
                "payment_intent": None if status == "expired" else intent,
                "currency": "usd",
                "amount_subtotal": 3600 - odd,
                "amount_total": total,
                "total_details": {"amount_discount": discount, "amount_shipping": 0, "amount_tax": 0},
                "metadata": metadata,
            },
        )
    shown = {"id": intent, "amount": 3600 - discount, "currency": "usd", "metadata": metadata}
    if chance.random() < 0.6:
        succeeded = {"status": "succeeded", "amount_received": 3600 - discount}
        return stripe_event("payment_intent.succeeded", shown | succeeded)
    failed = {"status": "requires_payment_method", "latest_charge": f"ch_{chance.randint(1, 2)}"}
    return stripe_event("payment_intent.payment_failed", shown | failed)


def some_suspicion(chance: random.Random, order_id: UUID) -> StripeEvent:
    """What Radar, a reviewer or a bank may say of a payment of the order."""
    order = external_id("ord", order_id)
    intent, number = f"pi_{order}_{chance.choice((*SESSIONS[:1] * 4, *SESSIONS[1:]))}", chance.randint(1, 4)
    match chance.choice(("charge", "charge", "charge", "review", "review", "warning")):
        case "charge":
            status = chance.choice(("succeeded", "failed", "failed"))
            shown = {"id": f"ch_{order}_{number}", "status": status, "created": 1_800_000_000, "payment_intent": intent}
            card = {"card": {"fingerprint": chance.choice(("fp1", "fp2"))}}
            told = shown | {"metadata": {"order_id": order}, "payment_method_details": card}
            return stripe_event(f"charge.{status}", told)
        case "review":
            reason = chance.choice((None, None, "approved", "refunded"))
            shown = {"id": f"prv_{order}_{number}", "payment_intent": intent, "closed_reason": reason}
            return stripe_event("review.closed" if reason else "review.opened", shown)
        case _:
            shown = {"id": f"issfr_{order}", "fraud_type": "misc", "charge": "ch_1", "payment_intent": intent}
            return stripe_event("radar.early_fraud_warning.created", shown)


def some_news(chance: random.Random, order_id: UUID) -> Message:
    """Something that another service may say of the order."""
    number = str(chance.randint(1, 2))
    model = chance.choice(NEWS)
    said: Message = model.model_validate(
        {
            "order_id": order_id,
            "shipment_id": derived_id("shipment", str(order_id), number),
            "lines": (),
            "refund_id": derived_id("refund", str(order_id), number),
            "payment_intent": "pi",
            "amount_minor": 100,
            "currency": "usd",
            "reason": "requested_by_customer",
            "requester": "person:carol",
            "approver": "person:dave",
            "stripe_refund_id": "re_1",
        }
    )
    return said


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_facts_together_end_as_one_by_one(decisions: BothWays, seed: int) -> None:
    chance = random.Random(seed)
    coupons = {order_id: chance.choice((None, "LAST", "LAST", "LAST", "SOME")) for order_id in ORDERS}
    known = {order_id: chance.random() < 0.5 for order_id in ORDERS}
    late = {order_id for order_id in ORDERS if chance.random() < 0.8}

    async def begin() -> None:
        async with decisions.outbox.transaction() as tx:
            for code, maximum in COUPONS.items():
                await catalog.put_coupon(tx.connection, Coupon(code, 100, None, max_redemptions=maximum))
            for order_id in ORDERS:
                session = f"cs_{external_id('ord', order_id)}_1" if known[order_id] else None
                await place(tx, order_id, coupons[order_id], session)
            # Some gave their use back, and one use is left for those of them who pay after all.
            await tx.connection.execute(RELEASE, list(late))

    said: list[Message] = []
    for order_id in chance.choices(ORDERS, k=50):
        discount = 100 if coupons[order_id] else 0
        kind = chance.random()
        if kind < 0.2:
            said.append(some_news(chance, order_id))
        else:
            said.append(some_suspicion(chance, order_id) if kind < 0.5 else some_event(chance, order_id, discount))
    heard = with_repeats([incoming(message) for message in said], chance)
    gates = Gates(b"secret", NARROW)
    facts = Facts(decisions.outbox, Delays(600, 3600), Links(b"secret", 600), gates=gates)
    in_batches = await decisions.compare(begin, events(facts, Methods(decisions.outbox)), heard, chance)

    assert in_batches > 0.3
