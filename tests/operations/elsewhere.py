"""What people at the console find at other services: refunds that wait, disputes that are due, and events of Stripe's
of which some came and some did not."""

import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp

from payments_shared.ids import external_id, new_id, parse_external_id
from tests.operations.desk import Desk
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_system_refunds import order_paid
from tests.refunds.test_taking_back import AGREED
from tests.support.one_service import OneService
from tests.webhook_ingest.deliveries import event, signed

NAMES = ("stripe", "identity", "checkout", "webhook-ingest", "refunds", "operations")
DISPUTE = """
    INSERT INTO refunds.disputes (id, charge, payment_intent, order_id, amount_minor, currency, state, stripe_status,
                                  reason, due_by, asked_at, opened_at)
    VALUES ($1, $2, $3, $4, $5, 'usd', 'open', 'needs_response', 'fraudulent', now() + $6::interval, now(), now())
"""
STEP = "INSERT INTO refunds.dispute_transitions (dispute_id, to_state, cause) VALUES ($1, 'open', 'a test')"


@dataclass(slots=True)
class Elsewhere:
    """The services around a desk."""

    desk: Desk
    refunds: OneService

    async def paid(self, amount: int) -> tuple[UUID, str]:
        """An order that was paid, and its intent."""
        async with aiohttp.ClientSession(self.desk.deployment.stripe_url) as http:
            intent = await StripeBeside(http).captured(amount)
        order_id = new_id()
        await self.refunds.tell(order_paid(order_id, (intent, amount)))
        return order_id, intent

    async def asked(self, amount: int = 60_000, *, who: str = "sam", email: str | None = None, note: str = "") -> str:
        """A refund that somebody asked for; above five hundred dollars it waits for a second person."""
        order_id, _ = await self.paid(amount)
        token = self.desk.deployment.keys.token(who, "support", email=email or f"{who}@shop.example")
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": secrets.token_hex(12)}
        body = {
            "order_id": external_id("ord", order_id),
            "amount_minor": amount,
            "reason": "goodwill",
            "note": note,
        }
        url = self.desk.deployment.public_url("refunds") + "/api/payments/refund"
        async with self.desk.http.post(url, json=body, headers=headers) as answer:
            made: dict[str, Any] = await answer.json()
            assert answer.status == 201, made
        return str(made["refund_id"])

    async def refund(self, refund_id: str) -> dict[str, Any]:
        """The refund, as refunds tells of it."""
        token = self.desk.deployment.keys.token("ivy", "support")
        url = f"{self.desk.deployment.public_url('refunds')}/api/payments/refunds/{refund_id}"
        async with self.desk.http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def put_off(self, refund_id: str) -> None:
        """Somebody agreed to a refund in the moment before refunds were stopped."""
        await self.desk.owner.execute(AGREED, parse_external_id("ref", refund_id))

    async def disputed(self, amount: int, due: timedelta) -> str:
        """A dispute for which evidence is due so soon."""
        order_id, intent = await self.paid(amount)
        async with aiohttp.ClientSession(self.desk.deployment.stripe_url) as http:
            made = await StripeBeside(http).disputed(intent)
        name = str(made["id"])
        await self.desk.owner.execute(DISPUTE, name, made["charge"], intent, order_id, amount, due)
        await self.desk.owner.execute(STEP, name)
        return name

    async def delivered(self, **given: Any) -> str:
        """An event whose webhook came."""
        value = event(created=int(time.time()), **given)
        body = json.dumps(value).encode()
        headers = {
            "Content-Type": "application/json",
            "Stripe-Signature": signed(body, self.desk.deployment.secrets["webhook"]),
        }
        url = self.desk.deployment.public_url("webhook-ingest") + "/api/payments/webhook"
        async with self.desk.http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 200
        return str(value["id"])


@contextlib.asynccontextmanager
async def around(desk: Desk) -> AsyncIterator[Elsewhere]:
    """The services around a desk that runs them."""
    refunds = OneService("refunds", desk.deployment, desk.owner)
    try:
        yield Elsewhere(desk, refunds)
    finally:
        await refunds.close()
