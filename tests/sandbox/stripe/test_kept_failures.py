"""A failure that Stripe keeps under a key is an answer: whoever repeats it is no sign that Stripe is away."""

import secrets
from typing import Final

import pytest

from payments_shared.stripe_client import BREAKER_FAILURES, OutcomeUnknown, Stripe, open_stripe
from tests.sandbox.stripe.simulator import KEY, Simulator

PATH: Final = "/v1/coupons"


async def fail(stripe: Stripe, key: str) -> bool:
    """Whether Stripe keeps the failure of one request, as our code is told."""
    with pytest.raises(OutcomeUnknown) as unknown:
        await stripe.call(
            "coupons.create",
            lambda: stripe.v1.coupons.create_async({"duration": "once", "percent_off": 10}, {"idempotency_key": key}),
        )
    return unknown.value.stored_under_key


async def test_what_is_kept_under_a_key_leaves_stripe_to_be_asked(simulator: Simulator) -> None:
    """Each repetition counted, and the question that alone leads out of it was refused for a rest that never ended."""
    await simulator.control("faults", {"kind": "error_500", "path": PATH, "count": BREAKER_FAILURES})
    async with open_stripe(api_key=KEY, api_base=simulator.url) as stripe:
        keys = [secrets.token_hex(8) for _ in range(BREAKER_FAILURES)]
        assert [await fail(stripe, key) for key in keys] == [True] * BREAKER_FAILURES
        assert stripe.resting

        stripe._open_until = 0.0  # the rest is over
        for key in keys:
            assert await fail(stripe, key)

            assert not stripe.resting
        await stripe.ask()


async def test_failures_of_now_are_counted_also_among_kept_ones(simulator: Simulator) -> None:
    await simulator.control("faults", {"kind": "error_500", "path": PATH})
    async with open_stripe(api_key=KEY, api_base=simulator.url) as stripe:
        assert await fail(stripe, "kept")
        await simulator.control("faults", {"kind": "error_500", "path": PATH, "count": BREAKER_FAILURES + 1})

        assert await fail(stripe, "kept")  # which the fault strikes as well, and that is not asked again
        for _ in range(BREAKER_FAILURES):
            assert not stripe.resting
            assert await fail(stripe, secrets.token_hex(8))

        assert stripe.resting
