"""Deliveries: at least once, in no order, again after a failure; and every way to make them worse."""

from typing import Final

import pytest

from tests.sandbox.stripe.simulator import Simulator
from tests.support.deadline import eventually

PURCHASE: Final = 4  # a purchase by card makes four events


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries that take milliseconds."""
    monkeypatch.setattr("sandbox.stripe.delivery.RETRY_SECONDS", (0.02, 0.04, 0.06))


async def test_a_purchase_is_told_in_the_order_in_which_stripe_makes_its_events(simulator: Simulator) -> None:
    await simulator.paid()
    refunded = await simulator.paid()
    await simulator.post("refunds", {"payment_intent": refunded["payment_intent"]})

    types = await simulator.types()

    purchase = [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    assert types == [*purchase, *purchase, "refund.created", "charge.refunded"]
    assert sorted(h.event["type"] for h in await simulator.hears(10)) == sorted(types)


@pytest.mark.parametrize("refusal", [500, 404, 302, 400])
async def test_whatever_is_not_success_is_tried_again(simulator: Simulator, refusal: int) -> None:
    simulator.shop.answers = [refusal] * PURCHASE + [200]

    await simulator.paid()

    await simulator.hears(2 * PURCHASE)
    await simulator.quiet()
    assert len({heard.event["id"] for heard in simulator.shop.heard}) == PURCHASE
    assert await simulator.events(delivery_success=False) == []


async def test_each_attempt_is_signed_afresh_over_the_same_event(simulator: Simulator) -> None:
    simulator.shop.answers = [500] * PURCHASE + [200]

    await simulator.paid()

    heard = await simulator.hears(2 * PURCHASE)
    ids = [each.event["id"] for each in heard]
    first = heard[0].event
    again = next(each.event for each in heard[1:] if each.event["id"] == first["id"])
    assert {ids.count(each) for each in ids} == {2}
    assert first["data"] == again["data"]


async def test_retries_end_and_the_event_can_be_found_as_undelivered(simulator: Simulator) -> None:
    simulator.shop.answers = [500]

    await simulator.paid()

    await simulator.hears(4 * PURCHASE)
    await simulator.quiet()
    undelivered = await simulator.events(delivery_success=False)
    assert len(undelivered) == PURCHASE
    assert {event["pending_webhooks"] for event in undelivered} == {1}


async def test_every_delivery_can_be_doubled(simulator: Simulator) -> None:
    await simulator.control("chaos", {"duplicate": 1.0})

    await simulator.paid()

    ids = [heard.event["id"] for heard in await simulator.hears(2 * PURCHASE)]
    assert {ids.count(each) for each in ids} == {2}


async def test_deliveries_can_be_lost_and_the_events_are_still_listed(simulator: Simulator) -> None:
    await simulator.control("chaos", {"drop": 1.0})
    await simulator.paid()
    await simulator.control("chaos", {})
    await simulator.paid()

    await simulator.hears(PURCHASE)
    await simulator.quiet()

    assert len(simulator.shop.heard) == PURCHASE
    assert len(await simulator.events(delivery_success=False)) == PURCHASE
    assert len(await simulator.events(delivery_success=True)) == PURCHASE
    assert (await simulator.control("deliveries", method="GET"))["misbehaved"] == {"drop": PURCHASE}


async def test_deliveries_can_overtake_each_other(simulator: Simulator) -> None:
    await simulator.control("chaos", {"reorder_seconds": 0.3})
    for _ in range(5):
        await simulator.paid()

    heard = [each.event["id"] for each in await simulator.hears(5 * PURCHASE)]

    made = [event["id"] for event in await simulator.events()]
    assert heard != made
    assert sorted(heard) == sorted(made)


async def test_deliveries_can_be_held_back_and_let_go(simulator: Simulator) -> None:
    await simulator.control("chaos", {"paused": True})
    await simulator.paid()
    waiting = await simulator.control("deliveries", method="GET")
    heard_while_paused = len(simulator.shop.heard)

    await simulator.control("chaos", {})

    await simulator.hears(PURCHASE)
    assert (waiting["waiting"], heard_while_paused) == (PURCHASE, 0)


async def test_a_delay_holds_each_delivery_for_its_time(simulator: Simulator) -> None:
    await simulator.control("chaos", {"delay_seconds": 0.4})
    await simulator.paid()
    at_once = len(simulator.shop.heard)

    await simulator.hears(PURCHASE)

    assert at_once == 0


async def test_an_event_can_be_sent_again_many_times_and_under_another_id(simulator: Simulator) -> None:
    await simulator.paid()
    await simulator.hears(PURCHASE)
    await simulator.quiet()
    event = (await simulator.events())[-1]

    burst = await simulator.control(f"events/{event['id']}/resend", {"copies": 10})
    alias = await simulator.control(f"events/{event['id']}/resend", {"copies": 1, "alias": True})

    heard = [each.event for each in simulator.shop.heard[PURCHASE:]]
    assert burst["statuses"] == [200] * 10
    assert alias["statuses"] == [200]
    assert {each["id"] for each in heard[:10]} == {event["id"]}
    assert heard[10]["id"] != event["id"]
    assert heard[10]["data"] == event["data"]
    assert len(await simulator.events()) == PURCHASE + 1


async def test_an_endpoint_hears_the_types_that_it_asked_for_and_none_when_disabled(simulator: Simulator) -> None:
    own = (await simulator.get("webhook_endpoints"))["data"][0]
    await simulator.post(f"webhook_endpoints/{own['id']}", {"enabled_events": ["checkout.session.completed"]})
    await simulator.paid()
    await simulator.quiet()
    await simulator.post(f"webhook_endpoints/{own['id']}", {"disabled": True})
    await simulator.paid()
    await simulator.quiet()

    assert simulator.shop.types() == ["checkout.session.completed"]


async def test_one_endpoint_that_fails_does_not_double_the_others_deliveries(simulator: Simulator) -> None:
    form = {"url": "http://127.0.0.1:9/nobody", "enabled_events": ["checkout.session.completed"]}
    await simulator.post("webhook_endpoints", form)

    await simulator.paid()

    async def given_up() -> bool:
        return len(await simulator.events(delivery_success=False)) == 1

    await simulator.quiet()
    await eventually(given_up, what="the endpoint that fails is given up")
    assert simulator.shop.types().count("checkout.session.completed") == 1
