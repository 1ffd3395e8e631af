"""Idempotency keys, as Stripe keeps them."""

import asyncio
from typing import Final

from tests.sandbox.stripe.simulator import Json, Simulator
from tests.support.deadline import eventually

COUPON: Final[Json] = {"percent_off": 10, "duration": "once"}
PATH: Final = "/v1/coupons"


async def _coupons_made(simulator: Simulator) -> int:
    return (await simulator.types()).count("coupon.created")


async def test_the_same_request_gets_the_same_answer_and_acts_once(simulator: Simulator) -> None:
    first = await simulator.call("POST", PATH, COUPON, key="k")
    again = await simulator.call("POST", PATH, COUPON, key="k")

    assert again.body == first.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Idempotency-Key"] == "k"
    assert await _coupons_made(simulator) == 1


async def test_another_request_under_the_same_key_is_refused(simulator: Simulator) -> None:
    await simulator.call("POST", PATH, COUPON, key="k")

    other = await simulator.call("POST", PATH, {**COUPON, "percent_off": 11}, key="k")
    elsewhere = await simulator.refused("POST", "/v1/customers", {"name": "Ada"}, key="k")

    for refusal in (other, elsewhere):
        assert (refusal.status, refusal.error["type"]) == (400, "idempotency_error")
        assert "Try using a key other than 'k'" in refusal.error["message"]
    assert await _coupons_made(simulator) == 1


async def test_a_key_in_flight_is_refused_and_free_again_afterwards(simulator: Simulator) -> None:
    await simulator.control("faults", {"kind": "hold", "path": PATH, "seconds": 1.0})
    slow = asyncio.create_task(simulator.call("POST", PATH, COUPON, key="k"))

    async def struck() -> bool:
        return bool((await simulator.control("faults", method="GET"))["faults"][0]["struck"])

    await eventually(struck, what="the first request is held")
    refused = await simulator.call("POST", PATH, COUPON, key="k")
    first = await slow
    again = await simulator.call("POST", PATH, COUPON, key="k")

    assert (refused.status, refused.error["code"]) == (409, "idempotency_key_in_use")
    assert (first.status, again.body) == (200, first.body)
    assert await _coupons_made(simulator) == 1


async def test_twins_that_arrive_together_act_once(simulator: Simulator) -> None:
    answers = await asyncio.gather(*(simulator.call("POST", PATH, COUPON, key="k") for _ in range(20)))

    bodies = {answer.body["id"] for answer in answers if answer.status == 200}
    assert {answer.status for answer in answers} <= {200, 409}
    assert len(bodies) == 1
    assert await _coupons_made(simulator) == 1


async def test_a_500_is_kept_under_its_key(simulator: Simulator) -> None:
    await simulator.control("faults", {"kind": "error_500", "path": PATH})

    first = await simulator.call("POST", PATH, COUPON, key="k")
    again = await simulator.call("POST", PATH, COUPON, key="k")
    other = await simulator.call("POST", PATH, COUPON, key="another")

    assert (first.status, again.status, other.status) == (500, 500, 200)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await _coupons_made(simulator) == 1


async def test_a_decline_is_kept_under_its_key(simulator: Simulator) -> None:
    form = {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_chargeDeclined"}

    first = await simulator.call("POST", "/v1/payment_intents", form, key="k")
    again = await simulator.call("POST", "/v1/payment_intents", form, key="k")

    assert (first.status, again.body) == (402, first.body)
    assert (await simulator.types()).count("charge.failed") == 1


async def test_a_refused_request_leaves_its_key_unused(simulator: Simulator) -> None:
    refused = await simulator.refused("POST", PATH, {"duration": "once"}, key="k")

    made = await simulator.call("POST", PATH, COUPON, key="k")

    assert (refused.status, made.status) == (400, 200)


async def test_a_key_is_forgotten_after_a_day_and_not_before(simulator: Simulator) -> None:
    first = await simulator.call("POST", PATH, COUPON, key="k")
    await simulator.later(86_400 - 60)
    same = await simulator.call("POST", PATH, COUPON, key="k")
    await simulator.later(120)

    later = await simulator.call("POST", PATH, COUPON, key="k")

    assert same.body == first.body
    assert later.body["id"] != first.body["id"]


async def test_reading_pays_no_heed_to_keys(simulator: Simulator) -> None:
    made = await simulator.call("POST", PATH, COUPON, key="k")

    read = await simulator.call("GET", f"{PATH}/{made.body['id']}", key="k")

    assert (read.status, read.body) == (200, made.body)
    assert "Idempotency-Key" not in read.headers


async def test_a_key_of_more_than_255_characters_is_refused(simulator: Simulator) -> None:
    assert (await simulator.call("POST", PATH, COUPON, key="k" * 255)).status == 200
    assert (await simulator.refused("POST", PATH, COUPON, key="k" * 256)).status == 400
