"""Failures on demand: each does what it says, to whom it says, as often as it says."""

import asyncio
from typing import Final

import aiohttp
import pytest
import stripe

from payments_shared.stripe_client import StripeHTTP
from tests.sandbox.stripe.simulator import KEY, Json, Simulator

PATH: Final = "/v1/coupons"
COUPON: Final[Json] = {"percent_off": 10, "duration": "once"}


async def _arm(simulator: Simulator, kind: str, **given: object) -> None:
    await simulator.control("faults", {"kind": kind, "path": PATH, **given})


async def _raw(simulator: Simulator, key: str = "k") -> tuple[int, str, dict[str, str]]:
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
    timeout = aiohttp.ClientTimeout(total=0.5)
    async with simulator.http.post(simulator.url + PATH, data=COUPON, headers=headers, timeout=timeout) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


async def _made(simulator: Simulator) -> int:
    return (await simulator.types()).count("coupon.created")


@pytest.mark.parametrize("should_retry", [None, True, False])
async def test_a_rate_limit_says_which_and_whether_to_retry(simulator: Simulator, should_retry: bool | None) -> None:
    await _arm(simulator, "rate_limit", should_retry=should_retry)

    limited = await simulator.call("POST", PATH, COUPON)
    after = await simulator.call("POST", PATH, COUPON)

    assert (limited.status, limited.error["type"], after.status) == (429, "invalid_request_error", 200)
    assert limited.headers["Stripe-Rate-Limited-Reason"] == "global-rate"
    wanted = None if should_retry is None else str(should_retry).lower()
    assert limited.headers.get("Stripe-Should-Retry") == wanted


async def test_a_key_can_be_said_to_be_in_use(simulator: Simulator) -> None:
    await _arm(simulator, "in_use")

    answer = await simulator.call("POST", PATH, COUPON, key="k")

    assert (answer.status, answer.error["code"]) == (409, "idempotency_key_in_use")


@pytest.mark.parametrize(("kind", "made"), [("cut_before", 0), ("cut_after", 1), ("cut_mid_body", 1), ("stall", 1)])
async def test_an_answer_can_be_lost_before_and_after_the_work_is_done(
    simulator: Simulator, kind: str, made: int
) -> None:
    await _arm(simulator, kind, seconds=2.0 if kind == "stall" else 0.0)

    with pytest.raises((aiohttp.ClientError, TimeoutError)):
        await _raw(simulator)
    done = await _made(simulator)
    status, _, headers = await _raw(simulator)

    assert (done, status) == (made, 200)
    assert ("Idempotent-Replayed" in headers) == bool(made)
    assert await _made(simulator) == 1


async def test_a_proxy_can_answer_in_html(simulator: Simulator) -> None:
    await _arm(simulator, "html_502")

    status, text, _ = await _raw(simulator)

    assert (status, text.startswith("<html>")) == (502, True)


@pytest.mark.parametrize(("kind", "done"), [("hold", 0), ("delay", 1)])
async def test_an_answer_can_be_late_with_the_work_before_or_after_the_wait(
    simulator: Simulator, kind: str, done: int
) -> None:
    await _arm(simulator, kind, seconds=1.0)

    with pytest.raises(TimeoutError):
        await _raw(simulator)

    assert await _made(simulator) == done


async def test_an_answer_can_trickle(simulator: Simulator) -> None:
    await _arm(simulator, "slow", seconds=2.0)
    with pytest.raises(TimeoutError):
        await _raw(simulator)
    await _arm(simulator, "slow", seconds=0.1)

    status, text, _ = await _raw(simulator, "other")

    assert status == 200
    assert text.endswith("}")


async def test_a_500_may_come_of_a_request_that_was_executed_and_shows_only_later(simulator: Simulator) -> None:
    path, form = "/v1/payment_intents", {"amount": 500, "currency": "usd"}
    await simulator.control("faults", {"kind": "error_500_after", "path": path})
    await simulator.control("faults", {"kind": "empty_list", "method": "GET", "path": path})

    first = await simulator.call("POST", path, form, key="k")
    again = await simulator.call("POST", path, form, key="k")
    lists = [(await simulator.call("GET", path)).body["data"] for _ in range(2)]

    assert (first.status, again.status) == (500, 500)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert [len(found) for found in lists] == [0, 1]


async def test_a_fault_strikes_its_route_and_its_count_and_no_more(simulator: Simulator) -> None:
    await _arm(simulator, "error_500", count=2)

    elsewhere = await simulator.call("POST", "/v1/customers", {"name": "Ada"})
    statuses = [(await simulator.call("POST", PATH, COUPON)).status for _ in range(4)]

    struck = (await simulator.control("faults", method="GET"))["faults"][0]["struck"]
    assert elsewhere.status == 200
    assert (statuses, struck) == ([500, 500, 200, 200], 2)


async def test_faults_can_be_taken_back_and_unknown_ones_are_refused(simulator: Simulator) -> None:
    await _arm(simulator, "error_500", count=99)
    await simulator.control("faults", method="DELETE")

    async with simulator.http.post(f"{simulator.url}/_sim/faults", json={"kind": "earthquake"}) as refused:
        assert refused.status == 400
    assert (await simulator.call("POST", PATH, COUPON)).status == 200


async def test_over_refunds_can_be_let_through_to_test_the_callers_own_guard(simulator: Simulator) -> None:
    intent = (await simulator.paid(1000))["payment_intent"]
    await simulator.control("guard", {"over_refund": False})

    for _ in range(2):
        await simulator.post("refunds", {"payment_intent": intent, "amount": 700})

    truth = await simulator.control("truth", method="GET")
    assert sum(refund["amount"] for refund in truth["refunds"]) == 1400


@pytest.mark.parametrize("kind", ["cut_mid_body", "stall", "cut_after", "cut_before"])
async def test_our_client_comes_through_an_answer_that_is_lost_once(simulator: Simulator, kind: str) -> None:
    """The same key is sent again, so that the work is done once whatever was lost."""
    await _arm(simulator, kind, seconds=3.0 if kind == "stall" else 0.0)
    async with aiohttp.ClientSession() as session:
        http = StripeHTTP(session=session, timeout=aiohttp.ClientTimeout(total=1))
        client = stripe.StripeClient(
            KEY, base_addresses={"api": simulator.url}, http_client=http, max_network_retries=1
        )
        made = await asyncio.wait_for(client.v1.coupons.create_async({"percent_off": 5, "duration": "once"}), timeout=8)

    assert made.percent_off == 5
    assert await _made(simulator) == 1
