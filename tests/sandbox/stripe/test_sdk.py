"""Stripe's official library drives the simulator, and verifies its deliveries."""

import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import stripe

from payments_shared.stripe_client import STRIPE_VERSION
from tests.sandbox.stripe.simulator import CARD, KEY, SECRET, SHOP, Simulator

pytestmark = pytest.mark.usefixtures("said")
V1 = Any  # Any: the library's generated services


@pytest.fixture
def said(record_property: Any) -> None:
    """Say which library judged."""
    record_property("judged_by", f"Stripe's library for Python {version('stripe')}")


@pytest_asyncio.fixture(loop_scope="session")
async def v1(simulator: Simulator) -> AsyncIterator[V1]:
    """The library, as it comes, but for where it calls."""
    stripe.enable_telemetry = False
    async with aiohttp.ClientSession() as session:
        client = stripe.StripeClient(
            KEY,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": simulator.url},
            http_client=stripe.AIOHTTPClient(session=session),
            max_network_retries=2,
        )
        yield client.v1


def _params(**given: Any) -> Any:  # Any: the library's own types for parameters
    product = {"currency": "usd", "unit_amount": 2000, "product_data": {"name": "Tea"}}
    return {
        "mode": "payment",
        "success_url": SHOP,
        "line_items": [{"price_data": product, "quantity": 2}],
        **given,
    }


async def test_a_session_is_made_read_listed_and_expired(v1: V1) -> None:
    made = await v1.checkout.sessions.create_async(_params(client_reference_id="ord_1"))
    read = await v1.checkout.sessions.retrieve_async(made.id, {"expand": ["line_items"]})
    listed = await v1.checkout.sessions.list_async({"limit": 1})
    lines = await v1.checkout.sessions.line_items.list_async(made.id)
    expired = await v1.checkout.sessions.expire_async(made.id)

    assert (made.status, made.amount_total, made.payment_intent) == ("open", 4000, None)
    assert read.line_items.data[0].description == lines.data[0].description == "Tea"
    assert [session.id for session in listed.data] == [made.id]
    assert (expired.status, expired.url) == ("expired", None)
    with pytest.raises(stripe.InvalidRequestError):
        await v1.checkout.sessions.expire_async(made.id)


async def test_a_payment_is_refunded_in_parts_and_never_over(simulator: Simulator, v1: V1) -> None:
    session = await simulator.paid(2000)
    intent = session["payment_intent"]

    first = await v1.refunds.create_async({"payment_intent": intent, "amount": 1500, "metadata": {"refund_id": "r1"}})
    with pytest.raises(stripe.InvalidRequestError, match=r"Refund amount \(\$6\.00\) is greater than .* \(\$5\.00\)"):
        await v1.refunds.create_async({"payment_intent": intent, "amount": 600})
    rest = await v1.refunds.create_async({"payment_intent": intent})
    with pytest.raises(stripe.InvalidRequestError) as gone:
        await v1.refunds.create_async({"payment_intent": intent})

    assert (first.status, first.metadata["refund_id"], rest.amount) == ("succeeded", "r1", 500)
    assert gone.value.code == "charge_already_refunded"
    assert {refund.id for refund in (await v1.refunds.list_async({"payment_intent": intent})).data} == {
        first.id,
        rest.id,
    }
    assert (await v1.refunds.retrieve_async(first.id)).amount == 1500


async def test_lists_page_forwards_and_backwards(v1: V1) -> None:
    made = [(await v1.coupons.create_async({"id": f"C{n}", "percent_off": 5, "duration": "once"})).id for n in range(7)]
    assert made
    newest_first = [event.id async for event in (await v1.events.list_async({"limit": 3})).auto_paging_iter()]
    oldest_three = await v1.events.list_async({"limit": 3, "starting_after": newest_first[3]})
    newer = await v1.events.list_async({"limit": 2, "ending_before": newest_first[3]})

    assert len(newest_first) == len(set(newest_first)) == 7
    assert [event.id for event in oldest_three.data] == newest_first[4:]
    assert [event.id for event in newer.data] == newest_first[1:3]
    assert (oldest_three.has_more, newer.has_more) == (False, True)


async def test_errors_are_the_librarys_own(v1: V1) -> None:
    with pytest.raises(stripe.CardError) as declined:
        await v1.payment_intents.create_async(
            {
                "amount": 500,
                "currency": "usd",
                "confirm": True,
                "payment_method": "pm_card_chargeDeclinedInsufficientFunds",
            }
        )
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await v1.refunds.retrieve_async("re_no")
    with pytest.raises(stripe.AuthenticationError):
        await v1.refunds.retrieve_async("re_no", None, {"api_key": "sk_live_no"})
    await v1.coupons.create_async({"percent_off": 5, "duration": "once"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.IdempotencyError):
        await v1.coupons.create_async({"percent_off": 6, "duration": "once"}, {"idempotency_key": "k"})

    told = json.loads(str(declined.value.http_body))["error"]
    assert (declined.value.code, told["decline_code"]) == ("card_declined", "insufficient_funds")
    assert told["payment_intent"]["status"] == "requires_payment_method"
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


async def test_a_delivery_is_verified_by_the_library(simulator: Simulator) -> None:
    await simulator.paid()
    heard = await simulator.hears(4)

    events = [stripe.Webhook.construct_event(each.body, each.signature, SECRET) for each in heard]

    assert {event.type for event in events} >= {"payment_intent.succeeded", "checkout.session.completed"}
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(heard[0].body + b" ", heard[0].signature, SECRET)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(heard[0].body, heard[0].signature, "whsec_other")


async def test_a_delivery_may_carry_two_signatures_while_a_secret_is_rolled(simulator: Simulator) -> None:
    await simulator.control("chaos", {"two_signatures": True})
    session = await simulator.session()
    await simulator.submit(session, CARD)

    (heard, *_) = await simulator.hears(1)

    assert heard.signature.count("v1=") == 2
    assert stripe.Webhook.construct_event(heard.body, heard.signature, SECRET).id == heard.event["id"]


async def test_a_late_delivery_is_refused_by_the_library(simulator: Simulator) -> None:
    await simulator.control("chaos", {"late_seconds": 301})
    await simulator.paid()

    (heard, *_) = await simulator.hears(1)

    with pytest.raises(stripe.SignatureVerificationError, match="tolerance"):
        stripe.Webhook.construct_event(heard.body, heard.signature, SECRET)
