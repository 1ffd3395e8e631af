"""A buyer's bank takes money back: the parcel stays, staff are told, and every service ends with the same story."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.checkout.fraud import charge_of, decided, parcel, ship
from tests.scenarios.test_refunds import refund
from tests.support.shopping import Json, Shopper, eventually, uuid_of

pytestmark = pytest.mark.servers


async def disputed(shopper: Shopper, order: Json, **given: object) -> str:
    """The bank of whoever paid the order disputes it; the dispute's id, once staff were told."""
    made = await shopper.stripe("POST", f"/_sim/charges/{await charge_of(shopper, order)}/dispute", given)
    await told(shopper, order, "dispute_opened")
    return str(made["id"])


async def told(shopper: Shopper, order: Json, kind: str, *, mails: int = 1) -> list[Json]:
    """Mails of that kind about the order, once there are so many."""

    async def probe() -> list[Json] | None:
        found = await shopper.mails(order, kind)
        return found if len(found) == mails else None

    found: list[Json] = await eventually(probe, within=40, what=f"{mails} mails {kind} about {order['order_id']}")
    return found


async def payctl_disputes(shopper: Shopper, token: Path, *arguments: str) -> Any:  # Any: JSON
    """What an operator sees on the command line."""
    environment = {
        "PATH": os.environ["PATH"],
        "PAYMENTS_PUBLIC_URL": shopper.deployment.front_door_url,
        "PAYMENTS_TOKEN_FILE": str(token),
    }
    command = [str(Path(sys.executable).parent / "payctl"), "disputes", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_parcel_waits_for_a_dispute_and_leaves_or_returns_to_the_shelf(
    shopper: Shopper, tmp_path: Path
) -> None:
    sku = await shopper.offer(prices={"usd": 10_000}, stock=2)
    token = tmp_path / "token"
    token.write_text(shopper.deployment.keys.token("olga", "operator"))
    first, second = await shopper.bought(sku), await shopper.bought(sku)
    for order in (first, second):
        await parcel(shopper, order, "created")

    inquiry = await disputed(shopper, first, inquiry=True)
    await shopper.stripe("POST", f"/_sim/disputes/{inquiry}/escalate", {})
    await told(shopper, first, "dispute_opened", mails=2)
    lost = await disputed(shopper, second, amount=6000)
    await shopper.quiet()
    held = [await ship(shopper, order) for order in (first, second)]
    refused = await refund(shopper, second, amount_minor=10_000)
    due = await payctl_disputes(shopper, token, "--due-within", "300h", "--json")
    listed = {one["dispute_id"] for one in due}
    shown = await payctl_disputes(shopper, token, lost)
    await shopper.stripe("POST", f"/_sim/disputes/{inquiry}", {"won": True})
    await shopper.stripe("POST", f"/_sim/disputes/{lost}", {"won": False})
    await told(shopper, first, "dispute_won")
    await told(shopper, second, "dispute_lost")
    await parcel(shopper, second, "canceled")
    await told(shopper, second, "refund_succeeded")
    await shopper.quiet()
    left = await ship(shopper, first)

    assert held == [409, 409]
    assert (refused.status, refused.body["refundable"]) == (409, 4000)
    assert {inquiry, lost} <= listed
    assert (shown["dispute_id"], shown["amount_minor"], shown["history"][-1]["after"]) == (lost, 6000, "open")
    assert left == 200
    assert (await shopper.stock_of(sku))["available"] == 1
    back = "SELECT sum(amount_minor) FROM refunds.refunds WHERE order_id = $1 AND state = 'succeeded'"
    assert await shopper.count(back, uuid_of(second)) == 4000
    assert await decided(shopper, first) == [("dispute", "inquiry"), ("dispute", "opened"), ("dispute", "won")]
    assert [(await shopper.order(order))["status"] for order in (first, second)] == ["paid", "paid"]
    report = await shopper.audited()
    assert min(f.examined for f in report.findings if f.predicate.number in ("I44", "I45", "I46", "I47")) >= 1
