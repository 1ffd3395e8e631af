"""Whoever asks for a refund is not who approves it, whatever the code forgets."""

import asyncpg
import pytest

from payments_shared.ids import new_id
from tests.refunds.stripe import StripeBeside
from tests.refunds.test_system_refunds import order_paid
from tests.support.one_service import OneService

pytestmark = pytest.mark.servers

INSERT = (
    "INSERT INTO refunds.refunds (id, order_id, payment_intent, amount_minor, currency, reason, state, requester,"
    " approver) VALUES ($1, $2, $3, 100, 'usd', 'test', 'approved', $4, $5)"
)


async def test_the_database_lets_nobody_approve_what_they_asked_for(refunds: OneService, stripe: StripeBeside) -> None:
    order_id, intent = new_id(), await stripe.captured(500)
    await refunds.tell(order_paid(order_id, (intent, 500)))

    for approver in ("ada", None):
        with pytest.raises(asyncpg.CheckViolationError, match=r"four_eyes|second_person"):
            await refunds.owner.execute(INSERT, new_id(), order_id, intent, "ada", approver)

    await refunds.owner.execute(INSERT, new_id(), order_id, intent, "ada", "grace")
