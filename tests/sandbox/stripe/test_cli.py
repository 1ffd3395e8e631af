"""Stripe's own command line tool cannot tell the simulator from Stripe."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.sandbox.stripe.simulator import Simulator
from tests.support.left_out import left_out
from tests.support.npm import Unavailable
from tests.support.stripe_cli import VERSION, stripe_cli, trigger
from tests.support.stripe_spec import validate_request

# What to trigger, and the events that must then have been made.
CHAINS: Final = {
    "checkout.session.completed": ("checkout.session.completed", "payment_intent.succeeded"),
    "checkout.session.expired": ("checkout.session.expired",),
    "checkout.session.async_payment_succeeded": ("checkout.session.completed", "payment_intent.processing"),
    "checkout.session.async_payment_failed": ("checkout.session.completed", "payment_intent.processing"),
    "payment_intent.created": ("payment_intent.created",),
    "payment_intent.succeeded": ("payment_intent.succeeded", "charge.succeeded"),
    "payment_intent.payment_failed": ("payment_intent.payment_failed", "charge.failed"),
    "payment_intent.canceled": ("payment_intent.canceled",),
    "payment_intent.processing": ("payment_intent.processing",),
    "payment_intent.requires_action": ("payment_intent.requires_action",),
    "payment_intent.amount_capturable_updated": ("payment_intent.amount_capturable_updated",),
    "charge.succeeded": ("charge.succeeded",),
    "charge.failed": ("charge.failed",),
    "charge.captured": ("charge.captured",),
    "charge.refunded": ("charge.refunded", "refund.created"),
    "charge.refund.updated": ("refund.updated",),
    "charge.dispute.created": ("charge.dispute.created",),
    "charge.dispute.closed": ("charge.dispute.closed",),
    "customer.created": ("customer.created",),
    "payment_method.attached": ("payment_method.attached",),
    "coupon.created": ("coupon.created",),
    "price.updated": ("price.updated",),
    "product.deleted": ("product.deleted",),
}


@pytest.fixture(scope="session")
def tool() -> Path:
    """The tool, or a loud word that it is missing."""
    try:
        return stripe_cli()
    except Unavailable as error:
        left_out(str(error))


@pytest.mark.node
@pytest.mark.parametrize("event", CHAINS)
async def test_the_command_line_tool_completes_its_chain(
    simulator: Simulator, tool: Path, tmp_path: Path, event: str, record_property: Callable[[str, object], None]
) -> None:
    done = await asyncio.to_thread(trigger, event, api_base=simulator.url, home=tmp_path)

    record_property("judged_by", f"Stripe's command line tool {VERSION}")
    assert "Trigger succeeded" in done.stdout + done.stderr, done
    assert set(CHAINS[event]) <= set(await simulator.types())
    for sent in (await simulator.control("requests", method="GET"))["requests"]:
        validate_request(sent["method"], sent["path"], sent["form"])


@pytest.mark.node
@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
async def test_a_delayed_payment_of_the_command_line_tool_ends_in_time(
    simulator: Simulator, tool: Path, tmp_path: Path, outcome: str
) -> None:
    event = f"checkout.session.async_payment_{outcome}"
    await asyncio.to_thread(trigger, event, api_base=simulator.url, home=tmp_path)

    await simulator.later(6 * 86_400)

    assert event in await simulator.types()
